"""Start the one service of a home, in this process or as a program. Light: the gateway starts while we still import."""

import contextlib
import gc
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from executors.site.head import stop_head
from farm import home_lock
from farm.home import SITE, BadHome, Home, Taken
from farm.names import shadowed
from farm.refusal import Refusal
from farm.supervisor import Supervisor

if TYPE_CHECKING:
    from farm.api_process import ApiProcess
    from farm.context import Farm
    from farm.running import RunningService

FILES = 65_536  # open at once, where the machine allows them: those we start have as many


def run(home: Home, listen: str | None = None) -> "RunningService":
    """Start the one service of this home; with `listen` (HOST:PORT) also there, else where farm.toml says.

    Raises Taken when another one runs in this home, BadHome, BadConfig, BadDatabase, BadListening.
    """
    home.make()
    return _lead(home, _only_one(home), listen)


def stand_by(
    home: Home, listen: str | None, told: threading.Event, standing: Callable[[], None]
) -> "RunningService | None":
    """Wait until nobody leads this farm, then lead it; None when told not to wait any longer, or the farm went down.
    `standing` is called once somebody else leads. Raises what `run` does, but Taken.
    """
    from farm.context import open_farm
    from farm.db import explained
    from farm.succession import Successor, warm
    from farm.watch import check_session

    farm = open_farm(home)
    try:
        warm()
        with explained(farm.db.where):
            if not farm.db.sqlite:
                check_session(farm.db)
            lock = Successor(farm, told).wait(standing)
    except BaseException:
        farm.close()
        raise
    if lock is None:
        farm.close()
        return None
    return _lead(home, lock, listen, farm)


def _lead(home: Home, lock: IO[str], listen: str | None, farm: "Farm | None" = None) -> "RunningService":
    home_lock.sign(lock)
    try:  # Ctrl-C may come at any moment
        home.make_run()
        return _start(home, lock, listen, farm)
    except BaseException:
        with contextlib.suppress(OSError):
            home.socket.unlink(missing_ok=True)
            home.run.rmdir()  # unless a gateway of an earlier service lives there
        lock.close()
        raise


def _start(home: Home, lock: IO[str], listen: str | None, farm: "Farm | None") -> "RunningService":
    """`farm`: one that stood by. Raises BadHome when somebody else's package stands in the place of one of ours.

    The socket first, so that who connects early waits; then the gateway, which imports while we do."""
    from farm.config import load

    if clash := shadowed():
        raise BadHome(clash)
    engine = load(home.config_file).site.engine
    listening = _listen(home)
    supervisor = Supervisor(home, SITE, engine)
    ours = contextlib.ExitStack()
    try:
        supervisor.start()
        from farm.context import open_farm
        from farm.db import check, explained
        from farm.given import take_given
        from farm.listening import opened
        from farm.running import RunningService
        from farm.watch import Watch

        fresh, farm = farm is None, farm or open_farm(home)
        ours.callback(farm.close)
        if fresh:
            check(farm.db, farm.db.where)
        else:
            farm.config = load(home.config_file)
        if farm.watch is None and not farm.db.sqlite:
            farm.watch = Watch(farm.db)
        with explained(farm.db.where):
            take_given(farm.db, farm.clock)
            farm.listener = opened(home, farm.config.listen, listen, farm.clock)
            service = RunningService(farm, lock, listening, supervisor)
        service.start()
        ours.pop_all()
    except BaseException:
        ours.close()
        supervisor.stop(end=True)
        stop_head(str(home.run))
        shutil.rmtree(home.run, ignore_errors=True)
        raise
    return service


def _listen(home: Home) -> socket.socket:
    """The Unix socket of the API; only our own user reaches its folder."""
    home.socket.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(home.socket))
    listening.listen(128)
    return listening


def _only_one(home: Home) -> IO[str]:
    lock = home_lock.taken(home)
    if lock is None:
        what = f"a farm runs here already (process {home_lock.holder(home)})"
        raise Taken(what, str(home.path), "see `farm status`")
    return lock


def main(arguments: list[str]) -> int:
    """`python -m farm.service --home HOME [--listen HOST:PORT] [--standby | --api]`: until `farm down`, or SIGTERM
    (which leaves executors and work alone). With --standby it says `standing by` while another one leads; with --api it
    serves beside that one.

    Why it can't start is told as JSON, for `farm up` to read, or with `--words` as a sentence.
    """
    home = Home.find(_value(arguments, "--home"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # it would hold tokens
    _more_files()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    early = threading.Event()  # in a container nobody else hears a signal that comes before we are there
    for number in (signal.SIGTERM, signal.SIGINT):  # by a thread: ours may be about to wait for the event
        signal.signal(number, lambda *_: threading.Thread(target=early.set).start())
    listen = _value(arguments, "--listen")
    try:
        service = _wanted(home, listen, arguments, early)
    except Exception as error:
        known = error if isinstance(error, Refusal) else Refusal(str(error), str(home.path))
        said = json.dumps({"error": {"what": known.what, "where": known.where, "remedy": known.remedy}})
        sys.stderr.write(f"farm: {known}\n" if "--words" in arguments else f"{said}\n")
        if known is not error and type(error).__name__ != "Refused":
            logging.getLogger(__name__).exception("the farm can't start")
        return 3
    if service is None:
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.hand_over())
    if early.is_set():
        service.hand_over()
    gc.freeze()  # what is here now stays: to look through it again and again costs more than all rubbish is worth
    gc.set_threshold(10_000, 20, 20)
    sys.stdout.write(f"{service.ready}\n")
    sys.stdout.flush()
    while not service.join(3600):
        pass
    return 0


def _wanted(
    home: Home, listen: str | None, arguments: list[str], early: threading.Event
) -> "RunningService | ApiProcess | None":
    """Raises what `run`, `stand_by` and `serve` do."""
    if "--api" in arguments:
        from farm.api_process import serve

        return serve(home, listen)
    return stand_by(home, listen, early, _standing) if "--standby" in arguments else run(home, listen)


def _standing() -> None:
    """Said to who started us, who goes then: from now on all is for the log."""
    sys.stdout.write("standing by\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _more_files() -> None:
    """Every connection is a file, and the soft limit is what `select` once could bear."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))


def _value(arguments: list[str], option: str) -> str | None:
    return arguments[arguments.index(option) + 1] if option in arguments else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
