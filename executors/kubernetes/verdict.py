"""What a pod's status means: told by reasons, as its phase says little (a pod that will never start stays Pending)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from executors.contract import MachineState

HOPELESS = {  # why a container waits, where waiting longer does not help
    "ImagePullBackOff": "its image can't be pulled",
    "ErrImageNeverPull": "its image is not on the node, and may not be pulled",
    "InvalidImageName": "its image has no valid name",
    "CreateContainerConfigError": "its container can't be made",
    "CreateContainerError": "its container can't be made",
    "RunContainerError": "its container can't be started",
}
DISRUPTED = {
    "PreemptionByScheduler": "a more important pod took its place",
    "PreemptionByKubeScheduler": "a more important pod took its place",
    "EvictionByEvictionAPI": "it was evicted",
    "DeletionByTaintManager": "its node was taken out of service",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node had too little left",
}
ENDED_BECAUSE = {
    "Evicted": "it was evicted",
    "DeadlineExceeded": "it was older than the pool's deadline_s",
    "NodeLost": "its node is gone",
    "Preempting": "a more important pod took its place",
}
NODE_SILENT = timedelta(seconds=60)  # beyond the grace it was given
MESSAGE = 400  # characters of a message that are told


@dataclass(frozen=True, slots=True)
class Verdict:
    """`hopeless`: it will never run, so it should be deleted now. `error` may be known before the end."""

    state: MachineState
    error: str = ""
    ended_at: datetime | None = None
    hopeless: bool = False


def judge(pod: Mapping[str, Any], now: datetime, unschedulable: timedelta) -> Verdict:
    """`unschedulable`: for how long a pod may wait for a node."""
    phase = pod.get("status", {}).get("phase", "Pending")
    if phase in ("Succeeded", "Failed"):
        return Verdict(MachineState.ENDED, _why_ended(pod), _ended_at(pod) or now)
    if _node_silent(pod, now):
        return Verdict(MachineState.ENDED, "its node does not answer", now, hopeless=True)
    if phase == "Running":
        return Verdict(MachineState.RUNNING, _disruption(pod))
    why = _hopeless(pod, now, unschedulable)
    if why:
        return Verdict(MachineState.ENDED, why, now, hopeless=True)
    return Verdict(MachineState.BOOTING, _disruption(pod))


def instant(text: str) -> datetime:
    """A time of the API: "2030-01-01T00:00:00Z"."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _told(*words: str) -> str:
    return ": ".join(w for w in words if w)[:MESSAGE]


def _conditions(pod: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    yield from (c for c in pod.get("status", {}).get("conditions", ()) if c.get("type") == kind)


def _containers(pod: Mapping[str, Any], state: str) -> Iterator[Mapping[str, Any]]:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        found = status.get("state", {}).get(state)
        if found is not None:
            yield found


def _disruption(pod: Mapping[str, Any]) -> str:
    for condition in _conditions(pod, "DisruptionTarget"):
        if condition.get("status") == "True":
            reason = condition.get("reason", "")
            return _told(DISRUPTED.get(reason, reason), condition.get("message", ""))
    return ""


def _why_ended(pod: Mapping[str, Any]) -> str:
    """The cluster's reason before the container's: an evicted container was killed, too."""
    status = pod["status"]
    disruption = _disruption(pod)
    if disruption:
        return disruption
    if status.get("reason"):
        return _told(ENDED_BECAUSE.get(status["reason"], status["reason"]), status.get("message", ""))
    return next((why for ended in _containers(pod, "terminated") if (why := _why_terminated(ended))), "")


def _why_terminated(ended: Mapping[str, Any]) -> str:
    code, reason = ended.get("exitCode", 0), ended.get("reason", "")
    if code == 0:
        return ""
    if reason == "OOMKilled":
        return "it used more memory than the pool's limit"
    if code == 137:  # kubelet does not always see that it was the memory
        return "it was killed, perhaps as it used more memory than the pool's limit"
    last = (ended.get("message") or "").strip().splitlines()
    return _told("" if reason == "Error" else reason, f"its program ended with exit status {code}", *last[-1:])


def _ended_at(pod: Mapping[str, Any]) -> datetime | None:
    ends = [instant(c["finishedAt"]) for c in _containers(pod, "terminated") if c.get("finishedAt")]
    return max(ends, default=None)


def _node_silent(pod: Mapping[str, Any], now: datetime) -> bool:
    """Deleted (that instant has the grace in it), and nobody has confirmed it for long."""
    deleted = pod["metadata"].get("deletionTimestamp")
    return deleted is not None and now - instant(deleted) > NODE_SILENT


def _hopeless(pod: Mapping[str, Any], now: datetime, unschedulable: timedelta) -> str:
    for waiting in _containers(pod, "waiting"):
        if waiting.get("reason") in HOPELESS:
            return _told(HOPELESS[waiting["reason"]], waiting.get("message", ""))
    for condition in _conditions(pod, "PodScheduled"):
        if condition.get("reason") == "Unschedulable" and now - instant(_since(pod, condition)) >= unschedulable:
            return _told("no node has room for it", condition.get("message", ""))
    return ""


def _since(pod: Mapping[str, Any], condition: Mapping[str, Any]) -> str:
    return str(condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
