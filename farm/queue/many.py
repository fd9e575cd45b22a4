"""Many jobs that differ in their commands only, in two statements: the first is inserted as any other, then copied."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, JSON, BigInteger, Connection, Text, bindparam, cast, column, func, insert, literal, select

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
_LISTED = func.json_each(bindparam("all")).table_valued("key", column("value", Text))
_HEAD, _TAIL = bindparam("head", type_=Text), bindparam("tail", type_=Text)
_MADE = _HEAD.concat(_LISTED.c.value).concat(_TAIL)
_COPY_STEPS = insert(t.Step).from_select(
    _STEP_NAMES,
    select(bindparam("second") + _LISTED.c.key, _MADE, *_STEP_COLUMNS).join(_LISTED, t.Step.job == bindparam("first")),
    include_defaults=False,
)
_GIVEN = func.unnest(bindparam("ids", type_=ARRAY(BigInteger)))
_IDS = _GIVEN.table_valued("id", with_ordinality="place").render_derived()
_LIST = func.json_array_elements(cast(bindparam("all", type_=Text), JSON))
_ARGVS = _LIST.table_valued("argv", with_ordinality="place").render_derived()
_MADE_OF = cast(_HEAD.concat(cast(_ARGVS.c.argv, Text)).concat(_TAIL), JSON)
_COPY_STEPS_TO = insert(t.Step).from_select(
    _STEP_NAMES,
    select(_IDS.c.id, _MADE_OF, *_STEP_COLUMNS).select_from(
        _IDS.join(_ARGVS, _ARGVS.c.place == _IDS.c.place).join(t.Step, t.Step.job == bindparam("first"))
    ),
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
    template = tx.execute(_TEMPLATE, {"first": first}).scalar_one()
    rest = json.dumps({name: value for name, value in template.items() if name != "argv"})
    about = {"first": first, "head": '{"argv": ', "tail": "}" if rest == "{}" else f", {rest[1:]}"}
    copy = _with_ids_in_a_row if tx.dialect.name == "sqlite" else _with_any_ids
    return [first, *copy(tx, {**about, "all": json.dumps(argvs)}, len(argvs))]


def check_many(many: ManyJobs) -> JobSpec:
    """The job that the others are like. Raises Refusal for one that is more than its command."""
    job = many.job
    if len(job.steps) != 1 or job.steps[0].items or job.steps[0].array:
        raise Refusal("many jobs at once are commands, each of one task", "steps", "leave out array, items, more steps")
    if job.after or job.held or job.start_after:
        raise Refusal(
            "many jobs at once come after nothing, and none is held or begins later", "job", "submit them one by one"
        )
    return job


def _with_ids_in_a_row(tx: Connection, about: Mapping[str, Any], copies: int) -> Sequence[int]:
    """On SQLite nobody else writes meanwhile, and numbers follow each other."""
    second = about["first"] + 1
    tx.execute(_COPY_JOB, {"first": about["first"], "copies": copies})
    tx.execute(_COPY_STEPS, {**about, "second": second})
    return range(second, second + copies)


def _with_any_ids(tx: Connection, about: Mapping[str, Any], copies: int) -> Sequence[int]:
    ids = sorted(tx.execute(_COPY_JOB_TOLD, {"first": about["first"], "copies": copies}).scalars())
    tx.execute(_COPY_STEPS_TO, {**about, "ids": ids})
    return ids
