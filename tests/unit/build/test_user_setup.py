"""The set-up of a user: who writes which ConfigMap, and what a pod has of both."""

from __future__ import annotations

import copy
import json

import pytest

from devservers.api.secrets import SecretReference
from devservers.build.user_setup import config_maps
from devservers_core.types import Json
from tests.support.operator.build_objects import child, main_container, server, template, user

URL = "https://example.org/team/dotfiles"


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        ({}, None),
        ({"dotfiles": URL}, {"dotfiles": URL}),
        ({"dotfiles": "git://example.org/a"}, None),
        (
            {"secrets": [{"name": "hf", "env": "HF"}, {"name": "d", "key": "id", "file": "k"}]},
            {"secrets": "env HF hf value\nfile k d id"},
        ),
    ],
)
def test_config_maps_have_the_default_and_leave_the_users_own_alone(spec: Json, data: Json | None) -> None:
    """A field that the operator sets would be put back whenever the user changes it.

    A repository that the API took before, and servers can't clone, makes nobody's servers unreadable.
    """
    own, default = config_maps(user(**spec))
    assert own["metadata"]["name"] == "setup"
    assert own.keys() == {"apiVersion", "kind", "metadata"}
    assert default["metadata"]["name"] == "setup-default"
    assert default.get("data") == data
    for config_map in (own, default):
        assert [owner["uid"] for owner in config_map["metadata"]["ownerReferences"]] == ["u-ann"]


def test_pod_has_one_folder_where_the_users_own_entries_come_last() -> None:
    """The kubelet takes a file that two sources have from the last one; both may be missing after an upgrade."""
    pod = template()["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "setup"]
    assert volume["projected"] == {
        "defaultMode": 0o444,
        "sources": [
            {"configMap": {"name": "setup-default", "optional": True}},
            {"configMap": {"name": "setup", "optional": True}},
        ],
    }
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "setup"]
    assert mounts == [{"name": "setup", "mountPath": "/etc/devservers/setup", "readOnly": True}]


def test_running_server_from_before_the_set_up_gets_it_at_its_next_start() -> None:
    before = copy.deepcopy(child("Deployment"))
    record = before["metadata"]["annotations"]
    older = json.loads(record["devservers.io/template"])
    older["spec"]["volumes"] = [volume for volume in older["spec"]["volumes"] if volume["name"] != "setup"]
    for container in older["spec"]["containers"]:
        container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "setup"]
    record["devservers.io/template"] = json.dumps(older)
    before["spec"]["template"] = older
    assert child("Deployment", live_workload=before) == before
    stopped = child("Deployment", live_workload=before, running=False)
    assert child("Deployment", live_workload=stopped)["spec"]["template"] == child("Deployment")["spec"]["template"]


def reference(name: str, **target: str) -> SecretReference:
    return SecretReference.model_validate({"name": name, **target})


def test_secrets_of_server_set_up_and_administrator_are_merged_and_the_nearest_wins() -> None:
    """A variable that the server sets as plain text is the server's too."""
    given = {
        "server": server(
            secrets=[{"name": "own", "env": "A"}, {"name": "own", "file": "a"}], env=[{"name": "C", "value": "plain"}]
        ),
        "user": user(
            secrets=[{"name": "theirs", "env": name} for name in "ABCD"] + [{"name": "theirs", "file": "b"}],
            env=[{"name": "D", "value": "plain"}],
        ),
        "setup_secrets": (*(reference("setup", env=name) for name in "ABC"), reference("setup", file="a")),
    }
    variables = [variable for variable in main_container(**given)["env"] if variable["name"] in "ABCD"]
    assert sorted((v["name"], v.get("value") or v["valueFrom"]["secretKeyRef"]["name"]) for v in variables) == [
        ("A", "user-secret-own"), ("B", "user-secret-setup"), ("C", "plain"), ("D", "user-secret-theirs"),
    ]  # fmt: skip
    (volume,) = [volume for volume in template(**given)["spec"]["volumes"] if volume["name"] == "secrets"]
    assert sorted((s["secret"]["items"][0]["path"], s["secret"]["name"]) for s in volume["projected"]["sources"]) == [
        ("a", "user-secret-own"), ("b", "user-secret-theirs"),
    ]  # fmt: skip


def test_secrets_of_the_set_up_reach_a_running_server_at_its_next_start() -> None:
    before = child("Deployment")
    given = (reference("setup", env="A"),)
    assert child("Deployment", live_workload=before, setup_secrets=given) == before
    stopped = child("Deployment", live_workload=before, running=False)
    assert stopped["spec"]["template"] == before["spec"]["template"]
    started = child("Deployment", live_workload=stopped, setup_secrets=given)["spec"]["template"]
    assert "A" in [variable["name"] for variable in started["spec"]["containers"][0]["env"]]
