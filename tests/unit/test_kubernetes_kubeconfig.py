"""A kubeconfig that is none, whatever is in it, is a matter for a person: refused, with the file and what to do."""

from pathlib import Path

import pytest

from executors.errors import Refused
from executors.kubernetes.api import Api
from executors.kubernetes.options import KubernetesOptions

HEAD = "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
CONTEXT = "contexts:\n- name: x\n  context: {cluster: y, user: z}\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"{",
        b"[]",
        b"5",
        b"\x00\xff\xfe",
        b"a: b",
        f"{HEAD}contexts: []\nclusters: []\nusers: []".encode(),
        f"{HEAD}contexts: 5".encode(),
        f"{HEAD}contexts:\n- 7".encode(),
        f"{HEAD}{CONTEXT}clusters: []\nusers: []".encode(),
    ],
)
def test_what_is_no_kubeconfig(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config").write_bytes(text)
    _refused(str(tmp_path / "config"))


def test_one_that_is_not_there(tmp_path: Path) -> None:
    _refused(str(tmp_path / "nowhere"))


def _refused(file: str) -> None:
    with pytest.raises(Refused, match="there is no way to a cluster by") as caught:
        Api(KubernetesOptions(kubeconfig=file, namespace="n"))._call("GET", "/api/v1/pods")
    assert file in str(caught.value)
    assert "name a file that kubectl takes" in str(caught.value)
