"""EC2's own calls, each made once: retries are not ours, and boto3's are turned off."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from executors.contract import MachineState, Surroundings
from executors.ec2.remedies import remedy
from executors.ec2.settings import Ec2Options

FARM, POOL, ORDER, EXECUTOR, SLOTS = (f"farm.io/{word}" for word in ("farm", "pool", "order", "executor", "slots"))
AT_ONCE = 8
STATES = {"pending": MachineState.BOOTING, "shutting-down": MachineState.ENDED, "terminated": MachineState.ENDED}


@dataclass(frozen=True, slots=True)
class Instance:
    """What EC2 says of one. A stopped one counts as running: it is not gone, and costs its disk."""

    id: str
    executor: str
    order: str
    slots: int
    type: str
    state: MachineState
    launched_at: datetime
    ended_at: datetime | None = None  # where EC2 says when
    why: str = ""  # it ended, in EC2's words


class Cloud:
    """One region of one account, and in it the instances of one pool of one farm. Raises ProviderErrors only."""

    def __init__(self, options: Ec2Options, around: Surroundings) -> None:
        self._options = options
        self._tags = {FARM: around.farm, POOL: around.pool}
        self._made: Any = None
        self._making = threading.Lock()

    def run(self, executor: str, order: str, slots: int, instance_type: str, user_data: str) -> Instance:
        """Buy one instance. Farm and executor are the client token: asked again, EC2 gives the same one."""
        tags = {ORDER: order, EXECUTOR: executor, SLOTS: str(slots), "Name": f"farm {executor}"}
        words = self._words(instance_type, {**self._options.tags, **self._tags, **tags})
        answer = self._call("run_instances", **words, ClientToken=f"{self._tags[FARM]}-{executor}", UserData=user_data)
        return _instance(answer["Instances"][0])

    def _words(self, instance_type: str, tags: Mapping[str, str]) -> dict[str, Any]:
        o = self._options
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        words = {
            "ImageId": o.image,
            "InstanceType": instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "InstanceInitiatedShutdownBehavior": "terminate",  # an executor that ends takes its machine with it
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "TagSpecifications": [{"ResourceType": kind, "Tags": pairs} for kind in ("instance", "volume")],
            "SubnetId": o.subnet,
            "SecurityGroupIds": list(o.security_groups),
            "KeyName": o.key_name,
        }
        return {key: value for key, value in words.items() if value}

    def find(self, **tags: str) -> list[Instance]:
        """All of this pool, the lately ended ones too; `order` or `executor` narrow it."""
        wanted = self._tags | {f"farm.io/{name}": value for name, value in tags.items()}
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
        return [_instance(raw) for raw in self._described(filters)]

    def _described(self, filters: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        client = self._client()
        try:
            for page in client.get_paginator("describe_instances").paginate(Filters=filters):
                for reservation in page["Reservations"]:
                    yield from reservation["Instances"]
        except Exception as error:
            raise remedy(error) from error

    def end(self, ids: Sequence[str]) -> None:
        """Raises Unknown when EC2 does not know one of them; then it has ended none."""
        self._call("terminate_instances", InstanceIds=list(ids))

    def _call(self, name: str, **words: Any) -> Any:
        client = self._client()
        try:
            return getattr(client, name)(**words)
        except Exception as error:
            raise remedy(error) from error

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                try:
                    self._made = _client(self._options)
                except Exception as error:
                    raise remedy(error) from error
            return self._made


def _client(options: Ec2Options) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=AT_ONCE + 2,
        user_agent_extra="elastic-farm",
    )
    session = boto3.Session(profile_name=options.profile or None, region_name=options.region)
    return session.client("ec2", endpoint_url=options.endpoint_url or None, config=config)


def _instance(raw: Mapping[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}
    state = STATES.get(raw["State"]["Name"], MachineState.RUNNING)
    ended = state is MachineState.ENDED
    slots = tags.get(SLOTS, "")
    return Instance(
        id=raw["InstanceId"],
        executor=tags.get(EXECUTOR, ""),
        order=tags.get(ORDER, ""),
        slots=int(slots) if slots.isdecimal() else 1,
        type=raw.get("InstanceType", ""),
        state=state,
        launched_at=raw["LaunchTime"].astimezone(UTC),
        ended_at=_when(raw.get("StateTransitionReason", "")) if ended else None,
        why=(raw.get("StateReason") or {}).get("Message", "") if ended else "",
    )


def _when(reason: str) -> datetime | None:
    """The time in `User initiated (2026-01-31 23:59:59 GMT)`."""
    found = re.search(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", reason)
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None
