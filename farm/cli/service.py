"""`farm up`, `farm down`, `farm status`."""

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
from json import loads as json_of
from typing import Annotated, Any

import typer

from farm.cli.beside import end_beside, tell_beside
from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, facts, say, table
from farm.cli.reach import home_of, reader
from farm.client import Client, Unreachable, connect
from farm.home import Home
from farm.place import parse_place
from farm.refusal import Refusal, Unavailable

START_S = 60.0
STOP_S = 120.0
GOING_S = 10.0  # for a farm that no longer answers to be gone
FOLLOW_S = 5.0  # for those that stand by to follow
LITTLE = 64 << 10  # bytes with which a farm does not come up


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground, for systemd.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Be reached from elsewhere, by TLS; also [listen] in farm.toml."),
    ] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another process leads this farm, and lead it after that.")
    ] = False,
    api: Annotated[
        bool, typer.Option("--api", help="Serve the API beside the process that leads; as many as you like.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """A farm that is up already is fine. Settings are read from farm.toml in the home; none are needed. Others reach it
    with a token (`farm token create`) and its fingerprint, which is printed; on loopback it speaks plain HTTP."""
    place = home_of(home, "up").make()
    if listen is not None:
        parse_place(listen)
    if standby and api:
        raise Refusal("who serves beside the leader does not stand by", "--api", "start two processes, one with each")
    more = [f"--{name}" for name, wanted in (("standby", standby), ("api", api)) if wanted]
    if foreground:
        return _foreground(place, listen, json, more)
    if api:
        process, said = begun(place, [*_command(place, listen), "--api"])
        return tell_beside(place, process.pid, said, json)
    if standby:
        return _stand_by(place, listen, json)
    already = _status(place)
    if already and listen is not None:
        _check_listens(already, listen)
    status = already or start(place, listen)
    if json:
        emit(status)
    else:
        print(f"the farm {'was up already' if already else 'is up'}: home {place.path}")
        _tell_address(status.get("listening"))
    return 0


def _tell_address(listening: Any) -> None:
    if listening:
        print(f"others reach it at {listening['url']}")
    if listening and listening["fingerprint"]:
        print(f"fingerprint of its CA (SHA-256): {listening['fingerprint']}")
    if listening and (before := listening.get("moved")):
        say(f"port {before}, that of last time, is taken: executors and logins that know it do not find the farm.")
        say(f"Free it, then `farm down --keep` and `farm up --listen HOST:{before}`")


def _check_listens(status: Any, wanted: str) -> None:
    """Raises Refusal when the farm that is up listens elsewhere, or nowhere."""
    host, port = parse_place(wanted)
    there = status["listening"]
    if there is None or port not in (0, there["port"]) or not there["address"].strip("[").startswith(host):
        where = f"listens at {there['address']}" if there else "listens to nobody else"
        remedy = f"`farm down --keep`, then `farm up --listen {wanted}`; its executors go on meanwhile"
        raise Refusal(f"the farm is up already and {where}", "--listen", remedy)


def _foreground(home: Home, listen: str | None, json: bool, more: list[str]) -> int:
    os.execv(sys.executable, [*_command(home, listen), *more, *([] if json else ["--words"])])


def _stand_by(home: Home, listen: str | None, json: bool) -> int:
    """Start a process that waits for its turn; it leads at once when nobody else does. Raises Unavailable."""
    process, said = begun(home, [*_command(home, listen), "--standby"])
    waits = said == "standing by"
    if json:
        emit({"home": str(home.path), "standing_by": waits, "pid": process.pid})
    else:
        what = "stands by" if waits else "leads the farm, for nobody else does"
        print(f"process {process.pid} {what}: home {home.path}")
    return 0


def begun(home: Home, command: list[str]) -> tuple["subprocess.Popen[bytes]", str]:
    """A process in a session of its own, and the line it says once it is there. Raises Unavailable."""
    with home.service_log.open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    assert process.stdout is not None
    readable = select.select([process.stdout], [], [], START_S)[0]
    said = process.stdout.readline().decode().strip() if readable else ""
    process.stdout.close()
    if not said and readable:
        raise _did_not_start(home, process.wait(), begin)
    if not said:
        raise Unavailable(f"process {process.pid} said nothing within {START_S:.0f} s", str(home.service_log), _LOOK)
    return process, said


def _command(home: Home, listen: str | None) -> list[str]:
    where = ["--listen", listen] if listen is not None else []
    return [sys.executable, "-P", "-m", "farm.service", "--home", str(home.path), *where]


def start(home: Home, listen: str | None = None) -> Any:
    """Start the service in a session of its own; its status as soon as it answers. Raises Unavailable."""
    with home.service_log.open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            _command(home, listen),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    return _answered(home, process, begin)


def _answered(home: Home, process: "subprocess.Popen[bytes]", begin: int) -> Any:
    ended = select.poll()
    pidfd = os.pidfd_open(process.pid)
    ended.register(pidfd, select.POLLIN)
    try:
        for _ in range(int(START_S / 0.05)):
            gone = ended.poll(50)
            status = _status(home)
            if status:
                return status
            if gone and not _runs(home):
                raise _did_not_start(home, process.wait(), begin)
            if gone:  # another `farm up` was quicker: its farm is as good
                ended.unregister(pidfd)
    finally:
        os.close(pidfd)
    raise Unavailable(f"the farm did not answer within {START_S:.0f} s", str(home.service_log), _LOOK)


def _runs(home: Home) -> bool:
    """Whether a service holds this home, answering or not yet."""
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


_LOOK = "read that file, or type `farm doctor`"


def _did_not_start(home: Home, code: int, begin: int) -> Refusal:
    """What the service said last, if it said it as an error of ours, else the end of its log."""
    with home.service_log.open("rb") as log:
        log.seek(begin)
        lines = log.read()[-20_000:].decode(errors="replace").strip().splitlines()
    for line in reversed(lines):  # others of this home write there, too
        try:
            said = json_of(line)["error"]
            return Unavailable(said["what"], said["where"], said["remedy"])
        except (ValueError, KeyError, TypeError):
            continue
    free = os.statvfs(home.path)
    if free.f_bavail * free.f_frsize < LITTLE:
        return Unavailable("the disk is full", str(home.path), "make room there, or choose another home with --home")
    if lines:
        say("\n".join(lines[-15:]))
    return Unavailable(f"the farm ended at once with status {code}", str(home.service_log), _LOOK)


def _status(home: Home) -> Any:
    """The status of a running farm, or None."""
    try:
        with connect(home) as client:
            return client.get("/v1/status")
    except Unreachable:
        return None


def down(
    drain: Annotated[bool, typer.Option("--drain", help="First let running tasks end.")] = False,
    terminate: Annotated[bool, typer.Option("--terminate", help="End executors that cost money, too.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave all executors alive for the next `farm up`.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Tasks that are running go back into the queue and count as never tried; nothing is lost. While executors with a
    price are alive it does nothing, unless told what becomes of them. Kept ones go on with their tasks, and end by
    themselves when no farm takes them back within their lease."""
    place = home_of(home, "down")
    answer = stop(place, drain, terminate=terminate, keep=keep)
    if answer is None and not keep and (paid := _left_running(place)):
        answer = _end_left(place, paid, drain, terminate)
    kept = answer["kept"] if answer else ""
    if json:
        emit({"home": str(place.path), "was_up": bool(answer), "kept": kept})
    else:
        print(f"the farm {'is down' if answer else 'was down already'}: home {place.path}")
    if kept:
        say(f"kept alive: {kept}; take them back with `farm up`")
    return 0


def _left_running(home: Home) -> str:
    """What a farm that is down left alive and costs money, in words; "" when there is nothing."""
    if not os.path.exists(home.path):
        return ""
    try:
        paid, money = _paid(home)
    except Refusal as error:
        say(f"whether executors that cost money are still alive can't be told: {error}")
        return ""
    return f"{paid} paid executor{'s' * (paid != 1)}, {money} an hour" if paid else ""


def _end_left(home: Home, paid: str, drain: bool, terminate: bool) -> Any:
    """Only a farm that is up can end executors. Raises Refusal unless they shall end."""
    if not terminate:
        what = f"the farm is down already, and still alive: {paid}"
        raise Refusal(what, "farm down", "type `farm up`, then `farm down --terminate`")
    say(f"still alive: {paid}; the farm comes up once more to end them")
    start(home)
    return stop(home, drain, terminate=True)


def _paid(home: Home) -> tuple[int, str]:
    """How many living executors cost money, and how much an hour. Raises Refusal."""
    from decimal import Decimal

    with reader(home) as client:
        found = client.get("/v1/executors")["executors"]
        currency = client.get("/v1/status")["currency"]
    prices = [Decimal(one["price"]) for one in found if one["state"] != "ordered" and Decimal(one["price"] or 0) > 0]
    return len(prices), f"{sum(prices):f} {currency}"


def stop(home: Home, drain: bool, *, terminate: bool = True, keep: bool = False) -> Any:
    """What the farm answered when it went down, or None where none was running. Raises Refusal."""
    try:
        client = connect(home)
    except Unreachable:
        end_beside(home)
        return None
    watched = _service(home)
    waiting: list[int] = []
    try:
        with client:
            waiting = _standbys(client)
            answer = client.post("/v1/down", {"drain": drain, "terminate": terminate, "keep": keep})
        _ended(watched, None if drain else STOP_S)
        for one in waiting:
            select.select([one], [], [], FOLLOW_S)
        return answer
    except Unreachable:
        if watched and not select.select(watched, [], [], GOING_S)[0]:
            raise
        return None  # it was going down by itself
    finally:
        for descriptor in (*watched, *waiting):
            os.close(descriptor)


def _service(home: Home) -> list[int]:
    """A handle of the process that holds this home, if there is one."""
    try:
        return [os.pidfd_open(int(home.lock.read_text()))]
    except (OSError, ValueError):
        return []


def _standbys(client: Client) -> list[int]:
    """Handles of the processes of this machine that stand by or serve beside; they go with the farm."""
    try:
        status = client.get("/v1/status")
        found = [*status["standbys"], *status["apis"]]
    except (Refusal, KeyError):  # its database is away: they see for themselves
        return []
    handles = []
    for one in found:
        with contextlib.suppress(ProcessLookupError):
            if one["host"] == socket.gethostname():
                handles.append(os.pidfd_open(one["pid"]))
    return handles


def _ended(watched: list[int], patience_s: float | None) -> None:
    """Wait until every process is gone. Raises Unavailable when that takes too long."""
    for descriptor in watched:
        if not select.select([descriptor], [], [], patience_s)[0]:
            raise Unavailable(f"the farm did not end within {patience_s} s", remedy=_LOOK)


def status(home: HomeOption = None, json: JsonOption = False) -> int:
    """Also works while the farm is down: then it shows the queue that waits for `farm up`."""
    with reader(home) as client:
        found = client.get("/v1/status")
    if json:
        emit(found)
    else:
        _show(found, client)
    return 0


def _refused(found: Any) -> str | None:
    """The count begins anew with the service; service.log has them all."""
    return f"{found['refused']} since {moment(found['refused_since'])}" if found.get("refused") else None


def _member(one: Any) -> str | None:
    return f"process {one['pid']} on {one['host']} since {moment(one['since'])}, home {one['home']}" if one else None


def _show(found: Any, client: Client) -> None:
    queue, executors = found["queue"], found["executors"]
    facts(
        [
            ("farm", "up" if client.running else "down; start it with `farm up`"),
            ("at", client.at),
            ("home", found["home"]),
            ("database", found.get("database")),
            ("led by", _member(found.get("leader"))),
            ("standing by", "; ".join(_member(one) or "" for one in found.get("standbys", ()))),
            ("API also by", "; ".join(_member(one) or "" for one in found.get("apis", ()))),
            ("others reach it at", (found.get("listening") or {}).get("url")),
            ("refused calls", _refused(found)),
            ("version", found.get("version")),
            ("runs on", found["engine"]),
            ("jobs", ", ".join(f"{count} {state}" for state, count in queue.items())),
            ("executors", ", ".join(f"{n} {state}" for state, n in executors.items() if n) or "none"),
            ("held", ", ".join(found.get("held", ()))),
            ("spent", f"{found['spent']} {found['currency']}"),
        ]
    )
    if found["processes"]:
        print()
        columns = ("role", "pid", "executor", "attempt")
        table(columns, [[one.get(c) for c in columns] for one in found["processes"]], numbers=("pid",))
