"""For each cause that `farm why` can give, a farm in which it is the answer; test_why.py demands one for all."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import insert

from executors.contract import Event, EventKind, Work
from executors.errors import SoldOut
from farm import tables as t
from farm import why
from farm.acts import By
from farm.breaker import told
from farm.clock import micros
from farm.config import FarmConfig, PoolConfig
from farm.config_reserve import ReserveConfig
from farm.dispatch import Dispatcher
from farm.fleet import drain, ended, learn_boot, lost, pool_row
from farm.model import ExecutorState, Item, OrderState, Range, StepSpec
from farm.offers import of_pool
from farm.queue import quarantine, settle
from farm.queue.cancel import cancel
from farm.queue.needs import offer_text
from farm.queue.room import Room
from farm.queue.start_after import release_due
from farm.queue.verdict import HOSTS, LOSSES
from farm.reference import parse_reference
from farm.steering import Steering
from farm.why import Cause, Why
from schedules.model import Budget
from tests.contract.queue_farm import LANES, QueueFarm, made

Scene = Callable[[QueueFarm], Why]
SCENES: dict[Cause, list[Scene]] = {}


def shows(cause: Cause) -> Callable[[Scene], Scene]:
    def keep(scene: Scene) -> Scene:
        SCENES.setdefault(cause, []).append(scene)
        return scene

    return keep


# ── words ──

LOCAL = FarmConfig(pools={"local": PoolConfig(slots=1, ceiling=4, max_slots=4, price_per_hour=Decimal(1))})


FOUR = FarmConfig(pools={"local": PoolConfig(slots=4, ceiling=4)})


def step(**more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("render",), **more})


def ask(farm: QueueFarm, about: str, config: FarmConfig = LOCAL, *, running: bool = True, closing: bool = False) -> Why:
    with farm.db.write() as tx:
        look = why.Look(tx, config, farm.clock.now(), running, closing)
        kind, _, name = about.partition(" ")
        if name:
            return why.executor(look, name) if kind == "executor" else why.pool(look, name)
        ref = parse_reference(about)
        if ref.number is None:
            return why.job(look, ref.job)
        return why.task(look, ref) if ref.ordinal is None else why.attempt(look, ref)


def steer(farm: QueueFarm) -> Steering:
    return farm.steering(LOCAL, By("eva", "too hot", farm.clock.now()))


def there(farm: QueueFarm, name: str = "e1", **more: object) -> None:
    now = farm.clock.now()
    row = {"id": name, "order": "o", "pool": "local", "site": "local", "state": ExecutorState.READY, "slots": 1}
    row |= {"price_nano": 0, "why": "24 tasks wait", "ordered": now, "launched": now, "billed_until": now}
    row |= {"ready": now, "idle_since": now}
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), {**row, **more})


def begin(farm: QueueFarm, work: Work) -> None:
    with farm.db.write() as tx:
        at = micros(farm.clock.now()) * 1000
        settle.started(tx, [Event(1, EventKind.STARTED, work.attempt, work.token, at=at)])


def end(farm: QueueFarm, **facts: object) -> str:
    """A job of one task that ended like this; the task."""
    job = farm.submit(step(**{k: facts.pop(k) for k in list(facts) if k in StepSpec.model_fields}))
    farm.finish(farm.claim(), **facts)
    return f"{job}.1"


def drop(farm: QueueFarm, ref: object) -> None:
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(ref)), farm.clock.now())


# ── it is over ──


@shows(Cause.DONE)
def job_done(farm: QueueFarm) -> Why:
    return ask(farm, end(farm).split(".")[0])


@shows(Cause.DONE)
def task_done(farm: QueueFarm) -> Why:
    return ask(farm, end(farm))


@shows(Cause.DONE)
def attempt_accepted(farm: QueueFarm) -> Why:
    return ask(farm, end(farm) + ".1")


@shows(Cause.CANCELLED)
def job_cancelled(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    drop(farm, job)
    return ask(farm, str(job))


@shows(Cause.CANCELLED)
def only_task_cancelled(farm: QueueFarm) -> Why:
    job = farm.submit(step(array=Range(first=1, last=1)))
    farm.claim()
    drop(farm, f"{job}.1")
    return ask(farm, str(job))


@shows(Cause.CANCELLED)
def task_cancelled(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    farm.claim()
    drop(farm, job)
    return ask(farm, f"{job}.1")


@shows(Cause.CANCELLED)
def attempt_cancelled(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    farm.claim()
    drop(farm, job)
    return ask(farm, f"{job}.1.1")


@shows(Cause.AFTER_FAILED)
def job_behind_a_failed_one(farm: QueueFarm) -> Why:
    first = farm.submit(step())
    second = farm.submit(step(), after=(first,))
    farm.finish(farm.claim(), exit=1)
    return ask(farm, str(second))


@shows(Cause.AFTER_FAILED)
def task_behind_a_failed_job(farm: QueueFarm) -> Why:
    first = farm.submit(step())
    second = farm.submit(StepSpec(items=(Item(name="a", argv=("b",)),)), after=(first,))
    farm.finish(farm.claim(), exit=1)
    return ask(farm, f"{second}.1")


@shows(Cause.AFTER_FAILED)
def task_never_handed_out_behind_a_failed_job(farm: QueueFarm) -> Why:
    first = farm.submit(step())
    second = farm.submit(step(array=Range(first=1, last=3)), after=(first,))
    farm.finish(farm.claim(), exit=1)
    answer = ask(farm, f"{second}.2")
    assert answer.state == "cancelled"
    return answer


@shows(Cause.CANCELLED)
def task_never_handed_out_of_a_cancelled_job(farm: QueueFarm) -> Why:
    job = farm.submit(step(array=Range(first=1, last=2000)))
    farm.claim(2)
    drop(farm, job)
    answer = ask(farm, f"{job}.1501")
    assert (answer.state, answer.sentence) == ("cancelled", f"Task {job}.1501 is cancelled: it was cancelled.")
    return answer


@shows(Cause.NEEDS_FAILED)
def task_never_handed_out_of_a_skipped_step(farm: QueueFarm) -> Why:
    job = farm.submit(step(name="a"), step(name="b", array=Range(first=1, last=3), after=("a",)))
    farm.finish(farm.claim(), exit=1)
    answer = ask(farm, f"{job}.3")
    assert answer.state == "skipped"
    return answer


@shows(Cause.UNCHANGED)
def task_unchanged(farm: QueueFarm) -> Why:
    old = made("a.whl")
    items = (
        Item.model_validate({"name": "a", "argv": ("b",), "previous": [vars_of(old)]}),
        Item(name="b", argv=("b",), after=("a",), changed=False),
    )
    job = farm.submit(StepSpec(items=items), kind="packages")
    farm.finish(farm.claim(), outputs=(old,))
    return ask(farm, f"{job}.2")


def vars_of(file: object) -> dict[str, object]:
    return {name: getattr(file, name) for name in ("path", "digest", "size", "mode")}


@shows(Cause.NEEDS_FAILED)
def task_behind_a_failed_one(farm: QueueFarm) -> Why:
    items = (Item(name="a", argv=("b",)), Item(name="b", argv=("b",), after=("a",)))
    job = farm.submit(StepSpec(items=items))
    farm.finish(farm.claim(), exit=1)
    return ask(farm, f"{job}.2")


# ── it failed ──


@shows(Cause.EXIT)
def job_failed(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=3).split(".")[0])


@shows(Cause.EXIT)
def task_exit(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=3))


@shows(Cause.EXIT)
def attempt_exit(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=3) + ".1")


@shows(Cause.SIGNAL)
def task_signal(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-11))


@shows(Cause.MAYBE_MEMORY)
def task_killed_by_somebody(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=137, message="maybe out of memory"))


@shows(Cause.TIMEOUT)
def attempt_too_long(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-9, cause="timeout", timeout_s=10) + ".1")


@shows(Cause.SILENCE)
def attempt_silent(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-9, cause="silence", silence_s=60) + ".1")


@shows(Cause.OUTPUT)
def attempt_too_loud(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-9, cause="output", output_bytes=1 << 20) + ".1")


@shows(Cause.MEMORY)
def attempt_too_large(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-9, cause="memory", memory=1 << 30) + ".1")


@shows(Cause.PROCESSES)
def attempt_too_many(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-9, cause="processes", processes=8) + ".1")


@shows(Cause.NO_PROGRAM)
def task_no_program(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=127, cause="no-program"))


@shows(Cause.CWD)
def task_no_folder(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="cwd"))


@shows(Cause.DISK)
def attempt_on_a_full_disk(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="disk") + ".1")


@shows(Cause.PAUSED)
def job_after_a_full_disk(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="disk").split(".")[0])


@shows(Cause.PAUSED)
def task_after_a_full_disk(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="disk"))


@shows(Cause.INPUTS)
def attempt_no_inputs(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="inputs") + ".1")


@shows(Cause.SECRET)
def task_no_secret(farm: QueueFarm) -> Why:
    answer = ask(
        farm, end(farm, exit=1, cause="secret", message="the secret env:KEY: the service has no such variable")
    )
    assert "failed: the secret env:KEY: the service has no such variable" in answer.sentence
    assert answer.next == "farm retry 1.1"
    return answer


@shows(Cause.OUTPUTS)
def task_no_outputs(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=1, cause="outputs"))


@shows(Cause.NO_LICENCE)
def task_never_licensed(farm: QueueFarm) -> Why:
    job = farm.submit(step(licence_exit=77, licence_wait_s=60))
    for _ in range(20):
        farm.finish(farm.claim(), exit=77)
        farm.clock.turn(300)
    return ask(farm, f"{job}.1")


@shows(Cause.NO_LICENCE)
def attempt_without_licence(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=77, licence_exit=77) + ".1")


@shows(Cause.LOST)
def task_lost_too_often(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    for _ in range(LOSSES + 1):
        farm.claim()
        with farm.db.write() as tx:
            settle.lose(tx, "e1", "it vanished", farm.clock.now())
    return ask(farm, f"{job}.1")


@shows(Cause.LOST)
def attempt_lost(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    return ask(farm, f"{job}.1.1")


@shows(Cause.REQUEUED)
def attempt_of_an_older_term(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=-15, cause="stale-term") + ".1")


@shows(Cause.EVERYWHERE)
def task_failed_everywhere(farm: QueueFarm) -> Why:
    job = farm.submit(step(retries=50))
    for n in range(HOSTS):
        farm.finish(farm.claim(executor=f"e{n}"), f"e{n}", exit=3)
    return ask(farm, f"{job}.1")


# ── it goes on ──


@shows(Cause.RUNNING)
def job_runs(farm: QueueFarm) -> Why:
    job = farm.submit(step(array=Range(first=1, last=3)))
    farm.claim()
    return ask(farm, str(job))


@shows(Cause.RUNNING)
def task_runs(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    begin(farm, farm.claim()[0])
    return ask(farm, f"{job}.1")


@shows(Cause.RUNNING)
def attempt_runs(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    begin(farm, farm.claim()[0])
    return ask(farm, f"{job}.1.1")


@shows(Cause.HANDED_OUT)
def task_handed_out(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    farm.claim()
    return ask(farm, f"{job}.1")


@shows(Cause.HANDED_OUT)
def attempt_handed_out(farm: QueueFarm) -> Why:
    job = farm.submit(step())
    farm.claim()
    return ask(farm, f"{job}.1.1")


# ── it waits ──


@shows(Cause.HELD)
def job_held(farm: QueueFarm) -> Why:
    return ask(farm, str(farm.submit(step(), held=True)))


@shows(Cause.HELD)
def task_of_a_held_job(farm: QueueFarm) -> Why:
    return ask(farm, f"{farm.submit(step(), held=True)}.1")


@shows(Cause.HELD)
def job_held_while_it_runs(farm: QueueFarm) -> Why:
    job = farm.submit(step(array=Range(first=1, last=3)))
    farm.claim()
    steer(farm).hold(str(job))
    answer = ask(farm, str(job))
    assert "is held by eva since 12:00:00 UTC on Jan 05: too hot" in answer.sentence
    assert "1 task still runs, to the end" in answer.sentence
    assert answer.next == f"farm release {job}"
    return answer


@shows(Cause.LANE_HELD)
def job_in_a_held_lane(farm: QueueFarm) -> Why:
    steer(farm).hold("lane:bulk")
    return ask(farm, str(farm.submit(step(), lane="bulk")))


@shows(Cause.LANE_HELD)
def task_in_a_held_lane(farm: QueueFarm) -> Why:
    steer(farm).hold("bulk")
    return ask(farm, f"{farm.submit(step(), lane='bulk')}.1")


@shows(Cause.POOL_HELD)
def job_whose_pool_is_held(farm: QueueFarm) -> Why:
    steer(farm).hold("local")
    return ask(farm, str(farm.submit(step())))


@shows(Cause.SPENDING)
def job_while_spending_is_stopped(farm: QueueFarm) -> Why:
    steer(farm).spending(True)
    return ask(farm, str(farm.submit(step())))


@shows(Cause.AFTER)
def job_after_job(farm: QueueFarm) -> Why:
    return ask(farm, str(farm.submit(step(), after=(farm.submit(step()),))))


@shows(Cause.AFTER)
def task_after_step(farm: QueueFarm) -> Why:
    return ask(farm, f"{farm.submit(step(), step(name='film', after=('main',)))}.2")


@shows(Cause.AFTER)
def task_after_job(farm: QueueFarm) -> Why:
    return ask(farm, f"{farm.submit(step(), after=(farm.submit(step()),))}.1")


@shows(Cause.NEEDS)
def task_needs_another(farm: QueueFarm) -> Why:
    items = (Item(name="a", argv=("b",)), Item(name="b", argv=("b",), after=("a",)))
    return ask(farm, f"{farm.submit(StepSpec(items=items))}.2")


@shows(Cause.DOWN)
def job_without_a_farm(farm: QueueFarm) -> Why:
    return ask(farm, str(farm.submit(step())), running=False)


@shows(Cause.CLOSING)
def job_while_the_farm_drains(farm: QueueFarm) -> Why:
    return ask(farm, str(farm.submit(step())), closing=True)


@shows(Cause.LICENCE)
def job_without_licence(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=77, licence_exit=77).split(".")[0])


@shows(Cause.LICENCE)
def task_without_licence(farm: QueueFarm) -> Why:
    return ask(farm, end(farm, exit=77, licence_exit=77))


@shows(Cause.NO_POOL)
def job_without_pools(farm: QueueFarm) -> Why:
    return ask(farm, str(farm.submit(step())), FarmConfig(pools={}))


@shows(Cause.TOO_LARGE)
def job_larger_than_any_executor(farm: QueueFarm) -> Why:
    there(farm, state=ExecutorState.BOOTING, ready=None)
    return ask(farm, str(farm.submit(step(cpu=64))))


@shows(Cause.CEILING)
def job_above_the_ceiling(farm: QueueFarm) -> Why:
    for n in range(4):
        there(farm, f"e{n}")
    busy = farm.submit(step(array=Range(first=1, last=4), predicted_s=9000))
    farm.claim_on({f"e{n}": 1 for n in range(4)})
    assert farm.counts(busy) == {"running": 4}
    return ask(farm, str(farm.submit(step())))


@shows(Cause.BREAKER)
def job_while_the_pool_is_shut(farm: QueueFarm) -> Why:
    shut(farm)
    return ask(farm, str(farm.submit(step())))


@shows(Cause.SPENDING)
def job_while_spending_is_stopped_and_the_free_pool_is_shut(farm: QueueFarm) -> Why:
    """What a person can remove at once is the cause, and all that would help is named."""
    steer(farm).spending(True)
    shut(farm)
    config = FarmConfig(pools={"local": PoolConfig(price_per_hour=Decimal(0)), "paid": LOCAL.pools["local"]})
    answer = ask(farm, str(farm.submit(step())), config)
    assert re.fullmatch(r"farm resume-spending; or a pool is asked again at [0-9:]+ UTC.*", answer.next)
    assert "pool local had no machines" in answer.sentence
    return answer


@shows(Cause.BOOTING)
def job_waits_for_an_executor(farm: QueueFarm) -> Why:
    there(farm, state=ExecutorState.BOOTING, ready=None)
    return ask(farm, str(farm.submit(step())))


@shows(Cause.QUEUE)
def job_behind_others(farm: QueueFarm) -> Why:
    there(farm)
    return ask(farm, str(farm.submit(step())))


@shows(Cause.AMOUNT)
def job_while_its_devices_are_in_use(farm: QueueFarm) -> Why:
    config = FarmConfig(pools={"local": PoolConfig(slots=4, ceiling=4, gpus=2)})
    there(farm, slots=4, offer=offer_text(of_pool(config.pools["local"]), (0, 1)))
    farm.submit(step(needs={"gpus": 1}, array=Range(first=1, last=9), predicted_s=600))
    with farm.db.write() as tx:
        Dispatcher(LANES, 1).assign(tx, farm.clock.now())
    answer = ask(farm, str(farm.submit(step(needs={"gpus": 2}))), config)
    assert "waits for gpus=2: on e1, in pool local, 2 of 2 of gpus are in use" in answer.sentence
    assert re.fullmatch(r"by prediction so much is back at [0-9:]+ UTC.*", answer.next)
    assert " In use: 2 of 2 of gpus. " in ask(farm, "pool local", config).sentence
    return answer


@shows(Cause.CEILING)
def job_that_needs_more_than_what_boots_will_have(farm: QueueFarm) -> Why:
    pools = {"local": PoolConfig(slots=1, ceiling=4), "graphic": PoolConfig(slots=1, ceiling=0, gpus=1)}
    there(farm, state=ExecutorState.BOOTING, ready=None)
    return ask(farm, str(farm.submit(step(needs={"gpus": 1}))), FarmConfig(pools=pools))


@shows(Cause.BOOTING)
def job_while_devices_are_in_use_and_others_are_on_their_way(farm: QueueFarm) -> Why:
    config = FarmConfig(pools={"local": PoolConfig(slots=1, ceiling=2, gpus=1)})
    there(farm, offer=offer_text(of_pool(config.pools["local"]), (0,)))
    farm.submit(step(needs={"gpus": 1}, predicted_s=600))
    with farm.db.write() as tx:
        Dispatcher(LANES, 1).assign(tx, farm.clock.now())
    there(farm, "e2", state=ExecutorState.BOOTING, ready=None, offer=offer_text(of_pool(config.pools["local"]), (1,)))
    return ask(farm, str(farm.submit(step(needs={"gpus": 1}))), config)


@shows(Cause.KEPT)
def executor_whose_devices_something_waits_for(farm: QueueFarm) -> Why:
    config = FarmConfig(pools={"local": PoolConfig(slots=1, ceiling=1, gpus=1)})
    there(farm, offer=offer_text(of_pool(config.pools["local"]), (0,)))
    farm.submit(step(needs={"gpus": 1}))
    return ask(farm, "executor e1", config)


@shows(Cause.NO_POOL)
def job_whose_pool_left(farm: QueueFarm) -> Why:
    there(farm)
    answer = ask(farm, str(farm.submit(step(needs={"gpus": 2}, labels=["os=a"]))))
    assert "no pool gives gpus=2, os=a" in answer.sentence
    return answer


def crowded(farm: QueueFarm) -> tuple[int, int]:
    """An executor of four slots, one of which is free; a job that needs all of them, and a job that needs one."""
    there(farm, slots=4, idle_since=None)
    farm.submit(step(array=Range(first=1, last=3), predicted_s=600))
    farm.claim(4)
    wide = farm.submit(step(cpu=4, predicted_s=60), priority=1)
    narrow = farm.submit(step())
    assert farm.claim_in(Room("e1", 4, 3, held=3)) == []
    return wide, narrow


@shows(Cause.ROOM)
def job_for_which_an_executor_drains(farm: QueueFarm) -> Why:
    wide, _ = crowded(farm)
    answer = ask(farm, str(wide), FOUR)
    assert "waits for 4 slots at once: e1 is kept for it, where 1 of 4 are free" in answer.sentence
    assert f"its free slots are kept for job {wide}, which needs 4" in ask(farm, "executor e1", FOUR).sentence
    return answer


@shows(Cause.KEPT_ROOM)
def job_while_slots_are_kept_for_another(farm: QueueFarm) -> Why:
    wide, narrow = crowded(farm)
    answer = ask(farm, f"{narrow}.1", FOUR)
    assert f"1 free slot of e1 is kept for job {wide}, which needs 4 at once" in answer.sentence
    return answer


# ── executors ──


@shows(Cause.ORDERED)
def executor_ordered(farm: QueueFarm) -> Why:
    now = farm.clock.now()
    row = {"token": "abc", "pool": "local", "machines": 1, "slots": 1, "state": OrderState.OPEN, "why": "a task waits"}
    with farm.db.write() as tx:
        tx.execute(insert(t.Order), {**row, "created": now, "not_before": now, "job": None})
    return ask(farm, "executor abc-1")


@shows(Cause.BOOTING)
def executor_boots(farm: QueueFarm) -> Why:
    there(farm, state=ExecutorState.BOOTING, ready=None)
    return ask(farm, "executor e1")


@shows(Cause.BUSY)
def executor_busy(farm: QueueFarm) -> Why:
    there(farm)
    farm.submit(step(predicted_s=60))
    begin(farm, farm.claim()[0])
    return ask(farm, "executor e1")


@shows(Cause.IDLE)
def executor_idle(farm: QueueFarm) -> Why:
    there(farm)
    return ask(farm, "executor e1")


@shows(Cause.IDLE)
def executor_of_no_pool(farm: QueueFarm) -> Why:
    there(farm, pool="gone")
    return ask(farm, "executor e1")


@shows(Cause.KEPT)
def executor_kept_for_what_waits(farm: QueueFarm) -> Why:
    there(farm)
    farm.submit(step())
    return ask(farm, "executor e1")


@shows(Cause.FLOOR)
def executor_kept_by_a_floor(farm: QueueFarm) -> Why:
    there(farm)
    return ask(farm, "executor e1", pools(floor=1))


@shows(Cause.PAID)
def executor_paid_for(farm: QueueFarm) -> Why:
    there(farm)
    return ask(farm, "executor e1", pools(min_bill=timedelta(hours=1)))


@shows(Cause.DRAINING)
def executor_drains(farm: QueueFarm) -> Why:
    there(farm)
    with farm.db.write() as tx:
        drain(tx, "e1", "pool local has 4 slots, window night allows 1", farm.clock.now())
    return ask(farm, "executor e1")


@shows(Cause.QUARANTINED)
def executor_quarantined(farm: QueueFarm) -> Why:
    there(farm)
    convict(farm)
    return ask(farm, "executor e1")


@shows(Cause.QUARANTINED)
def executor_was_quarantined(farm: QueueFarm) -> Why:
    there(farm)
    convict(farm)
    with farm.db.write() as tx:
        ended(tx, "e1", "it went", farm.clock.now())
    return ask(farm, "executor e1")


@shows(Cause.GONE)
def executor_gone(farm: QueueFarm) -> Why:
    there(farm)
    with farm.db.write() as tx:
        ended(tx, "e1", "the farm went down", farm.clock.now())
    return ask(farm, "executor e1")


@shows(Cause.VANISHED)
def executor_vanished(farm: QueueFarm) -> Why:
    there(farm)
    with farm.db.write() as tx:
        lost(tx, "e1", "its machine ended unasked", farm.clock.now())
    return ask(farm, "executor e1")


# ── pools ──


@shows(Cause.OPEN)
def pool_open(farm: QueueFarm) -> Why:
    return ask(farm, "pool local")


@shows(Cause.OPEN)
def pool_with_a_machine_that_is_smaller_than_it_says(farm: QueueFarm) -> Why:
    there(farm, "e1", slots=1)
    there(farm, "e2", slots=2)
    answer = ask(farm, "pool local", FarmConfig(pools={"local": PoolConfig(slots=2, ceiling=8)}))
    assert " Fewer than its 2 slots each: e1 (1). " in answer.sentence
    assert answer.numbers["smaller"] == {"e1": 1}
    return answer


@shows(Cause.POOL_HELD)
def pool_held(farm: QueueFarm) -> Why:
    there(farm)
    steer(farm).hold("pool:local")
    answer = ask(farm, "pool local")
    assert answer.state == "held"
    assert "has 1 executor and orders none: it is held by eva since 12:00:00 UTC on Jan 05: too hot" in answer.sentence
    assert ask(farm, "executor e1").cause is Cause.DRAINING
    return answer


@shows(Cause.SPENDING)
def pool_while_spending_is_stopped(farm: QueueFarm) -> Why:
    assert steer(farm).spending(True) == {"stopped": True, "pools": ["local"]}
    return ask(farm, "pool local")


@shows(Cause.CEILING)
def pool_full(farm: QueueFarm) -> Why:
    for n in range(4):
        there(farm, f"e{n}")
    return ask(farm, "pool local")


@shows(Cause.BREAKER)
def pool_shut(farm: QueueFarm) -> Why:
    shut(farm)
    return ask(farm, "pool local")


@shows(Cause.SUSPECTS)
def pool_keeps_its_suspects(farm: QueueFarm) -> Why:
    for n in range(quarantine.MOST):
        there(farm, f"e{n}")
        convict(farm, f"e{n}")
    return ask(farm, "pool local")


def pools(**more: object) -> FarmConfig:
    shape: Mapping[str, object] = {"slots": 1, "ceiling": 4, **more}
    return FarmConfig(pools={"local": PoolConfig.model_validate(shape)})


def shut(farm: QueueFarm) -> None:
    until = farm.clock.now() + timedelta(minutes=1)
    with farm.db.write() as tx:
        pool_row(tx, "local")
        learn_boot(tx, "local", 2)
        tx.execute(t.PoolFact.__table__.update().values(breaker_until=until, error="sold out"))  # type: ignore[attr-defined]


def convict(farm: QueueFarm, executor: str = "e1") -> None:
    for _ in range(2):
        farm.submit(step())
        settled = farm.finish(farm.claim(1, executor), executor, exit=9)
        with farm.db.write() as tx:
            quarantine.look(tx, settled.outcomes, farm.clock.now())


@shows(Cause.RESERVE)
def job_whose_lane_leaves_slots_to_others(farm: QueueFarm) -> Why:
    config = LOCAL.model_copy(update={"reserve": ReserveConfig(slots=1)})
    for n in range(3):
        there(farm, f"e{n}")
    farm.submit(step(array=Range(first=1, last=9), predicted_s=600), lane="bulk")
    with farm.db.write() as tx:
        Dispatcher(LANES, 1).assign(tx, farm.clock.now())
    person = farm.submit(step(predicted_s=60), lane="interactive")
    answer = ask(farm, str(farm.submit(step(predicted_s=600), lane="bulk")), config)
    assert answer.sentence.endswith("waits: lane bulk leaves others all but 3 slots.")
    assert answer.next == "work of its lane ends"
    assert ask(farm, str(person), config).cause is Cause.QUEUE  # one is ordered for it at the next turn
    return answer


# ── by the clock ──


def opening(**said: object) -> FarmConfig:
    """A window that is open from noon to ten at night, and one of an hour inside it, in January when the scenes are."""
    window = {"name": "evening", "hours": "12:00-22:00", **said}
    pools = {"local": LOCAL.pools["local"].model_dump(), "cloud": {"ceiling": 4, "price_per_hour": 3}}
    return FarmConfig.model_validate({"pools": pools, "schedules": [window]})


@shows(Cause.SCHEDULE)
def job_in_a_closed_lane(farm: QueueFarm) -> Why:
    config = opening(lanes_open=["interactive", "default"])
    there(farm)
    job = farm.submit(step(), lane="bulk")
    with farm.db.write() as tx:
        assert not Dispatcher(LANES, 1, windows=config.windows()).assign(tx, farm.clock.now())
    answer = ask(farm, str(job), config)
    assert answer.sentence.startswith(
        f"Job {job} waits: window evening closes its lane bulk, and leaves default, interactive open. It is expected"
    )
    assert answer.numbers["starts"][0].startswith("2026-01-05T22:00:00")
    assert answer.next == "lane bulk opens at 22:00:00 UTC on Jan 05"
    assert answer.numbers["opens"].startswith("2026-01-05T22:00:00")
    assert "goes after" in ask(farm, "executor e1", config).sentence  # nobody is kept for what may not begin
    assert ask(farm, f"{job}.1", config).cause is Cause.SCHEDULE
    return answer


@shows(Cause.SCHEDULE)
def job_whose_pools_are_closed(farm: QueueFarm) -> Why:
    answer = ask(farm, str(farm.submit(step())), opening(price_cap="0.5"))
    assert "window evening pays 0.5 an hour at most, and pool local costs 1" in answer.sentence
    assert answer.next == "the hours change at 22:00:00 UTC on Jan 05"
    return answer


@shows(Cause.SCHEDULE)
def pool_that_no_window_allows(farm: QueueFarm) -> Why:
    there(farm)
    answer = ask(farm, "pool cloud", opening(pools_allowed=["local"]))
    assert answer.sentence.startswith(
        "Pool cloud has 0 executors and orders none: window evening allows local and not pool cloud."
    )
    assert (answer.state, answer.numbers["window"]) == ("closed", "evening")
    assert ask(farm, "pool local", opening(pools_allowed=["local"])).cause is Cause.OPEN
    return answer


@shows(Cause.FLOOR)
def executor_kept_by_an_idle_target(farm: QueueFarm) -> Why:
    there(farm)
    there(farm, "e2")
    farm.submit(step(predicted_s=600))
    begin(farm, farm.claim()[0])
    answer = ask(farm, "executor e2", opening(pools={"local": {"idle_target": 1}}))
    assert "window evening keeps 1 executor idle beside the 1 that works" in answer.sentence
    assert answer.next == "the hours change at 22:00:00 UTC on Jan 05, or work comes"
    return answer


@shows(Cause.START_AFTER)
def job_whose_time_has_not_come(farm: QueueFarm) -> Why:
    there(farm)
    job = farm.submit(step(), start_after=farm.clock.now() + timedelta(hours=2))
    assert farm.claim() == []
    answer = ask(farm, str(job))
    assert answer.sentence == f"Job {job} waits for the time: it begins after 14:00:00 UTC on Jan 05."
    assert ask(farm, f"{job}.1").cause is Cause.START_AFTER
    farm.clock.turn(7199)
    with farm.db.write() as tx:
        assert release_due(tx, farm.clock.now()) == []
    farm.clock.turn(1)
    with farm.db.write() as tx:
        assert release_due(tx, farm.clock.now()) == [job]
    assert len(farm.claim()) == 1
    return answer


# ── why no more ──


def full(farm: QueueFarm, *, lane: str = "default", owner: str = "ada", predicted_s: float = 600) -> int:
    """Four executors of one slot each, all at work for this lane and owner, who have more that waits."""
    for n in range(4):
        there(farm, f"e{n}", idle_since=None)
    job = farm.submit(step(array=Range(first=1, last=40), predicted_s=predicted_s), lane=lane, owner=owner)
    farm.claim_on({f"e{n}": 1 for n in range(4)})
    return job


@shows(Cause.SHARE)
def job_of_a_lane_that_had_its_share(farm: QueueFarm) -> Why:
    job = full(farm)
    there(farm, "e5")
    farm.submit(step(), lane="interactive")
    farm.submit(step(), lane="interactive")
    assert len(farm.claim(executor="e5")) == 1
    there(farm, "e6")
    answer = ask(farm, str(farm.submit(step())), pools(ceiling=9))
    assert "others come first: lane interactive (weight 4) had less of its share than lane default" in answer.sentence
    assert answer.numbers["next_lane"] == "interactive"
    assert job
    return answer


@shows(Cause.SHARE)
def job_of_an_owner_who_had_their_share(farm: QueueFarm) -> Why:
    full(farm)
    there(farm, "e6")
    farm.submit(step(), owner="bob")
    answer = ask(farm, str(farm.submit(step())), pools(ceiling=9))
    assert "bob had less of lane default than ada" in answer.sentence
    return answer


@shows(Cause.BLOCKED_HOST)
def job_while_the_free_slots_are_on_a_quarantined_host(farm: QueueFarm) -> Why:
    there(farm, slots=2, idle_since=None)
    farm.submit(step(predicted_s=600))
    begin(farm, farm.claim()[0])
    convict(farm)
    answer = ask(farm, str(farm.submit(step())), FarmConfig(pools={"local": PoolConfig(slots=2, ceiling=2)}))
    assert "1 free slot of e1 is not used, for e1 is quarantined" in answer.sentence
    assert answer.numbers["blocked"] == ["e1"]
    return answer


def refuses(farm: QueueFarm, error: str) -> None:
    shut(farm)
    with farm.db.write() as tx:
        tx.execute(t.PoolFact.__table__.update().values(error=error))  # type: ignore[attr-defined]


@shows(Cause.SOLD_OUT)
def job_while_the_provider_is_sold_out(farm: QueueFarm) -> Why:
    refuses(farm, told(SoldOut("no t3.large in eu-central-1a")))
    answer = ask(farm, str(farm.submit(step())))
    assert re.fullmatch(r"a pool is asked again at 12:01:00 UTC.*", answer.next)
    return answer


@shows(Cause.SOLD_OUT)
def pool_whose_provider_is_sold_out(farm: QueueFarm) -> Why:
    refuses(farm, told(SoldOut("no t3.large in eu-central-1a")))
    row = {
        "token": "abc",
        "pool": "local",
        "machines": 3,
        "slots": 1,
        "state": OrderState.REFUSED,
        "why": "3 tasks wait",
    }
    now = farm.clock.now()
    said = {"created": now, "not_before": now, "job": None, "error": "sold out: no t3.large in eu-central-1a"}
    with farm.db.write() as tx:
        tx.execute(insert(t.Order), {**row, **said})
    farm.submit(step())
    answer = ask(farm, "pool local")
    assert (
        "It was asked for 3 executors at 12:00:00 UTC on Jan 05 and refused: sold out: no t3.large" in answer.sentence
    )
    assert "No more are ordered: pool local had no machines and is asked again at 12:01:00." in answer.sentence
    assert answer.numbers["asked"][0]["said"] == said["error"]
    return answer


@shows(Cause.QUOTA)
def pool_whose_account_may_have_no_more(farm: QueueFarm) -> Why:
    refuses(farm, "VcpuLimitExceeded: ask Amazon for a higher quota")
    assert ask(farm, str(farm.submit(step()))).cause is Cause.QUOTA
    return ask(farm, "pool local")


@shows(Cause.BUDGET)
def job_whose_budget_is_spent(farm: QueueFarm) -> Why:
    there(farm, "e1")
    job = farm.submit(step(predicted_s=600))
    with farm.db.write() as tx:
        spent = Budget("films", Decimal(20), Decimal("20.5"), owner="ada")
        look = why.Look(tx, LOCAL, farm.clock.now(), budgets=(spent,))
        answer = why.job(look, job)
        other = why.job(why.Look(tx, LOCAL, farm.clock.now(), budgets=(replace(spent, owner="bob"),)), job)
    assert answer.sentence.startswith(f"Job {job} waits: budget films of 20.00 is spent.")
    assert "starts" not in answer.numbers  # a free slot is none to it
    assert other.cause is Cause.QUEUE
    return answer
