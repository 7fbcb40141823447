"""devctl with exactly a user's rights, the ClusterRole dev-user.

The identity is the person's ServiceAccount, by a short token of the API server, as the bastion uses it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.node.person import Person, Platform


@pytest.fixture(scope="module")
def plain(platform: Platform, ann: Person, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Ann without the administrator's kubeconfig."""
    account = "devctl"
    token = platform.cluster.kubectl("create", "token", account, "-n", ann.namespace, "--duration=1h").strip()
    config = yaml.safe_load(platform.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file: Path = tmp_path_factory.mktemp("rights") / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return Person(replace(platform, env=platform.env | {"DEVCTL_KUBECONFIG": str(file)}), ann.name)


def test_devctl_with_a_users_own_rights_runs_every_command(plain: Person) -> None:
    plain.devctl("create", "mine", "--wait", "3m")
    assert plain.ssh("mine", "echo hello").stdout == "hello\n"
    assert plain.devctl("exec", "mine", "--", "echo", "there").stdout == "there\n"
    assert "Running" in plain.devctl("describe", "mine").stdout
    assert "mine" in plain.devctl("list").stdout
    assert "cpu-small" in plain.devctl("flavors").stdout
    for words in (("events", "mine"), ("logs", "mine"), ("status",), ("info",), ("ssh-config",)):
        plain.devctl(*words)
    shown = plain.devctl("test-k8s", check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    plain.devctl("restart", "mine", "--wait", "3m")
    plain.devctl("stop", "mine")
    plain.devctl("start", "mine", "--wait", "3m")
    plain.devctl("delete", "mine", "--yes", "--purge")


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--namespace", "kube-system"),
        ("list", "-A"),
        ("create", "theirs", "--namespace", "default"),
        ("exec", "devservers-operator", "--namespace", "devservers-system", "--", "id"),
    ],
)
def test_devctl_outside_of_the_users_namespace_is_forbidden(plain: Person, words: tuple[str, ...]) -> None:
    done = plain.devctl(*words, check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 2, done.stderr


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("patch", "deployments"),
        ("patch", "statefulsets"),
        ("create", "rolebindings"),
        ("patch", "networkpolicies"),
        ("patch", "resourcequotas"),
        ("create", "serviceaccounts/token"),
        ("patch", "devservers/status"),
        ("patch", "configmaps"),
    ],
)
def test_dev_user_role_denies_access_that_would_open_the_namespace(
    platform: Platform, ann: Person, verb: str, resource: str
) -> None:
    account = f"system:serviceaccount:{ann.namespace}:devctl"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": account,
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{ann.namespace}", "system:authenticated"],
            "resourceAttributes": _attributes(ann.namespace, verb, resource),
        },
    }
    answer = platform.cluster.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review))
    assert json.loads(answer)["status"]["allowed"] is False


_GROUPS = {
    "deployments": "apps",
    "statefulsets": "apps",
    "rolebindings": "rbac.authorization.k8s.io",
    "networkpolicies": "networking.k8s.io",
    "devservers": "devservers.io",
}


def _attributes(namespace: str, verb: str, resource: str) -> dict[str, str]:
    kind, _, subresource = resource.partition("/")
    return {
        "namespace": namespace,
        "verb": verb,
        "group": _GROUPS.get(kind, ""),
        "resource": kind,
        "subresource": subresource,
    }
