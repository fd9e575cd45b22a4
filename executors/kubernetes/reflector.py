"""A thread that hears of pods at once. It only shortens the wait: the listing every few seconds misses nothing."""

import logging
import threading
from collections.abc import Callable

from executors.errors import ProviderError
from executors.kubernetes.api import Api, Watch
from executors.kubernetes.sightings import Sightings

WATCH_S = 50  # then everything is listed anew: a watch that lost an event, or its server, is not trusted for longer
BACK_OFF_S, BACK_OFF_MAX_S = 1.0, 30.0

log = logging.getLogger(__name__)


class Reflector:
    """List, watch, and again. Never ends by an error, never asks more often than it may."""

    def __init__(self, api: Api, selector: str, look: Callable[[], str], sightings: Sightings) -> None:
        self._api, self._selector, self._look, self._sightings = api, selector, look, sightings
        self._closed = threading.Event()
        self._watch: Watch | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Repeating it is fine."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="kubernetes-watch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            if self._watch is not None:
                self._watch.close()

    def _run(self) -> None:
        pause = BACK_OFF_S
        while not self._closed.is_set():
            try:
                self._once()
                pause = BACK_OFF_S
            except ProviderError as error:
                log.info("watching pods: %s", error)
                self._closed.wait(pause)
                pause = min(2 * pause, BACK_OFF_MAX_S)

    def _once(self) -> None:
        version = self._look()
        watch = self._api.watch(self._selector, version, WATCH_S)
        with self._lock:
            self._watch = watch
        try:
            self._heed(watch)
        finally:
            watch.close()

    def _heed(self, watch: Watch) -> None:
        for what, pod in watch:
            if self._closed.is_set():
                return
            if what == "DELETED":
                self._sightings.deleted(pod)
            else:
                self._sightings.one(pod)
