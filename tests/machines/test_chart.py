"""The chart: what it makes of its values, and a whole life of it on a real cluster."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from executors.kubernetes.options import KubernetesOptions
from executors.options import checked
from farm.auth import token_id
from farm.config import load
from tests.contract.yard import eventually
from tests.machines.kubernetes_cluster import CHECKOUT, Namespace, cluster, namespace
from tools.kubernetes import farm_images, place
from tools.kubernetes.build import helm as built

pytestmark = pytest.mark.timeout(1800)  # the first time all is built
CHART = CHECKOUT / "charts" / "farm"
ADDRESS = "10.97.0.50"  # the cluster has no DNS
KINDS = {
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "RoleBinding": "V1RoleBinding",
}


def helm(*words: str, status: int = 0) -> str:
    """Its output, errors too."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(place.cache_root()), "KUBECONFIG": str(place.kubeconfig())}
    line = [str(built()), *words]
    done = subprocess.run(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert (done.returncode != 0) == bool(status), done.stdout
    return done.stdout


def values(**said: Any) -> list[str]:
    return [word for path, value in said.items() for word in ("--set-json", f"{path}={json.dumps(value)}")]


def rendered(*words: str) -> dict[str, Any]:
    """KIND/NAME → object."""
    text = helm("template", "rel", str(CHART), "--namespace", "ns", *words)
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in yaml.safe_load_all(text) if o}


def test_it_is_without_fault():
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize(
    "words",
    [
        [],
        values(**{"networkPolicy.enabled": True, "persistence.enabled": False}),
        values(**{"imagePullSecrets": ["a"], "tolerations": [{"key": "x"}], "nodeSelector": {"a": "b"}}),
        values(**{"executors.enabled": False, "serviceAccount.create": False, "rbac.create": False}),
        values(**{"adminToken.existingSecret": "mine", "tls.existingSecret": "mine", "tls.ca": False}),
        values(**{"executors.options": {"priority_class": "low", "unschedulable_s": 300}, "executors.idle": "1m"}),
        values(**{"fullnameOverride": "x", "persistence.existingClaim": "kept", "podAnnotations": {"a": "b"}}),
    ],
)
def test_every_object_is_one_of_the_api(words: list[str]):
    from kubernetes import client

    for name, found in rendered(*words).items():
        kind = KINDS.get(found["kind"], f"V1{found['kind']}")
        getattr(client, kind).model_validate(found)
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "rel", name


def settings(tmp_path: Path, *words: str) -> Any:
    """farm.toml as the farm reads it."""
    file = tmp_path / "farm.toml"
    file.write_text(rendered(*words)["ConfigMap/rel-farm"]["data"]["farm.toml"])
    return load(file)


def test_the_settings_are_those_of_a_farm(tmp_path: Path):
    said = {"executors.idle": "1m", "executors.pricePerHour": 0.25, "executors.setup": 'echo "a"\necho b\n'}
    more = values(**said, **{"executors.options": {"unschedulable_s": 300, "node_selector": {"a": "b"}}})
    config = settings(tmp_path, *more)
    assert config.listen.url == "https://rel-farm.ns.svc:8443"
    (pool,) = config.pools.values()
    assert (pool.provider, pool.image, str(pool.price_per_hour)) == (
        "kubernetes",
        "elastic-farm-executor:0.1.0",
        "0.25",
    )
    assert pool.setup == 'echo "a"\necho b\n'
    options = checked(KubernetesOptions, pool.options, "kubernetes")
    assert (options.owner, options.namespace, options.unschedulable_s) == ("Deployment/rel-farm", "ns", 300)
    assert (options.node_selector, options.labels) == ({"a": "b"}, {"app.kubernetes.io/instance": "rel"})


def test_more_settings_can_be_added(tmp_path: Path):
    config = settings(tmp_path, *values(config="[lanes.bulk]\nweight = 3\n"))
    assert config.lanes["bulk"].weight == 3


def test_the_service_runs_once_and_has_no_rights():
    found = rendered()["Deployment/rel-farm"]["spec"]
    assert (found["replicas"], found["strategy"]) == (1, {"type": "Recreate"})
    pod = found["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 900  # it may have a large database to migrate


def test_its_role_is_the_least():
    rules = rendered()["Role/rel-farm"]["rules"]
    assert [(r["resources"], r["verbs"], r.get("resourceNames")) for r in rules] == [
        (["pods"], ["create", "get", "list", "watch", "delete"], None),
        (["secrets"], ["create"], None),
        (["deployments"], ["get"], ["rel-farm"]),
    ]
    assert not [name for name in rendered() if name.startswith("Cluster")]


def test_a_token_of_a_farm_is_made_and_one_that_is_named_is_not():
    token = base64.b64decode(rendered()["Secret/rel-farm-admin"]["data"]["token"]).decode()
    assert token_id(token)
    assert not [name for name in rendered(*values(**{"adminToken.existingSecret": "x"})) if name.endswith("-admin")]


def test_the_certificate_holds_for_every_name():
    said = {
        "listen.url": "https://farm.example.org:443",
        "listen.names": ["10.1.2.3", "other"],
        "service.clusterIP": ADDRESS,
    }
    data = rendered(*values(**said))["Secret/rel-farm-tls"]["data"]
    found = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = {"rel-farm", "rel-farm.ns.svc", "rel-farm.ns.svc.cluster.local", "localhost", "other", "farm.example.org"}
    assert set(held.get_values_for_type(x509.DNSName)) == names
    assert {str(ip) for ip in held.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "10.1.2.3", ADDRESS}
    authority = x509.load_pem_x509_certificate(base64.b64decode(data["ca.crt"]))
    found.verify_directly_issued_by(authority)


def test_who_may_reach_whom():
    found = rendered(*values(**{"networkPolicy.enabled": True}))
    assert "ingress" not in found["NetworkPolicy/rel-farm-executor"]["spec"]
    assert found["NetworkPolicy/rel-farm"]["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": "https"}]}]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"executors.slots": "many"}, "got string, want integer"),
        ({"executors.slots": 0}, "minimum: got 0, want 1"),
        ({"listen.url": "http://farm"}, "does not match pattern"),
        ({"executors.image.pullPolicy": "Sometimes"}, "must be one of"),
    ],
)
def test_a_wrong_value_is_refused(said: dict[str, Any], told: str):
    assert told in helm("template", "rel", str(CHART), *values(**said), status=1)


def test_every_value_is_explained():
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(known)
    for name, part in schema["properties"].items():
        if part.get("additionalProperties") is False:
            assert set(part["properties"]) == set(known[name])


# ── on the cluster ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def there() -> Iterator[Namespace]:
    with cluster(), namespace() as made:
        farm_images.bring_executor()
        farm_images.bring_farm()
        yield made


@pytest.fixture
def volume(there: Namespace, tmp_path: Path) -> Iterator[str]:
    """The name of a claim on a folder of this machine."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    name, size = there.name, {"storage": "1Gi"}
    about = {"capacity": size, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
    claimed = {"namespace": there.name, "name": "home", "apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    there.call("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": about | {"claimRef": claimed}})
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "volumeName": name,
        "resources": {"requests": size},
    }
    there.call("POST", "persistentvolumeclaims", {"metadata": {"name": "home"}, "spec": claim})
    yield "home"
    there.call("DELETE", f"/api/v1/persistentvolumes/{name}")


def installed(there: Namespace, claim: str) -> list[str]:
    image, _, tag = farm_images.FARM.partition(":")
    worker, _, worker_tag = farm_images.EXECUTOR.partition(":")
    here = ["--namespace", there.name, "--wait", "--timeout", "180s"]
    said = {
        "image": {"repository": image, "tag": tag, "pullPolicy": "Never"},
        "executors.image": {"repository": worker, "tag": worker_tag, "pullPolicy": "Never"},
        "executors.cpu": "100m",
        "executors.memory": "1Gi",
        "executors.idle": "2s",
        "service.clusterIP": ADDRESS,
        "listen.url": f"https://{ADDRESS}:8443",
        "persistence.existingClaim": claim,
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
    }
    return [*here, *values(**said)]


def test_a_life_of_the_chart(there: Namespace, volume: str):
    """Installed, a real job on a pod of its own, restarted with all it knew, upgraded, gone without a trace."""
    words = installed(there, volume)
    helm("install", "rel", str(CHART), *words)
    assert "42 from " in helm("test", "rel", "--namespace", there.name, "--logs", "--timeout", "300s")
    eventually(lambda: not executors(there), within=90)
    secrets = kept(there)

    (farm,) = [p for p in there.pods() if p["metadata"]["labels"]["app.kubernetes.io/component"] == "service"]
    there.call("DELETE", f"pods/{farm['metadata']['name']}")
    helm("upgrade", "rel", str(CHART), *words, *values(**{"executors.ceiling": 2}))
    said = helm("test", "rel", "--namespace", there.name, "--logs", "--timeout", "300s")
    assert "42 from 2" in said  # the second job of the same queue
    assert kept(there) == secrets

    helm("uninstall", "rel", "--namespace", there.name, "--wait", "--timeout", "120s")
    eventually(lambda: not there.left(), within=90)


def executors(there: Namespace) -> list[Any]:
    return [p for p in there.pods() if p["metadata"]["labels"].get("app.kubernetes.io/component") == "executor"]


def kept(there: Namespace) -> dict[str, Any]:
    """What an upgrade must not change."""
    found = there.call("GET", "secrets")["items"]
    return {s["metadata"]["name"]: s["data"] for s in found if s["metadata"]["name"].startswith("rel-farm-")}
