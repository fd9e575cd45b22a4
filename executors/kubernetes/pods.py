"""The provider: pods by name and label, one per executor."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from executors.contract import Machine, Offer, Order, Placed, Refusal, Surroundings
from executors.errors import ProviderError, Refused, SoldOut
from executors.kubernetes import pod as p
from executors.kubernetes.api import Api, Exists, Missing
from executors.kubernetes.books import Books, Entry
from executors.kubernetes.options import KubernetesOptions
from executors.kubernetes.reflector import Reflector
from executors.kubernetes.sightings import Sightings, now

OFFER = "kubernetes"
OWNERS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1"}


class Pods:
    """A Provider that Watches. A pod's name follows from its executor's, so that nothing is ever made twice."""

    def __init__(self, options: KubernetesOptions, around: Surroundings) -> None:
        self._options, self._around = options, around
        self._identity = p.Identity(around.farm, around.pool)
        self._api = Api(options)
        self._books = Books(Path(around.home, "pods"))
        self._sightings = Sightings(self._books, around.pool, timedelta(seconds=options.unschedulable_s))
        self._reflector = Reflector(self._api, self._identity.selector(), self._look, self._sightings)
        self._invited: set[str] = set()
        self._owner: p.Object | None = None

    def offers(self) -> Sequence[Offer]:
        return [Offer(OFFER, self._options.slots, self._options.price_per_hour)]

    # ── launching ────────────────────────────────────────────────────────────────────────────────

    def launch(self, order: Order, /) -> Placed:
        machines: list[Machine] = []
        try:
            for n in range(1, order.count + 1):
                machines.append(self._one(f"{order.token}-{n}", order))
        except ProviderError as error:
            if not machines:
                raise
            return Placed(tuple(machines), (Refusal(OFFER, error),))
        return Placed(tuple(machines))

    def _one(self, executor: str, order: Order) -> Machine:
        """The machine of this name, made unless it ever was."""
        known = self._books.find(executor)
        if known is not None and (known.machine.ended_at or executor in self._invited):
            return known.machine
        if known is None:
            self._room(order.slots or self._options.slots)
        made = self._made(executor, order)
        self._invite(executor, made)
        with self._books.lock:  # whoever watches may have seen it first
            entry = self._books.find(executor)
            if entry is None:
                entry = self._sightings.entry(made)
                self._books.write(entry)
            return entry.machine

    def _room(self, slots: int) -> None:
        ceiling = self._options.ceiling
        if ceiling is not None and self._books.slots() + slots > ceiling:
            raise SoldOut(f"the pool's ceiling of {ceiling} slots is reached")

    def _made(self, executor: str, order: Order) -> p.Object:
        if not self._around.image:
            raise Refused(f"pool {self._around.pool} has no image: say what its pods are made from, image = …")
        try:
            return self._api.create("pods", p.pod(executor, order, self._options, self._around, self._owned()))
        except Exists:  # an earlier try of ours, whose answer was lost
            return self._ours(executor)
        except Missing as error:
            raise Refused(f"no pod can be made: {error}") from error

    def _ours(self, executor: str) -> p.Object:
        found = self._api.get("pods", self._identity.name(executor))
        if found["metadata"].get("labels", {}).get(p.EXECUTOR) != executor:
            raise Refused(f"there is a pod {self._identity.name(executor)} already, and it is not this farm's")
        return found

    def _owned(self) -> p.Object | None:
        """The reference to what owns the pods; its uid is asked for once."""
        if self._options.owner and self._owner is None:
            kind, _, name = self._options.owner.partition("/")
            if kind not in OWNERS or not name:
                raise Refused(f"owner is one of {', '.join(OWNERS)} and a name, as Deployment/farm")
            try:
                found = self._api.find(OWNERS[kind], f"{kind.lower()}s", name)
            except Missing as error:
                raise Refused(f"the owner {self._options.owner} is not there: {error}") from error
            uid = found["metadata"]["uid"]
            self._owner = {"apiVersion": OWNERS[kind], "kind": kind, "name": name, "uid": uid}
        return self._owner

    def _invite(self, executor: str, pod: p.Object) -> None:
        """After the pod, as it is the secret's owner; the pod starts when its secret is there."""
        try:
            self._api.create("secrets", p.secret(pod, self._texts(executor, pod)))
        except Exists:
            pass
        self._invited.add(executor)

    def _texts(self, executor: str, pod: p.Object) -> Mapping[str, str]:
        from executors.bootstrap import TooLong, user_data

        if self._around.invite is None:
            raise Refused("this farm has no address that a pod could reach; see [listen]")
        invitation = self._around.invite(executor, int(pod["metadata"]["annotations"][p.SLOTS]))
        try:
            return {"invitation": invitation.text(), "start": user_data(invitation, power_off=False)}
        except TooLong as error:
            raise Refused(str(error)) from error

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def machines(self) -> Sequence[Machine]:
        self._look()
        with self._books.lock:
            return self._books.listed(now())

    def _look(self) -> str:
        """Ask for all pods, write down what became of them, delete those that have ended. The listing's version."""
        living = self._books.living()  # before the question: what is made meanwhile is not missing
        pods, version = self._api.pods(self._identity.selector())
        for pod in self._sightings.all(pods, living):
            self._api.delete("pods", pod["metadata"]["name"], pod["metadata"]["uid"])
        return version

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        self._reflector.start()
        return self._sightings.await_gone(timeout.total_seconds())

    def close(self) -> None:
        self._reflector.close()
        self._sightings.close()

    # ── ending ───────────────────────────────────────────────────────────────────────────────────

    def terminate(self, ids: Collection[str], /) -> None:
        """The end is written first: should the cluster not answer, the next listing deletes again."""
        for executor in ids:
            with self._books.lock:
                entry = self._books.find(executor)
                if entry is not None:
                    self._books.end(entry, now(), "", asked=True)
        for executor in ids:
            self._delete(executor, self._books.find(executor))

    def _delete(self, executor: str, entry: Entry | None) -> None:
        self._api.delete("pods", self._identity.name(executor), entry.uid if entry else "")
