"""A running farm: its threads, and the processes around it."""

import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from executors.contract import MachineState
from farm import fleet, ledger
from farm.context import Farm, new_term, outbound_pools, providers
from farm.db import Superseded, after_commit
from farm.dispatch import Dispatcher
from farm.herald import Herald
from farm.lease import ENDED, HANDED_OVER, Lease, Member, take
from farm.policies import close as close_policy
from farm.policies import policy_of
from farm.porter import Porter
from farm.prune import Housekeeper
from farm.publisher import Publisher
from farm.queue.progress import Changed
from farm.reconcile import Fleet, current_prices, look_ahead, stop
from farm.server import Server
from farm.sites import Sites
from farm.spooled import SpoolReader
from farm.wheel import Wheel

if TYPE_CHECKING:
    from farm.supervisor import Supervisor

log = logging.getLogger(__name__)

DRAIN_AGAIN_S = 1.0  # while the database is away


class RunningService:
    """The service's threads, in this process."""

    ready = "ready"  # what is said to who has started it

    def __init__(self, farm: Farm, lock: IO[str], listening: socket.socket, supervisor: "Supervisor") -> None:
        self.farm, self._lock, self._supervisor = farm, lock, supervisor
        self._ended = threading.Event()
        self._stopping = threading.Lock()
        self._another = False  # service has the database
        self._door = os.stat(farm.home.socket)
        self._harder = threading.Event()  # somebody does not wait for the draining any longer
        if farm.watch is not None:
            farm.watch.start()
        made = providers(farm)  # that may take long, and whoever leads has to renew its lease
        leader = Member.here(farm.home, farm.clock)
        with farm.db.write() as tx:
            term = new_term(tx)
            take(tx, leader)
        farm.db.term = term
        farm.lease = Lease(farm.db, farm.clock, leader, self._superseded)
        dispatcher = self._dispatcher = Dispatcher(
            farm.config.all_lanes(), term, owners=farm.config.owner_weights(), most_memory=farm.config.most_memory
        )
        dispatcher.licences, dispatcher.windows = farm.config.all_licences(), farm.config.windows()
        site = farm.config.site
        leases = site.lease.total_seconds(), site.outbound_lease.total_seconds()
        farm.sites = Sites(farm.db, farm.clock, dispatcher, farm.home.logs, farm.feed, self._wake, *leases)
        farm.sites.recall()
        self._policy = policy_of(farm.config.policy)
        farm.wheel = Fleet(farm.db, farm.clock, farm.config, made, self._policy, farm.sites, farm.feed)
        farm.wheel.outbound = outbound_pools(farm.config)
        farm.wheel.began = farm.clock.now()
        look_ahead(farm.wheel)
        farm.wake, farm.stop = self._wake, self.stop_soon
        if farm.watch is not None:
            farm.watch.woken, farm.watch.lost = self._hear, self._superseded
        self._herald = Herald(farm, leader)
        farm.feed.moved = self._herald.moved
        self._wheel = Wheel(farm.wheel)
        self._publisher = Publisher(farm)
        self._spool = SpoolReader(farm)
        self._housekeeper = Housekeeper(farm)
        self._porter = Porter(farm)
        self._servers = [Server(farm, listening)]
        if farm.listener is not None:
            tls = farm.listener.tls
            self._servers.append(Server(farm, farm.listener.socket, tls.context if tls else None))

    def _wake(self) -> None:
        self._wheel.wake()

    def _hear(self) -> None:
        """Another process has written: what it has submitted is handed out at once."""
        assert self.farm.sites is not None
        self.farm.sites.kick_soon()
        self._wake()

    def start(self) -> None:
        assert self.farm.lease is not None
        self.farm.lease.start()
        for server in self._servers:
            server.start()
        self._porter.start()
        self._herald.start()
        self._publisher.start()
        self._spool.start()
        self._housekeeper.start()
        self._wheel.start()

    def waiters(self) -> int:
        """Clients that wait for a job just now."""
        return self.farm.feed.waiters

    def hand_over(self) -> None:
        """End, and leave all that runs to who stands by or starts next."""
        self._soon(terminate=False, state=HANDED_OVER)

    def _superseded(self) -> None:
        """Another service has the database: it neither hears of what runs beside us, nor wants it."""
        self._another = True
        self._soon(terminate=False, state=HANDED_OVER)

    def stop_soon(self, terminate: bool = True, drain: bool = False) -> None:
        """Stop from within a request: the answer still goes out."""
        self._soon(terminate, drain)

    def _soon(self, terminate: bool, drain: bool = False, state: str = ENDED) -> None:
        threading.Thread(target=self.stop, args=(terminate, drain, state), name="stopper", daemon=True).start()

    def stop(self, terminate: bool = True, drain: bool = False, state: str = ENDED) -> None:
        """End the service; with `terminate` also executors (their attempts requeue, uncharged), gateway and head.
        `state`: what those hear that stand by."""
        if drain:
            self._drain()
        self._harder.set()
        with self._stopping:
            if self._ended.is_set():
                return
            self._tell_standbys(state)
            for step in self._threads_end() + self._endings(terminate and not self._another):
                try:  # whatever the disk or a provider says, the farm goes down
                    step()
                except Exception:
                    log.exception("going down")
            self._lock.close()
            self._ended.set()

    def _tell_standbys(self, state: str) -> None:
        assert self.farm.lease is not None
        try:
            self.farm.lease.tell(state)
        except Superseded as error:
            log.error("%s; executors are left to that one", error)
            self._another = True
        except Exception as error:
            log.warning("those that stand by can't be told: %s", error)

    def _threads_end(self) -> list[Callable[[], object]]:
        """What orders and what writes by itself."""
        return [self._wheel.stop, lambda: close_policy(self._policy), self._spool.stop, self._housekeeper.stop]

    def _endings(self, terminate: bool) -> list[Callable[[], object]]:
        """In this order: what runs, what speaks with it, what publishes, what serves, what stores."""
        assert self.farm.sites is not None
        assert self.farm.lease is not None
        with_executors: list[Callable[[], object]] = [self._end_executors] if terminate else []
        nobody_adopts = (terminate or self._another) and not self._followed()
        with_head: list[Callable[[], object]] = [self._end_head, self._remove_run] if nobody_adopts else []
        return [
            *with_executors,
            lambda: self._supervisor.stop(end=nobody_adopts),
            self._publisher.stop,
            self._herald.stop,
            self.farm.sites.close,
            self.farm.feed.close,
            *(server.stop for server in self._servers),
            self._close_doors,
            self._porter.stop,
            self.farm.lease.close,
            self.farm.close,
            *with_head,
        ]

    def _close_doors(self) -> None:
        if not self._followed():
            self.farm.home.socket.unlink(missing_ok=True)
        if self.farm.listener is not None and self._another:  # by now the file about it is that one's
            self.farm.listener.socket.close()
        elif self.farm.listener is not None:
            self.farm.listener.close()

    def _followed(self) -> bool:
        """Whether a service that came after us has its socket in the place of ours, and all that is beside it."""
        try:
            return not os.path.samestat(self._door, os.stat(self.farm.home.socket))
        except FileNotFoundError:
            return False

    def _remove_run(self) -> None:
        shutil.rmtree(self.farm.home.run, ignore_errors=True)

    def _drain(self) -> None:
        """Wait until nothing runs any more; nothing new is handed out or ordered."""
        assert self.farm.wheel is not None
        self._dispatcher.closing = self.farm.wheel.closing = True
        while not self._all_drain() and not self._harder.wait(DRAIN_AGAIN_S):
            pass
        self._wake()
        while self._alive() and not self._harder.wait(0.2):
            pass

    def _all_drain(self) -> bool:
        """False while the database is away."""
        try:
            with self.farm.db.write() as tx:
                for row in fleet.alive(tx):
                    fleet.drain(tx, row.id, "the farm goes down when it is idle", self.farm.clock.now())
        except Superseded:  # told to the one who ends us, too
            return True
        except SQLAlchemyError as error:
            log.info("the farm drains as soon as its database is back: %s", error)
            return False
        return True

    def _alive(self) -> bool:
        """Whether anything is, as far as anybody knows."""
        try:
            with self.farm.db.read() as tx:
                return bool(fleet.alive(tx))
        except SQLAlchemyError as error:  # who drains has time: the database comes back
            log.info("the farm drains, and can't tell what still runs: %s", error)
            return True

    def _end_executors(self) -> None:
        assert self.farm.wheel is not None
        try:
            self._book_the_end()
        finally:  # by the providers' own books, so that they end whatever ours say
            for pool in self.farm.wheel.providers:
                self._terminate(self.farm.wheel, pool)

    def _terminate(self, wheel: Fleet, pool: str) -> None:
        """One pool that can't be reached must not keep the farm from going down; the leases end what is left."""
        try:
            wheel.list_machines(pool)
            listed = wheel.last_listing().get(pool)
            living = [m.id for m in listed.machines if m.state != MachineState.ENDED] if listed else []
            if living:
                wheel.providers[pool].terminate(living)
        except Exception:
            log.exception("executors of pool %s could not be ended", pool)

    def _book_the_end(self) -> None:
        assert self.farm.wheel is not None
        now = self.farm.clock.now()
        changed = Changed()
        with self.farm.db.write() as tx:
            for row in fleet.alive(tx):
                changed.join(fleet.ended(tx, row.id, "the farm went down", now).changed)
                if row.pool not in self.farm.wheel.providers:  # taken out of farm.toml: only its own desk reaches it
                    after_commit(tx, stop(self.farm.wheel, row.id))
            ledger.record(tx, now, current_prices(self.farm.wheel, tx, now))
        self.farm.feed.publish(changed)

    def _end_head(self) -> None:
        if self.farm.config.site.engine == "ray":
            from executors.site.head import stop_head

            stop_head(str(self.farm.home.run))

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when the time is up first."""
        return self._ended.wait(timeout)
