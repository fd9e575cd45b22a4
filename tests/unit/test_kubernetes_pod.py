"""A pod as it is asked for: its name, its labels, what it may and may not."""

import json
import stat
from datetime import timedelta
from decimal import Decimal

import pytest

from executors.contract import Order, Surroundings
from executors.errors import Refused
from executors.kubernetes import provider
from executors.kubernetes.options import KubernetesOptions, amount
from executors.kubernetes.pod import Identity, label, pod, secret
from executors.options import checked

AROUND = Surroundings(
    "farm-1", "Big Pods", "/nowhere", "/nowhere", "/nowhere", "plain", timedelta(seconds=60), image="here/executor:1"
)
ORDER = Order("9c81d2aa", "Big Pods", 2, 3)


def made(**options):
    return pod("9c81d2aa-1", ORDER, checked(KubernetesOptions, options, "kubernetes"), AROUND, None)


def test_a_name_follows_from_farm_pool_and_executor():
    one = Identity("farm-1", "Big Pods")
    assert one.name("9c81d2aa-1") == one.name("9c81d2aa-1")
    assert one.name("9c81d2aa-1").startswith("farm-big-pods-")
    others = {Identity("farm-2", "Big Pods"), Identity("farm-1", "big-pods"), Identity("farm-1", "Big_Pods")}
    assert one.name("a-1") not in {other.name("a-1") for other in others}


@pytest.mark.parametrize("pool", ["x" * 200, "ÄÖÜ", "--", "a.b_c", "9"])
def test_any_pool_gives_a_valid_name_and_label(pool: str):
    import re

    name = Identity("farm-1", pool).name("9c81d2aa-1")
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", label(pool))


def test_labels_of_two_pools_that_can_not_be_labels_differ():
    assert label("a b") != label("a c")
    assert label("a-b") == "a-b"


def test_it_has_no_rights():
    spec = made()["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_ends_by_itself_and_is_not_moved_while_it_works():
    asked = made(deadline_s=3600)
    assert asked["spec"]["activeDeadlineSeconds"] == 3600
    assert asked["spec"]["restartPolicy"] == "Never"
    assert asked["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert asked["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_its_secret_is_a_file_that_goes_with_it():
    asked = made()
    (volume,) = [v for v in asked["spec"]["volumes"] if "secret" in v]
    assert volume["secret"] == {"secretName": asked["metadata"]["name"], "defaultMode": stat.S_IRUSR}
    there = asked | {"metadata": asked["metadata"] | {"uid": "u-1"}}
    kept = secret(there, {"invitation": "hush"})
    assert kept["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": asked["metadata"]["name"], "uid": "u-1"}
    ]
    assert kept["stringData"] == {"invitation": "hush"}
    assert "hush" not in json.dumps(asked)


def test_slots_decide_the_cores_unless_they_are_said():
    def cpu(asked):
        return asked["spec"]["containers"][0]["resources"]["requests"]["cpu"]

    assert cpu(made(slots=8)) == "3"  # the order's
    assert cpu(made(cpu="500m")) == "500m"
    assert made()["metadata"]["annotations"]["elastic-farm/slots"] == "3"


def test_own_labels_do_not_hide_the_farms():
    labels = made(labels={"team": "film", "elastic-farm/pool": "mine"})["metadata"]["labels"]
    assert (labels["team"], labels["elastic-farm/pool"]) == ("film", label("Big Pods"))


def test_where_it_may_run_is_passed_on():
    spec = made(
        node_selector={"disk": "fast"},
        tolerations=({"key": "spot", "operator": "Exists"},),
        priority_class="low",
        image_pull_secrets=("registry",),
        service_account="nobody",
    )["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert (spec["priorityClassName"], spec["serviceAccountName"]) == ("low", "nobody")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_the_official_models_take_it():
    from kubernetes import client

    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "farm", "uid": "u-0"}
    options = KubernetesOptions(tolerations=({"key": "spot"},), node_selector={"a": "b"}, service_account="x")
    asked = pod("9c81d2aa-1", ORDER, options, AROUND, owner)
    assert client.V1Pod.model_validate(asked).metadata.owner_references[0].name == "farm"
    there = asked | {"metadata": asked["metadata"] | {"uid": "u-1"}}
    assert client.V1Secret.model_validate(secret(there, {"start": "x"})).immutable is True


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"namespaces": "x"}, "there is no option namespaces, did you mean namespace"),
        ({"deadline_s": 1}, "deadline_s: Input should be greater than or equal to 60"),
        ({"user": 0}, "user: Input should be greater than or equal to 1"),
        ({"disk": "50Mi"}, "disk: .*50Mi is not enough for an executor and its work; say at least 100Mi"),
        ({"disk": "104857599"}, "say at least 100Mi"),
        ({"memory": "4 GB"}, "memory: .*'4 GB' is no quantity; write it like 500m, 2, 512Mi or 10Gi"),
        ({"cpu": "-1"}, "cpu: .*'-1' is no quantity"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy: Input should be 'Always', 'IfNotPresent' or 'Never'"),
    ],
)
def test_a_wrong_option_is_told(options, told: str):
    with pytest.raises(Refused, match=told):
        provider(options, AROUND)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        (".5", "0.5"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("12E", "12e18"),
        ("7k", "7000"),
    ],
)
def test_a_quantity_is_read_as_the_cluster_reads_it(text: str, means: str):
    assert amount(text) == Decimal(means)


@pytest.mark.parametrize("disk", ["100Mi", "104857600", "128Mi", "10Gi"])
def test_what_it_asks_for_is_never_more_than_its_limit(disk: str):
    resources = made(disk=disk)["spec"]["containers"][0]["resources"]
    assert amount(resources["requests"]["ephemeral-storage"]) <= amount(resources["limits"]["ephemeral-storage"])
