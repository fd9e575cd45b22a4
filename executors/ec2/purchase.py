"""The buying of one order's machines."""

import threading

from executors.contract import Refusal
from executors.ec2.books import Books
from executors.ec2.cloud import Cloud
from executors.ec2.remedies import TokenTaken
from executors.ec2.settings import Ec2Options
from executors.errors import Lost, ProviderError, SoldOut


class Purchase:
    """One client token per machine, whatever the type: what is asked again in other words EC2 refuses, never sells."""

    def __init__(self, options: Ec2Options, cloud: Cloud, books: Books, order: str, slots: int) -> None:
        self._options, self._cloud, self._books = options, cloud, books
        self._order, self._slots = order, slots
        self._refused: dict[str, ProviderError] = {}  # by instance type; such a type is not asked for again
        self._stopped: ProviderError | None = None  # what will meet every further call, too
        self._lock = threading.Lock()

    def refused(self) -> tuple[Refusal, ...]:
        """Why there are not more machines; types come in the order in which they were tried."""
        kinds = [kind for kind in self._options.instance_types if kind in self._refused]
        return tuple(Refusal(self._options.offer(kind).key, self._refused[kind]) for kind in kinds)

    def buy(self, name: str, user_data: str) -> None:
        """One machine into the books, of the first type that there is."""
        self._books.intend(name, self._order, self._slots)
        taken: ProviderError | None = None
        for kind in self._options.instance_types:
            if isinstance(self._refused.get(kind), SoldOut):
                continue
            try:
                if self._stopped is None:
                    bought = self._cloud.run(name, self._order, self._slots, kind, user_data)
                    self._books.bought(name, bought)
                    return
            except TokenTaken as error:
                taken = error
            except ProviderError as error:
                if self._refuse(kind, error):
                    return
        if taken is not None:
            self._settle(name, taken)
        else:
            self._books.withdraw(name)

    def _refuse(self, kind: str, error: ProviderError) -> bool:
        """Whether there is no sense in asking on; a call without an answer stays in the books."""
        with self._lock:
            self._refused[kind] = error
            if not isinstance(error, SoldOut):
                self._stopped = error
        return isinstance(error, Lost)

    def _settle(self, name: str, taken: ProviderError) -> None:
        """Find what the token has bought in an earlier life."""
        try:
            found = self._cloud.find(executor=name)
        except ProviderError as error:
            self._refuse(self._options.instance_types[0], error)
            return
        if found:
            self._books.bought(name, found[0])
        else:
            self._refuse(self._options.instance_types[0], Lost(f"{taken}, and what it has bought is not listed"))
