"""Many jobs that differ in their commands only, in two statements: the first is inserted as any other, then copied."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Text, bindparam, column, func, insert, literal, select

from farm import bulk
from farm import tables as t
from farm.model import JobSpec, ManyJobs
from farm.queue.submit import submit
from farm.refusal import Refusal
from schedules.model import Lane

_TEMPLATE = select(t.Step.template).where(t.Step.job == bindparam("first"))
_COUNTED = select(literal(1).label("n")).cte("counted", recursive=True)
_COUNTED = _COUNTED.union_all(select(_COUNTED.c.n + 1).where(_COUNTED.c.n < bindparam("copies")))
_JOB_COLUMNS = [column for column in t.Job.__table__.c if column.name != "id"]
_COPY_JOB = insert(t.Job).from_select(
    [column.name for column in _JOB_COLUMNS],
    select(*_JOB_COLUMNS).join(_COUNTED, t.Job.id == bindparam("first")),
    include_defaults=False,
)
_COPY_JOB_TOLD = _COPY_JOB.returning(t.Job.id)
_STEP_COLUMNS = [column for column in t.Step.__table__.c if column.name not in ("job", "template")]
_STEP_NAMES = ["job", "template", *(column.name for column in _STEP_COLUMNS)]
_OWN = (bindparam("j", type_=t.Step.job.type), bindparam("own", type_=t.Step.template.type))
_COPY_STEP = insert(t.Step).from_select(
    _STEP_NAMES, select(*_OWN, *_STEP_COLUMNS).where(t.Step.job == bindparam("first")), include_defaults=False
)
_LISTED = func.json_each(bindparam("all")).table_valued("key", column("value", Text))
_MADE = bindparam("head", type_=Text).concat(_LISTED.c.value).concat(bindparam("tail", type_=Text))
_COPY_STEPS = insert(t.Step).from_select(
    _STEP_NAMES,
    select(bindparam("second") + _LISTED.c.key, _MADE, *_STEP_COLUMNS).join(_LISTED, t.Step.job == bindparam("first")),
    include_defaults=False,
)


def submit_many(tx: Connection, many: ManyJobs, lanes: Mapping[str, Lane], now: datetime) -> list[int]:
    """Enqueue one job for each command; their ids, in the order of the commands. Raises Refusal."""
    job = check_many(many)
    step = job.steps[0]
    made = step.model_copy(update={"argv": (*step.argv, *many.commands[0])})
    first = submit(tx, job.model_copy(update={"steps": (made,)}), lanes, now)
    if len(many.commands) == 1:
        return [first]
    argvs = [(*step.argv, *command) for command in many.commands[1:]]
    copy = _at_once if tx.dialect.name == "sqlite" else _one_by_one
    return [first, *copy(tx, first, argvs)]


def check_many(many: ManyJobs) -> JobSpec:
    """The job that the others are like. Raises Refusal for one that is more than its command."""
    job = many.job
    if len(job.steps) != 1 or job.steps[0].items or job.steps[0].array:
        raise Refusal("many jobs at once are commands, each of one task", "steps", "leave out array, items, more steps")
    if job.after or job.held:
        raise Refusal("many jobs at once come after nothing, and none is held", "job", "submit them one by one")
    return job


def _at_once(tx: Connection, first: int, argvs: Sequence[Sequence[str]]) -> Sequence[int]:
    """SQLite takes the list as one value; nobody else writes meanwhile, so that ids follow each other."""
    tx.execute(_COPY_JOB, {"first": first, "copies": len(argvs)})
    template = tx.execute(_TEMPLATE, {"first": first}).scalar_one()
    rest = json.dumps({name: value for name, value in template.items() if name != "argv"})
    tail = "}" if rest == "{}" else f", {rest[1:]}"
    about = {"first": first, "second": first + 1, "head": '{"argv": ', "tail": tail, "all": json.dumps(argvs)}
    tx.execute(_COPY_STEPS, about)
    return range(first + 1, first + 1 + len(argvs))


def _one_by_one(tx: Connection, first: int, argvs: Sequence[Sequence[str]]) -> Sequence[int]:
    ids = sorted(tx.execute(_COPY_JOB_TOLD, {"first": first, "copies": len(argvs)}).scalars())
    template = tx.execute(_TEMPLATE, {"first": first}).scalar_one()
    rows = [{"j": job, "own": {**template, "argv": argv}, "first": first} for job, argv in zip(ids, argvs, strict=True)]
    bulk.execute(tx, _COPY_STEP, rows)
    return ids
