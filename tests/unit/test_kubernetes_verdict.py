"""What a pod's status means. The statuses are those a real cluster gave."""

from datetime import UTC, datetime, timedelta

import pytest

from executors.contract import MachineState
from executors.errors import Lost, Refused, SoldOut, Throttled
from executors.kubernetes.api import Conflict, Exists, Missing, remedy
from executors.kubernetes.verdict import judge

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=120)


def stamp(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def judged(status, **meta):
    return judge({"metadata": {"creationTimestamp": stamp(-600)} | meta, "status": status}, NOW, PATIENCE)


def container(state: str, **said):
    return {"containerStatuses": [{"state": {state: said}}]}


def condition(kind: str, status: str, reason: str, message: str = "", since: float = -300):
    said = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp(since)}
    return {"conditions": [said]}


def test_a_new_pod_boots_and_a_running_one_runs():
    assert judged({}).state is MachineState.BOOTING
    assert judged({"phase": "Pending"} | container("waiting", reason="ContainerCreating")).error == ""
    assert judged({"phase": "Running"}).state is MachineState.RUNNING


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"])
def test_an_image_that_is_not_there_is_not_waited_for(reason: str):
    seen = judged({"phase": "Pending"} | container("waiting", reason=reason, message="no x:1"))
    assert (seen.state, seen.hopeless) == (MachineState.ENDED, True)
    assert "image" in seen.error
    assert seen.error.endswith(": no x:1")


def test_a_first_failure_to_pull_may_pass():
    assert judged({"phase": "Pending"} | container("waiting", reason="ErrImagePull")).state is MachineState.BOOTING


def test_a_node_is_waited_for_but_not_for_ever():
    def waiting(since: float):
        said = condition("PodScheduled", "False", "Unschedulable", "0/1 nodes: Insufficient cpu", since)
        return judged({"phase": "Pending"} | said)

    assert waiting(-119).state is MachineState.BOOTING
    assert waiting(-120).error == "no node has room for it: 0/1 nodes: Insufficient cpu"
    assert waiting(-120).hopeless


def test_a_gated_pod_waits_in_somebodys_queue():
    said = condition("PodScheduled", "False", "SchedulingGated", since=-9999)
    assert judged({"phase": "Pending"} | said).state is MachineState.BOOTING


def test_a_program_that_went_by_itself_is_no_error():
    seen = judged({"phase": "Succeeded"} | container("terminated", exitCode=0, finishedAt=stamp(-7)))
    assert (seen.state, seen.error, seen.ended_at) == (MachineState.ENDED, "", NOW - timedelta(seconds=7))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (container("terminated", exitCode=137, reason="OOMKilled"), "more memory than the pool's limit"),
        (container("terminated", exitCode=137, reason="Error"), "killed, perhaps as it used more memory"),
        (
            container("terminated", exitCode=3, reason="Error", message="one\nfarm: this machine can't join: x\n"),
            "its program ended with exit status 3: farm: this machine can't join: x",
        ),
        (container("terminated", exitCode=128, reason="StartError", message="no sh"), "StartError: .*128: no sh"),
        ({"reason": "Evicted", "message": "The node was low on disk"}, "it was evicted: The node was low on disk"),
        ({"reason": "DeadlineExceeded"}, "older than the pool's deadline_s"),
        ({"reason": "UnexpectedAdmissionError", "message": "m"}, "UnexpectedAdmissionError: m"),
        (condition("DisruptionTarget", "True", "PreemptionByScheduler"), "a more important pod took its place"),
        (condition("DisruptionTarget", "True", "DeletionByTaintManager"), "its node was taken out of service"),
    ],
)
def test_an_end_has_its_reason(status, told: str):
    import re

    seen = judged({"phase": "Failed"} | status)
    assert seen.state is MachineState.ENDED
    assert re.search(told, seen.error), seen.error


def test_the_clusters_reason_comes_before_the_containers():
    status = {"phase": "Failed", "reason": "Evicted"} | container("terminated", exitCode=137, reason="Error")
    assert judged(status).error == "it was evicted"


def test_a_notice_is_known_before_the_end():
    seen = judged({"phase": "Running"} | condition("DisruptionTarget", "True", "EvictionByEvictionAPI"))
    assert (seen.state, seen.error) == (MachineState.RUNNING, "it was evicted")


def test_a_silent_node_is_given_up():
    assert judged({"phase": "Running"}, deletionTimestamp=stamp(-59)).state is MachineState.RUNNING
    assert judged({"phase": "Running"}, deletionTimestamp=stamp(-61)).error == "its node does not answer"


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (
            403,
            {"reason": "Forbidden", "message": 'pods "x" is forbidden: exceeded quota: q, requested: pods=1'},
            SoldOut,
        ),
        (403, {"reason": "Forbidden", "message": 'violates PodSecurity "restricted:latest"'}, Refused),
        (401, {"message": "Unauthorized"}, Refused),
        (422, {"reason": "Invalid", "message": "spec.x"}, Refused),
        (429, {"reason": "TooManyRequests"}, Throttled),
        (503, {}, Throttled),
        (500, {"message": "etcdserver: request timed out"}, Lost),
        (504, {}, Lost),
        (404, {"reason": "NotFound"}, Missing),
        (409, {"reason": "AlreadyExists"}, Exists),
        (409, {"reason": "Conflict"}, Conflict),
    ],
)
def test_an_answer_means_what_to_do_next(status: int, said, error: type[Exception]):
    assert type(remedy(status, said)) is error
