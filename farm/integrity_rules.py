"""What must hold between the rows of a farm's database: one query per rule, which finds what breaks it.

Plain SQL that SQLite and PostgreSQL both understand. The sentence of a rule is filled in with a row's columns.
"""

from dataclasses import dataclass
from enum import StrEnum

from farm.model import AttemptState, ExecutorState, JobState, OrderState, TaskState

JOB_AGAIN = "keep a copy of the database, `farm cancel {job}` unless it has ended, and submit it again"
HOLD_AGAIN = "`farm hold {job}` and `farm release {job}` mark it anew"
WHEEL = "`farm down` and `farm up` settle executors anew; if it stays, keep a copy of the database and report it"
BOOKS = "keep a copy of the database and report it; the rows themselves are still the bill"
RESTORE = "restore a backup, or keep a copy of the database and report it"


@dataclass(frozen=True, slots=True)
class Rule:
    """`query` gives a row for each thing that breaks the rule."""

    name: str
    says: str
    remedy: str
    query: str


def _words(states: type[StrEnum]) -> str:
    return ", ".join(f"'{state}'" for state in states)


def _legal(table: str, ref: str, states: str) -> Rule:
    query = f'SELECT {ref} AS ref, state FROM "{table}" WHERE state NOT IN ({states})'
    return Rule("states", table + " {ref} is in a state that does not exist: {state}", RESTORE, query)


def _orphan(says: str, query: str) -> Rule:
    return Rule("orphans", says, RESTORE, query)


_ENDED = "'done', 'failed', 'cancelled', 'skipped'"
_ACTIVE = "'claimed', 'started'"
_ALIVE = "'booting', 'ready', 'draining'"
_BAD = "(state IN ('failed', 'cancelled') OR (state = 'skipped' AND cause = 'needs'))"
_FORGOTTEN = "COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'forgotten'), 0)"
_TASK = "job || '.' || number"
_ATTEMPT = "job || '.' || number || '.' || ordinal"

# Array tasks have no rows before they run; those of a step that ended without running them count all the same.
_STEPS = f"""
SELECT s.job, s.ordinal, s.name, s.state, s."left" AS todo, s.bad, s.next, s.early, s.total,
       s.array IS NOT NULL AS is_array, COALESCE(r.made, 0) AS made,
       COALESCE(r.ended, 0) AS ended, COALESCE(r.worse, 0) AS worse,
       CASE WHEN s.state = 'ended' OR s.next = s.total THEN s.total - COALESCE(r.made, 0) ELSE 0 END AS untouched
FROM step s LEFT JOIN (
    SELECT job, step, COUNT(*) AS made,
           SUM(CASE WHEN state IN ({_ENDED}) THEN 1 ELSE 0 END) AS ended,
           SUM(CASE WHEN {_BAD} THEN 1 ELSE 0 END) AS worse
    FROM task GROUP BY job, step
) r ON r.job = s.job AND r.step = s.ordinal"""

_JOBS = f"""
SELECT j.id AS job, j.state, j.total, j.running, j.done, j.failed, j.cancelled, j.skipped,
       COALESCE(t.running, 0) AS is_running, COALESCE(t.done, 0) AS is_done, COALESCE(t.failed, 0) AS is_failed,
       COALESCE(t.cancelled, 0) + COALESCE(s.cancelled, 0) AS is_cancelled,
       COALESCE(t.skipped, 0) + COALESCE(s.skipped, 0) AS is_skipped, COALESCE(s.total, 0) AS is_total
FROM job j LEFT JOIN (
    SELECT job, {", ".join(f"SUM(CASE WHEN state = '{s}' THEN 1 ELSE 0 END) AS {s}" for s in TaskState)}
    FROM task GROUP BY job
) t ON t.job = j.id LEFT JOIN (
    SELECT job, SUM(total) AS total, SUM(CASE WHEN next = total THEN untouched ELSE 0 END) AS cancelled,
           SUM(CASE WHEN next < total THEN untouched ELSE 0 END) AS skipped
    FROM ({_STEPS}) steps GROUP BY job
) s ON s.job = j.id"""

# Marks and lanes of what has not ended.
_OPEN_STEPS = "FROM step s JOIN job j ON j.id = s.job WHERE s.state <> 'ended'"
_OPEN_TASKS = f"FROM task t JOIN job j ON j.id = t.job WHERE t.state NOT IN ({_ENDED})"
_MARK = "CASE WHEN {0}.held = 0 THEN 'not held' ELSE 'held' END AS mark"
_MARKS = (
    f"SELECT 'step' AS what, s.job || ', step ' || s.ordinal AS ref, s.job, j.state, {_MARK.format('s')} {_OPEN_STEPS} "
    f"UNION ALL SELECT 'task', t.job || '.' || t.number, t.job, j.state, {_MARK.format('t')} {_OPEN_TASKS}"
)
_TURNS = (
    f"SELECT 'step' AS what, s.job || ', step ' || s.ordinal AS ref, s.job, s.lane, j.lane AS should {_OPEN_STEPS} "
    f"UNION ALL SELECT 'task', t.job || '.' || t.number, t.job, t.lane, j.lane {_OPEN_TASKS}"
)

_FINAL = "CASE WHEN failed > 0 THEN 'failed' WHEN cancelled > 0 THEN 'cancelled' ELSE 'done' END"

STATES = (
    _legal("job", "id", _words(JobState)),
    _legal("step", "job || ', step ' || ordinal", "'blocked', 'ready', 'ended'"),
    _legal("task", _TASK, _words(TaskState)),
    _legal("attempt", _ATTEMPT, _words(AttemptState)),
    _legal("order", "token", _words(OrderState)),
    _legal("executor", "id", _words(ExecutorState)),
)

ORPHANS = (
    _orphan(
        "step {ordinal} belongs to job {job}, which is not there",
        "SELECT job, ordinal FROM step WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.id = step.job)",
    ),
    _orphan(
        "task {job}.{number} belongs to a step that is not there",
        "SELECT job, number FROM task WHERE NOT EXISTS "
        "(SELECT 1 FROM step WHERE step.job = task.job AND step.ordinal = task.step)",
    ),
    _orphan(
        "attempt {job}.{number}.{ordinal} belongs to a task that is not there",
        "SELECT job, number, ordinal FROM attempt WHERE NOT EXISTS "
        "(SELECT 1 FROM task WHERE task.job = attempt.job AND task.number = attempt.number)",
    ),
    _orphan(
        "attempt {job}.{number}.{ordinal} ran on executor {executor}, which is not there",
        "SELECT job, number, ordinal, executor FROM attempt WHERE NOT EXISTS "
        "(SELECT 1 FROM executor WHERE executor.id = attempt.executor)",
    ),
    _orphan(
        "task {job}.{number} waits for {job}.{before}, and one of them is not there",
        "SELECT job, number, before FROM task_edge e WHERE 2 > (SELECT COUNT(*) FROM task "
        "WHERE task.job = e.job AND task.number IN (e.number, e.before))",
    ),
    _orphan(
        "job {job} waits for job {before}, and one of them is not there",
        "SELECT job, before FROM job_edge e WHERE 2 > (SELECT COUNT(*) FROM job WHERE id IN (e.job, e.before))",
    ),
    _orphan(
        "executor {id} was bought by order {token}, which is not there",
        'SELECT id, "order" AS token FROM executor WHERE NOT EXISTS '
        '(SELECT 1 FROM "order" o WHERE o.token = executor."order")',
    ),
    _orphan(
        "ledger row {id} is about executor {executor}, which is not there",
        "SELECT id, executor FROM ledger WHERE NOT EXISTS (SELECT 1 FROM executor WHERE executor.id = ledger.executor) "
        f"AND until > {_FORGOTTEN}",
    ),
    _orphan(
        "ledger row {id} is for job {job}, which is not there",
        "SELECT id, job FROM ledger WHERE job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = ledger.job) "
        f"AND until > {_FORGOTTEN}",
    ),
    _orphan(
        "executor {id} is for job {job}, which is not there",
        "SELECT id, job FROM executor WHERE job IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM job WHERE job.id = executor.job)",
    ),
)

COUNTERS = (
    Rule(
        "counters",
        "job {job} counts {running} running, {done} done, {failed} failed, {cancelled} cancelled and "
        "{skipped} skipped tasks, its tasks are {is_running}, {is_done}, {is_failed}, {is_cancelled} and {is_skipped}",
        JOB_AGAIN,
        f"SELECT * FROM ({_JOBS}) x WHERE running <> is_running OR done <> is_done OR failed <> is_failed "
        "OR cancelled <> is_cancelled OR skipped <> is_skipped",
    ),
    Rule(
        "counters",
        "job {job} has {total} tasks, its steps have {is_total}",
        JOB_AGAIN,
        f"SELECT * FROM ({_JOBS}) x WHERE total <> is_total",
    ),
    Rule(
        "counters",
        "step {name} of job {job} says that {todo} tasks are left, it should be {should}",
        JOB_AGAIN,
        f"SELECT x.*, total - ended - untouched AS should FROM ({_STEPS}) x WHERE todo <> total - ended - untouched",
    ),
    Rule(
        "counters",
        "step {name} of job {job} says that {bad} tasks ended badly, it should be {should}",
        JOB_AGAIN,
        f"SELECT x.*, worse + untouched AS should FROM ({_STEPS}) x WHERE bad <> worse + untouched",
    ),
    Rule(
        "counters",
        "step {name} of job {job} has handed out {next} tasks and {early} were cancelled before, {made} are there",
        JOB_AGAIN,
        f"SELECT * FROM ({_STEPS}) x WHERE made > total OR (next + early <> made AND next <> total)",
    ),
    Rule(
        "counters",
        "task {job}.{number} counts {attempts} attempts, there are {made}",
        JOB_AGAIN,
        "SELECT * FROM (SELECT t.job, t.number, t.attempts, COUNT(a.ordinal) AS made, MAX(a.ordinal) AS last "
        "FROM task t LEFT JOIN attempt a ON a.job = t.job AND a.number = t.number "
        "GROUP BY t.job, t.number, t.attempts) x WHERE attempts <> made OR attempts <> COALESCE(last, 0)",
    ),
    Rule(
        "counters",
        "step {name} of job {job} is {state} and waits for {waits} steps and jobs; {jobs} jobs before it are open",
        JOB_AGAIN,
        "SELECT * FROM (SELECT s.job, s.name, s.state, s.waits, (SELECT COUNT(*) FROM job_edge e JOIN job b "
        "ON b.id = e.before WHERE e.job = s.job AND b.state <> 'done') AS jobs FROM step s) x "
        "WHERE (state = 'blocked' AND (waits < 1 OR waits < jobs)) OR (state <> 'blocked' AND waits <> 0)",
    ),
    Rule(
        "counters",
        "task {job}.{number} waits for {waits} tasks, it should be {should}",
        JOB_AGAIN,
        "SELECT * FROM (SELECT t.job, t.number, t.waits, (SELECT COUNT(*) FROM task_edge e JOIN task b "
        "ON b.job = e.job AND b.number = e.before WHERE e.job = t.job AND e.number = t.number AND NOT "
        "(b.state = 'done' OR (b.state = 'skipped' AND b.cause <> 'needs'))) AS should "
        "FROM task t WHERE t.state = 'blocked') x WHERE waits <> should",
    ),
)

MOVES = (
    Rule(
        "states",
        "job {job} is {state}, and by its tasks it should be {should}",
        JOB_AGAIN,
        f"SELECT * FROM (SELECT job, state, {_FINAL} AS should, total, done + failed + cancelled + skipped AS over "
        f"FROM ({_JOBS}) j) x WHERE (over = total) <> (state IN ('done', 'failed', 'cancelled')) "
        "OR (over = total AND state <> should)",
    ),
    Rule(
        "states",
        "job {job} is {state} and has {running} tasks running",
        JOB_AGAIN,
        "SELECT id AS job, state, running FROM job WHERE state = 'queued' AND running <> 0",
    ),
    Rule(
        "holds",
        "{what} {ref} is marked {mark} while its job is {state}",
        HOLD_AGAIN,
        f"SELECT * FROM ({_MARKS}) x WHERE mark <> CASE WHEN state = 'held' THEN 'held' ELSE 'not held' END",
    ),
    Rule(
        "holds",
        "{kind} {name} is held by act {act}, which is not there or is about something else",
        RESTORE,
        "SELECT h.kind, h.name, h.act FROM hold h LEFT JOIN act a ON a.id = h.act AND a.kind = h.kind "
        "AND a.name = h.name WHERE a.id IS NULL OR h.kind NOT IN ('lane', 'pool', 'spending')",
    ),
    Rule(
        "holds",
        "job {job} is held, and nobody held it",
        HOLD_AGAIN,
        "SELECT id AS job FROM job WHERE state = 'held' AND NOT EXISTS (SELECT 1 FROM act "
        "WHERE act.kind = 'job' AND act.name = CAST(job.id AS VARCHAR) AND act.verb = 'hold')",
    ),
    Rule(
        "turns",
        "{what} {ref} waits in lane {lane}, its job is in lane {should}",
        JOB_AGAIN,
        f"SELECT * FROM ({_TURNS}) x WHERE lane <> should",
    ),
    Rule(
        "states",
        "step {name} of job {job} is {state} with {todo} tasks left",
        JOB_AGAIN,
        f"SELECT * FROM ({_STEPS}) x WHERE (state = 'ended') <> (todo = 0)",
    ),
    Rule(
        "states",
        "task {job}.{number} is {state} though its step is {step_state}",
        JOB_AGAIN,
        "SELECT t.job, t.number, t.state, s.state AS step_state FROM task t JOIN step s ON s.job = t.job "
        "AND s.ordinal = t.step WHERE t.state IN ('ready', 'running') AND s.state <> 'ready'",
    ),
    Rule(
        "states",
        "task {job}.{number} is blocked though it waits for nothing",
        JOB_AGAIN,
        "SELECT t.job, t.number FROM task t JOIN step s ON s.job = t.job AND s.ordinal = t.step "
        "WHERE t.state = 'blocked' AND t.waits = 0 AND s.state <> 'blocked'",
    ),
    Rule(
        "states",
        "job {job} is {state}, its end is {finished}",
        JOB_AGAIN,
        "SELECT id AS job, state, finished FROM job "
        "WHERE (state IN ('done', 'failed', 'cancelled')) <> (finished IS NOT NULL)",
    ),
    Rule(
        "states",
        "attempt {job}.{number}.{ordinal} is {state}, its end is {finished}",
        JOB_AGAIN,
        f"SELECT job, number, ordinal, state, finished FROM attempt WHERE (state IN ({_ACTIVE})) <> (finished IS NULL)",
    ),
    Rule(
        "states",
        "executor {id} is {state}, its end is {ended}",
        WHEEL,
        f"SELECT id, state, ended FROM executor WHERE (state IN ({_ALIVE})) <> (ended IS NULL)",
    ),
    Rule(
        "states",
        "executor {id} is {state} and was never ready",
        WHEEL,
        "SELECT id, state FROM executor WHERE state = 'ready' AND ready IS NULL",
    ),
)

ATTEMPTS = (
    Rule(
        "attempts",
        "task {job}.{number} is {state} and has {active} attempts under way",
        JOB_AGAIN,
        f"SELECT * FROM (SELECT t.job, t.number, t.state, (SELECT COUNT(*) FROM attempt a WHERE a.job = t.job "
        f"AND a.number = t.number AND a.state IN ({_ACTIVE})) AS active FROM task t) x "
        "WHERE active <> CASE WHEN state = 'running' THEN 1 ELSE 0 END",
    ),
    Rule(
        "attempts",
        "task {job}.{number} is {state} and attempt {accepted} of it was accepted, "
        "which did not succeed or does not exist",
        JOB_AGAIN,
        "SELECT t.job, t.number, t.state, t.accepted FROM task t LEFT JOIN attempt a ON a.job = t.job "
        "AND a.number = t.number AND a.ordinal = t.accepted WHERE (t.state = 'done') <> (t.accepted IS NOT NULL) "
        "OR (t.accepted IS NOT NULL AND (a.state IS NULL OR a.state <> 'succeeded'))",
    ),
    Rule(
        "attempts",
        "task {job}.{number} is {state} and {succeeded} attempts of it succeeded",
        JOB_AGAIN,
        "SELECT * FROM (SELECT t.job, t.number, t.state, (SELECT COUNT(*) FROM attempt a WHERE a.job = t.job "
        "AND a.number = t.number AND a.state = 'succeeded') AS succeeded FROM task t) x "
        "WHERE succeeded <> CASE WHEN state = 'done' THEN 1 ELSE 0 END",
    ),
    Rule(
        "attempts",
        "attempt {job}.{number}.{ordinal} is {state}, and what it has is kept as if it had ended",
        WHEEL,
        "SELECT a.job, a.number, a.ordinal, a.state FROM ending e JOIN attempt a ON a.job = e.job "
        "AND a.number = e.number AND a.ordinal = e.ordinal WHERE a.finished IS NULL",
    ),
    Rule(
        "attempts",
        "attempt {job}.{number}.{ordinal} is {state} on executor {executor}, which is {executor_state}",
        WHEEL,
        "SELECT a.job, a.number, a.ordinal, a.state, a.executor, e.state AS executor_state FROM attempt a "
        f"JOIN executor e ON e.id = a.executor WHERE a.state IN ({_ACTIVE}) AND e.state NOT IN ('ready', 'draining')",
    ),
    Rule(
        "attempts",
        "executor {id} is idle since {idle_since} and has attempts under way",
        WHEEL,
        "SELECT id, idle_since FROM executor e WHERE idle_since IS NOT NULL AND EXISTS "
        f"(SELECT 1 FROM attempt a WHERE a.executor = e.id AND a.state IN ({_ACTIVE}))",
    ),
)

RULES = (*STATES, *ORPHANS, *COUNTERS, *MOVES, *ATTEMPTS)
