"""`devctl user` and `devctl keys` as a process against a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers_core.errors import ApiError
from infra.platform.users import manifest
from infra.settings.stack import User
from tests.support.cluster.client import Client, repeating
from tests.support.cluster.devctl import API, Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import flavor

A = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@laptop"
B = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g"


@pytest.fixture
def devctl(cluster: ApiServer, user_name: str, tmp_path: Path) -> Devctl:
    found = Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)
    found.environ |= {"DEVCTL_BASTION": "bastion.example.org:2222", "DEVCTL_HOST_AUTHORITY": B}
    (tmp_path / "a.pub").write_text(A + "\n")
    (tmp_path / "b.pub").write_text(B + "\n")
    return found


@pytest.fixture
def operator(admin: Client, user_name: str) -> Iterator[None]:
    """Plays the operator: the user is set up as soon as they are added, and `devctl user add` goes on."""

    def set_up() -> None:
        found = admin.find(API, "DevServerUser", user_name)
        if found and "status" not in found:
            admin.patch(API, "DevServerUser", user_name, {"status": {"phase": "Active"}}, subresource="status")

    with repeating(set_up, 0.1, "the operator"):
        yield


@pytest.mark.usefixtures("operator")
def test_user_commands_add_show_suspend_and_resume_a_user(
    devctl: Devctl, admin: Client, user_name: str, tmp_path: Path
) -> None:
    for name in ("people-small", "people-gpu"):
        admin.apply(flavor(name))
    done = devctl(
        "user", "add", user_name, "--key", str(tmp_path / "a.pub"), "--flavors", "people-small,people-gpu",
        "--gpus", "4",
        "--memory", "64Gi", "--email", "ann@example.org", "--expires", "90d",
    )  # fmt: skip
    assert f"ssh -p 2222 {user_name}@bastion.example.org" in done.stdout
    assert f"@cert-authority [bastion.example.org]:2222,*.dev-{user_name}.svc.cluster.local {B}" in done.stdout
    spec = admin.get(API, "DevServerUser", user_name)["spec"]
    assert spec["flavors"] == ["people-small", "people-gpu"]
    assert spec["quota"] == {"gpu": 4, "memory": "64Gi"}
    (key,) = spec["sshKeys"]
    assert key["name"] == "ann@laptop"
    assert key["key"] == A
    assert key["expires"]
    assert "exists" not in devctl("user", "add", user_name, code=1).stderr.splitlines()[1]
    devctl("keys", "add", "second", str(tmp_path / "b.pub"), "--user", user_name, "--context", "test")
    listed = devctl("keys", "list", "--user", user_name, "--context", "test").stdout
    assert "second" in listed
    assert "ann@laptop" in listed
    assert "in 8" in listed
    assert devctl("keys", "list", "-o", "name", "--context", "test").stdout.split() == ["ann@laptop", "second"]
    devctl("keys", "remove", "ann@laptop", "--context", "test")
    assert "last key" in devctl("keys", "remove", "second", "--context", "test", code=6).stderr
    shown = devctl("user", "show", user_name).stdout
    assert "second" in shown
    assert "SHA256:" in shown
    assert "4 gpu, 64Gi memory" in shown
    devctl("user", "suspend", user_name)
    assert admin.get(API, "DevServerUser", user_name)["spec"]["suspended"] is True
    assert "Suspended" in devctl("user", "list").stdout
    devctl("user", "resume", user_name)
    assert not admin.get(API, "DevServerUser", user_name)["spec"]["suspended"]


@pytest.mark.usefixtures("operator")
def test_user_add_with_an_unknown_flavor_needs_allow_missing(devctl: Devctl, admin: Client, user_name: str) -> None:
    """A typing error would be found out by the person, on their first day."""
    admin.apply(flavor("people-small"))
    refused = devctl("user", "add", user_name, "--flavors", "people-smal", code=6)
    assert "there is no flavor 'people-smal'" in refused.stderr
    assert "did you mean people-small? Known flavors: " in refused.stderr
    assert admin.find(API, "DevServerUser", user_name) is None
    added = devctl("user", "add", user_name, "--flavors", "people-small,later", "--allow-missing", "--storage", "1Ti")
    assert "there is no flavor later yet" in added.stderr
    spec = admin.get(API, "DevServerUser", user_name)["spec"]
    assert spec["flavors"] == ["people-small", "later"]
    assert spec["quota"] == {"storage": "1Ti"}


def test_user_delete_names_the_volumes_that_stay(devctl: Devctl, admin: Client, namespace: str, user_name: str) -> None:
    admin.create({"apiVersion": API, "kind": "DevServerUser", "metadata": {"name": user_name},
                  "spec": {"username": user_name}})  # fmt: skip
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    admin.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                  "metadata": {"name": "mydev-home", "namespace": namespace}, "spec": claim})  # fmt: skip
    assert "add --yes" in devctl("user", "delete", user_name, code=2).stderr
    done = devctl("user", "delete", user_name, "--yes")
    assert f"volumes that stay in {namespace}: mydev-home" in done.stderr
    assert admin.find(API, "DevServerUser", user_name) is None
    assert admin.find("v1", "PersistentVolumeClaim", "mydev-home", namespace)
    devctl("user", "delete", user_name, "--yes", code=3)


def test_user_set_of_a_stacks_user_is_refused_and_taken_over_by_command(
    devctl: Devctl, admin: Client, user_name: str
) -> None:
    """Who takes a user over owns spec.managedBy, so the stack's next server-side apply is a conflict."""
    user = User(username=user_name)
    admin.apply(manifest(user, "dev"), "pulumi")
    refused = devctl("user", "set", user_name, "--gpus", "2", code=6)
    assert "edit `users` in stacks/Pulumi.dev.yaml" in refused.stderr
    taken = devctl("user", "set", user_name, "--gpus", "2", "--take-over")
    assert "`pulumi up` refuses the next change there" in taken.stderr
    spec = admin.get(API, "DevServerUser", user_name)["spec"]
    assert (spec["managedBy"], spec["quota"]) == ("command", {"gpu": 2})
    with pytest.raises(ApiError, match=r"conflict with .*managedBy"):
        admin.apply(manifest(user, "dev"), "pulumi", force="false")
    devctl("user", "set", user_name, "--unset", "gpus")
    assert admin.get(API, "DevServerUser", user_name)["spec"]["quota"] == {}
    said = devctl("user", "set", user_name, "--flavors", "Bad_Name", "--allow-missing", code=6).stderr
    assert "not a flavor name" in said


def test_user_import_adds_changes_and_refuses_a_file_whole(
    devctl: Devctl, admin: Client, user_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"name,gpus,keys\n{user_name},2,{A}\n{user_name}-b,,\n")
    try:
        assert "2 added, 0 changed" in devctl("user", "import", str(file), "--yes").stderr
        spec = admin.get(API, "DevServerUser", user_name)["spec"]
        assert (spec["quota"], spec["sshKeys"][0]["key"], spec["managedBy"]) == ({"gpu": 2}, A, "command")
        assert "0 users would change, 2 are so already" in devctl("user", "import", str(file), "--yes").stderr
        file.write_text(f"name,gpus,memory\n{user_name},3,\n{user_name}-b,,1Zi\n")
        assert "line 3" in devctl("user", "import", str(file), "--yes", code=6).stderr
        # What only the API server knows is said by a dry run, before anything is written.
        file.write_text(f"name,gpus,flavors\n{user_name},3,\n{user_name}-b,,Bad_Name\n")
        refused = devctl("user", "import", str(file), "--allow-missing", "--yes", code=6).stderr
        assert "people.csv, line 3: " in refused
        assert "not a flavor name" in refused
        assert admin.get(API, "DevServerUser", user_name)["spec"]["quota"] == {"gpu": 2}
    finally:
        admin.delete(API, "DevServerUser", f"{user_name}-b")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["user", "add", "Root"], 6, "is not a user name"),
        (["user", "add", "root"], 6, "this user name is reserved"),
        (["user", "add", "zoe", "--key", "/does/not/exist"], 2, "cannot be read"),
        (["user", "add", "zoe", "--key", "/etc/hostname"], 6, "not an OpenSSH public key"),
        (["user", "add", "zoe", "--key", f'command="sh" {A}'], 2, "cannot be read"),
        (["user", "add", "zoe", "--flavors", "a b", "--allow-missing"], 6, "not a flavor name"),
        (["user", "add", "zoe", "--memory", "lots"], 6, "quota.memory"),
        (["user", "add", "zoe", "--gpus", "-1"], 2, "gpus"),
        (["user", "add", "zoe", "--key", A, "--expires", "yesterday"], 2, "is not a time"),
        (["user", "show", "nobody-here"], 3, "no user nobody-here"),
        (["user", "suspend", "nobody-here"], 3, "no user nobody-here"),
        (["keys", "list", "--user", "nobody-here", "--context", "test"], 3, "nobody-here"),
        (["user", "dance"], 2, "devctl user has no 'dance'"),
        (["admin", "sessions", "list"], 3, "no running bastion"),
        (["code", "mydev", "--editor", "ed"], 2, "vscode"),
        (["ssh", "mydev", "--replica", "one"], 2, "is not a number"),
    ],
)
def test_user_and_keys_commands_with_bad_input_are_refused(
    devctl: Devctl, words: list[str], code: int, says: str
) -> None:
    assert says in devctl(*words, code=code).stderr


def test_keys_add_without_the_bastion_is_refused(cluster: ApiServer, tmp_path: Path, user_name: str) -> None:
    plain = Devctl(tmp_path, cluster.kubeconfig_for("somebody"), user_name)
    done = plain("keys", "add", "x", A, code=4)
    assert "are changed on the bastion" in done.stderr
