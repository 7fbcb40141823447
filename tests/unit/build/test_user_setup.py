"""The set-up of a user: who writes which ConfigMap, and what a pod has of both."""

from __future__ import annotations

import copy
import json

import pytest

from devservers.build.user_setup import config_maps
from devservers_core.types import Json
from tests.support.operator.build_objects import child, template, user

URL = "https://example.org/team/dotfiles"


@pytest.mark.parametrize(
    ("spec", "data"),
    [({}, None), ({"dotfiles": URL}, {"dotfiles": URL}), ({"dotfiles": "git://example.org/a"}, None)],
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
    assert child("Deployment", live_deployment=before) == before
    stopped = child("Deployment", live_deployment=before, running=False)
    assert child("Deployment", live_deployment=stopped)["spec"]["template"] == child("Deployment")["spec"]["template"]
