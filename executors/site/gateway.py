"""The process of a site: `python -m executors.site.gateway --run DIR --farm ID --site NAME --socket PATH --token FILE`,
or with `--reach FILE` for a farm elsewhere: then it is the gateway of one executor, whose end is its own.

It never touches the farm's database, and may be killed at any moment: executors and their work live on, and the next
gateway finds them again. SIGTERM ends it alone; the message `halt` ends the head of the site too.
"""

import argparse
import fcntl
import gc
import http.client
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import IO, Any

from executors.contract import Site
from executors.errors import Lost
from executors.reach import Reach, renew_authority
from executors.site.channel import Channel
from executors.site.conversation import Conversation, ListsProcesses
from executors.site.head import head_processes, stop_head
from executors.site.nursery import die_with_parent
from executors.site.process import sign, started_at

log = logging.getLogger(__name__)

PROCESSES_S = 2.0
AUTHORITY_S = 300.0  # how often it is asked for
GRACE_S = 3.0  # between TERM and KILL of what runs on an executor that goes
FINISH_S = 5.0  # for the farm to hear of it
LEAVE_S = 2.0  # … that it goes, and that it has gone
DIED = 70  # EX_SOFTWARE of sysexits.h


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="executors.site.gateway", description=__doc__)
    for name, what in {
        "run": "short private folder of this farm: sockets, the head",
        "farm": "id of the farm",
        "site": "name of the site",
    }.items():
        parser.add_argument(f"--{name}", required=True, help=what)
    parser.add_argument("--socket", default="", help="Unix socket of the farm's service")
    parser.add_argument("--token", default="", help="file with the farm's token")
    parser.add_argument("--reach", default="", help="file that says how a farm elsewhere is reached")
    parser.add_argument("--engine", choices=("ray", "plain"), default="ray", help="what runs the work")
    options = parser.parse_args(words)
    for name in ("run", "socket", "token", "reach"):  # the working folder changes
        if given := getattr(options, name):
            setattr(options, name, os.path.abspath(given))
    return options


def build(engine: str, run: str, farm: str, alone: bool = False) -> Site:
    """The site itself; `alone` is that of one executor elsewhere. Raises Lost when its head does not come up."""
    if engine == "plain":
        from executors.site.plain_site import PlainSite

        return PlainSite(run)
    from executors.site.ray_site import RaySite

    return RaySite(run, farm, alone)


class Gateway:
    """Holds the lock of the run folder, the site and the conversation about it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._ended = threading.Event()
        self._halted = False
        self._lock: IO[str] | None = None

    def run(self) -> int:
        """Until SIGTERM or `halt`. Exit status: 0 ended as asked, 3 no head, 4 another gateway is there;
        70 the conversation has died, see `died`."""
        die_with_parent()
        logging.basicConfig(level=logging.INFO, format="%(asctime)s gateway %(levelname)s %(message)s")
        _go_where_nothing_is(self._options.run)
        if not self._alone():
            print("another gateway serves this run folder", file=sys.stderr)  # noqa: T201
            return 4
        try:
            options = self._options
            site = build(options.engine, options.run, options.farm, alone=bool(options.reach))
        except (Lost, ImportError) as error:
            print(f"the site does not come up: {error}", file=sys.stderr)  # noqa: T201
            return 3
        gc.freeze()  # Ray and all that is here now stay
        gc.set_threshold(10_000, 20, 20)
        self._serve(site)
        return 0

    def _alone(self) -> bool:
        file = Path(self._options.run) / "gateway.lock"
        self._lock = file.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        sign(file)
        return True

    def _serve(self, site: Site) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        conversation = Conversation(site, self._channel, self._halt, died)
        threading.Thread(target=self._list, args=(site, conversation), name="processes", daemon=True).start()
        if self._options.engine == "ray":
            threading.Thread(target=self._guard, name="head", daemon=True).start()
        if self._options.reach:
            threading.Thread(target=self._trust, name="authority", daemon=True).start()
        conversation.start()
        self._ended.wait()
        if self._options.reach:
            _take_leave(site, conversation)
        conversation.close()
        site.close()
        if self._halted:
            stop_head(self._options.run)

    def _channel(self, wait_s: float) -> Channel:
        if self._options.reach:
            return Channel.far(Reach.read(self._options.reach), self._options.site, wait_s)
        return Channel(self._options.socket, Path(self._options.token), self._options.site, wait_s)

    def _halt(self) -> None:
        self._halted = True
        self._ended.set()

    def _list(self, site: Site, conversation: Conversation) -> None:
        """All of them now and then, those of an executor at once when some are new or gone."""
        if not isinstance(site, ListsProcesses):
            return
        below: dict[str, list[Mapping[str, Any]]] = {}
        stirred: Collection[str] = ()
        while not self._ended.is_set():
            try:
                found = site.processes(stirred)
                for executor in stirred or list(below):
                    below.pop(executor, None)
                for one in found:
                    below.setdefault(one["executor"], []).append(one)
                conversation.tell_processes([*self._own(), *chain(*below.values())], now=bool(stirred))
                site.hurry()
            except Exception:
                log.exception("the processes could not be listed")
                self._ended.wait(PROCESSES_S)
            stirred = site.stirred(PROCESSES_S)

    def _own(self) -> list[Mapping[str, Any]]:
        head = {role: p.pid for role, p in head_processes(self._options.run).items() if p.alive()}
        roles = {"gateway": os.getpid()} | head
        return [
            {"role": role, "pid": pid, "started": started_at(pid), "executor": "", "attempt": ""}
            for role, pid in roles.items()
        ]

    def _trust(self) -> None:
        """Learn of a new authority while the old one still counts."""
        reach = Reach.read(self._options.reach)
        while reach.ca and not self._ended.wait(AUTHORITY_S):
            try:
                if renew_authority(reach):
                    log.info("the farm has a new certificate authority")
            except (OSError, http.client.HTTPException) as error:
                log.info("the farm's authority could not be asked for: %s", error)

    def _guard(self) -> None:
        """When a part of the head dies, begin anew: it is started again, and a driver cannot change its node."""
        descriptors = [os.pidfd_open(p.pid) for p in head_processes(self._options.run).values() if p.alive()]
        select.select(descriptors, [], [])
        if not self._ended.is_set():
            log.warning("a part of Ray's head has died; starting again")
            os.execv(sys.executable, [sys.executable, "-m", "executors.site.gateway", *sys.argv[1:]])


def _take_leave(site: Site, conversation: Conversation) -> None:
    """The executor goes: have it get no more work, end what runs there, tell the farm how all of it ended, and go."""
    going = [one.executor for one in site.ready()]
    conversation.leave(LEAVE_S)
    for executor in going:
        site.stop(executor, grace=timedelta(seconds=GRACE_S))
    if not (conversation.finish(FINISH_S) and conversation.gone(going, LEAVE_S)):
        log.warning("the farm was not told how the last attempts ended")


def died() -> None:
    """End at once, so that the supervisor starts another gateway: work lives on, and is found again."""
    os._exit(DIED)


def _go_where_nothing_is(run: str) -> None:
    """A foreign `executors/` in the working directory would shadow ours on Ray's workers."""
    folder = Path(run) / "cwd"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chdir(folder)


if __name__ == "__main__":
    sys.exit(Gateway(arguments(sys.argv[1:])).run())
