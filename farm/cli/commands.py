"""The one table of commands: the overview, the lazy groups and docs/commands.md are made from it."""

from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """One command: `target` is module:function below farm.cli, imported when the command is used."""

    part: str
    target: str
    summary: str
    examples: tuple[str, ...]
    hidden: bool = False
    foreign: bool = False  # everything from the first plain word on belongs to the command that is submitted


RUN, LOOK, CHANGE, FLEET, MONEY, FARM = "Run", "Look", "Change", "Executors", "Money", "The farm itself"

COMMANDS: Mapping[str, Entry] = {
    "submit": Entry(
        RUN,
        "submit:submit",
        "Queue a command, in any language, or an array of them.",
        (
            "farm submit --wait -- make -j2",
            "farm submit --name sweep --array 1-100 -- ./simulate --seed {index}",
            "farm submit --input data.csv --output 'out/*.png' -- python plot.py data.csv",
        ),
        foreign=True,
    ),
    "render": Entry(
        RUN,
        "render:render",
        "Render the frames of a scene, and make a film of them.",
        ("farm render scene.pov --frames 1-24 --wait", "farm render scene.pov --frames 1-240:2 --film --out frames"),
    ),
    "rebuild": Entry(
        RUN,
        "rebuild:rebuild",
        "Build the packages that changed, and what depends on them, in order.",
        ("farm rebuild --wait", "farm rebuild ../packages --changed HEAD~1..HEAD"),
    ),
    "jobs": Entry(LOOK, "jobs:jobs", "List jobs, the newest first.", ("farm jobs", "farm jobs --state running --json")),
    "show": Entry(LOOK, "jobs:show", "Show a job and its tasks, or a task and its attempts.", ("farm show 17",)),
    "logs": Entry(
        LOOK, "logs:logs", "Print what a job or task wrote, and follow it.", ("farm logs 17", "farm logs 17.3 -f")
    ),
    "wait": Entry(LOOK, "wait:wait", "Wait until a job ends; exit 1 when it did not succeed.", ("farm wait 17",)),
    "get": Entry(
        LOOK, "get:get", "Fetch the files a job produced.", ("farm get 17", "farm get 17 results --overwrite")
    ),
    "why": Entry(
        LOOK,
        "why:why",
        "Say why a job, task, attempt, executor or pool is as it is, and what comes next.",
        ("farm why 17", "farm why 17.3", "farm why 17.3.2", "farm why pool local"),
    ),
    "cancel": Entry(CHANGE, "jobs:cancel", "Cancel a job or a task.", ("farm cancel 17", "farm cancel 17.3")),
    "retry": Entry(
        CHANGE, "jobs:retry", "Run the failed and cancelled tasks of a job again.", ("farm retry 17", "farm retry 17.3")
    ),
    "hold": Entry(
        CHANGE,
        "acts:hold",
        "Hand nothing more out of a job or lane; let a pool go.",
        ("farm hold 17 --why 'wrong scene'", "farm hold lane:bulk", "farm hold pool:ec2"),
    ),
    "release": Entry(CHANGE, "acts:release", "Let it go on.", ("farm release 17", "farm release lane:bulk")),
    "set": Entry(
        CHANGE,
        "acts:set_job",
        "Give a job another priority, deadline or lane.",
        ("farm set 17 --priority 50", "farm set 17 --deadline 18:00 --lane interactive"),
    ),
    "acts": Entry(
        LOOK,
        "acts:acts",
        "List what is held now, and who held, set, drained or stopped what, and why.",
        ("farm acts", "farm acts 17", "farm acts pool:ec2 --json"),
    ),
    "drain": Entry(
        FLEET,
        "acts:drain",
        "Give an executor no more work; it goes when its tasks have ended.",
        ("farm drain a1b2c3d4-1 --why 'its fan is loud'",),
    ),
    "executors": Entry(
        FLEET, "fleet:executors", "List the machines that run tasks.", ("farm executors", "farm executors --all")
    ),
    "pools": Entry(FLEET, "fleet:pools", "List the sources of executors and what they cost.", ("farm pools",)),
    "executor": Entry(
        FLEET,
        "executor:executor",
        "Let this machine work for a farm elsewhere, by the ticket that the farm has made for it.",
        ("farm executor --ticket ticket.json",),
    ),
    "executor join": Entry(
        FLEET,
        "standby:join",
        "Let this machine stand by for a farm elsewhere, and work for it while nobody needs it.",
        ("farm executor join https://farm.example.org:8443 --pool desks --ca farm-ca.pem --ticket ticket",),
    ),
    "executor unit": Entry(
        FLEET,
        "standby:unit",
        "Print a systemd unit by which a machine stands by for a farm.",
        ("farm executor unit https://farm.example.org:8443 --pool desks --when-nobody > farm-executor.service",),
    ),
    "template build": Entry(
        FLEET,
        "template:build",
        "Make what the clones of a pool start from, ahead of its first order.",
        ("farm template build", "farm template build clones"),
    ),
    "template list": Entry(
        FLEET, "template:show", "List the templates that this machine keeps.", ("farm template list",)
    ),
    "schedule show": Entry(
        FLEET,
        "schedule:show",
        "Draw the week: which opening hours rule when, their floors and ceilings.",
        ("farm schedule show", "farm schedule show --week 2026-03-29", "farm schedule show --at 03:00"),
    ),
    "schedule plan": Entry(
        FLEET,
        "schedule:plan",
        "Say what would be decided at a time to come, with the jobs that wait now.",
        ("farm schedule plan --at 22:00", "farm schedule plan --at '2026-03-29 02:30' --json"),
    ),
    "simulate": Entry(
        FLEET,
        "simulate:simulate",
        "Replay a recorded day: what it would have cost, and how long its jobs would have waited.",
        ("farm simulate week.csv --preset all", "farm simulate week.csv --boot 60s --against all --bound 300s --json"),
    ),
    "stop-spending": Entry(
        MONEY,
        "acts:stop_spending",
        "Order nothing more that costs money, and let go what is idle.",
        ("farm stop-spending --why 'the budget of March is used up'",),
    ),
    "resume-spending": Entry(MONEY, "acts:resume_spending", "Order executors again.", ("farm resume-spending",)),
    "report cost": Entry(
        MONEY,
        "report:cost",
        "What the executors cost, and what always-on would have.",
        ("farm report cost --by owner", "farm report cost --by job --csv > cost.csv"),
    ),
    "report usage": Entry(
        MONEY,
        "report:usage",
        "Boot, busy, idle and drain seconds of the executors.",
        ("farm report usage --by project",),
    ),
    "login": Entry(
        FARM,
        "login:login",
        "Let every command speak to a farm on another machine.",
        ("farm login https://farm.example.org:8443", "farm login https://10.0.0.7:8443 --fingerprint AB:12:… < token"),
    ),
    "logout": Entry(FARM, "login:logout", "Forget that farm and its token.", ("farm logout",)),
    "up": Entry(
        FARM, "service:up", "Start the farm and return when it answers.", ("farm up", "farm up --home /srv/farm")
    ),
    "down": Entry(
        FARM,
        "service:down",
        "Stop the farm and its executors; their tasks go back into the queue.",
        ("farm down", "farm down --drain", "farm down --terminate"),
    ),
    "status": Entry(FARM, "service:status", "Show what runs: processes, queue, executors.", ("farm status --json",)),
    "token create": Entry(
        FARM,
        "token:create",
        "Make a token for somebody who reaches the farm from elsewhere, or for a machine that joins it.",
        ("farm token create --owner ada --expires 30d", "farm token create --owner ci --scope submit > token"),
    ),
    "token list": Entry(
        FARM, "token:tokens", "List the tokens that are good, and when they were used.", ("farm token list",)
    ),
    "token revoke": Entry(FARM, "token:revoke", "End a token, at once.", ("farm token revoke 3f2a90c1be",)),
    "ca show": Entry(
        FARM,
        "ca:show",
        "Show the certificate that others have to trust, and its fingerprint.",
        ("farm ca show", "farm ca show > farm-ca.pem"),
    ),
    "ca rotate": Entry(
        FARM,
        "ca:rotate",
        "Replace the farm's certificate authority, without a restart.",
        ("farm ca rotate", "farm ca rotate --now"),
    ),
    "hook install": Entry(
        FARM,
        "hook:install",
        "Let a push to a git repository rebuild what changed.",
        ("farm hook install /srv/git/packages.git", "farm hook install . --url https://farm.example.org:8443"),
    ),
    "hook send": Entry(
        FARM,
        "hook:send",
        "Send the pushes that a farm elsewhere has not heard of yet.",
        ("farm hook send /srv/git/packages.git",),
    ),
    "doctor": Entry(
        FARM, "doctor:doctor", "Check this machine and this home, with a remedy for every finding.", ("farm doctor",)
    ),
    "database check": Entry(
        FARM,
        "database:check",
        "Check that the database is whole, its rows agree and its bill adds up.",
        ("farm database check", "farm database check --files --json"),
    ),
    "database migrate": Entry(
        FARM, "database:migrate", "Bring the database's schema up to date.", ("farm database migrate",)
    ),
    "database copy": Entry(
        FARM,
        "database:copy",
        "Copy the farm's database to PostgreSQL, or back to SQLite.",
        (
            "farm database copy postgresql://farm@db.example.org/farm",
            "farm database copy farm.db --from postgresql://farm@db.example.org/farm",
        ),
    ),
    "prune": Entry(
        FARM,
        "prune:prune",
        "Remove logs and evidence that are older than farm.toml keeps them.",
        ("farm prune --dry-run", "farm prune"),
    ),
    "demo": Entry(
        FARM,
        "demo:demo",
        "Show what the farm does, on this machine or on machines elsewhere: a film, packages, the bill.",
        ("farm demo", "farm demo --on kubernetes"),
    ),
    "bench dispatch": Entry(
        FARM,
        "bench:dispatch",
        "Measure how fast `true` goes through the whole farm, beside a bare spawn loop.",
        ("farm bench dispatch --tasks 2000 --json",),
    ),
    "bench queue": Entry(
        FARM,
        "bench_queue:queue",
        "Measure the queue alone: a million tasks, 100,000 jobs, a graph, 200 executors.",
        ("farm bench queue", "farm bench queue --on sqlite --runs 1 --growth 0", "farm bench queue --json"),
    ),
    "bench logs": Entry(
        FARM,
        "bench_logs:logs",
        "Measure how lines go from tasks to their readers.",
        ("farm bench logs", "farm bench logs --lines 100000 --json"),
    ),
    "event": Entry(
        FARM,
        "hook:event",
        "Tell the farm of a push; the git hook calls it.",
        ("farm event REPOSITORY < lines-of-post-receive",),
        hidden=True,
    ),
}
ABOUT = "Farm keeps exactly as many executors alive as the work justifies, zero when there is none."


def overview() -> str:
    """The text of `farm --help`."""
    shown = {name: entry for name, entry in COMMANDS.items() if not entry.hidden}
    width = max(map(len, shown)) + 2
    lines = ["Usage: farm COMMAND [OPTIONS] [ARGUMENTS]", "", ABOUT]
    for part in dict.fromkeys(entry.part for entry in shown.values()):
        lines += ["", f"{part}:"]
        lines += [f"  {name:<{width}}{entry.summary}" for name, entry in shown.items() if entry.part == part]
    return "\n".join([*lines, "", *_EPILOG])


_EPILOG = (
    "Every command takes --help (with examples), --json, and --home FOLDER (else FARM_HOME, else a folder by XDG).",
    "A farm elsewhere: `farm login URL`, or FARM_URL, FARM_TOKEN and FARM_CA; --home and FARM_HOME go before them.",
    "",
    "To begin:",
    "  farm submit --wait -- echo hello     run one command; starts a farm for as long as it takes",
    "  farm up                              start the farm in the background; `farm down` stops it",
    "",
    "Exit status: 0 fine, 1 a job failed, 2 the request is wrong, 3 the farm or its environment is, 130 Ctrl-C.",
)
