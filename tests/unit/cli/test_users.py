"""Tests `devctl user`: what administrators' commands write and print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

USERS = "/apis/devservers.io/v1/devserverusers"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
BASTION = "/api/v1/namespaces/devservers-bastion/configmaps"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody plays the operator here, so what it is waited for never comes."""
    monkeypatch.setattr("devctl.resources.people.user_deletion.TIMEOUT_SECONDS", 0.0)


def put_user(api: ApiServer, name: str = "bob", status: dict[str, Any] | None = None, **spec: Any) -> None:
    api.put(f"{USERS}/{name}", spec={"username": name, **spec}, status=status or {"phase": "Active", "uid": 20001})


def test_user_add_with_options_writes_them(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text(f"{KEY} bob's laptop\n")
    devctl(
        "user", "add", "bob", "--key", str(tmp_path / "a.pub"), "--flavors", "cpu-small, *", "--gpus", "0",
        "--cpu", "16", "--storage", "1Ti", "--email", "bob@example.org", "--expires", "90d",
    )  # fmt: skip
    ((method, path, body),) = api.writes
    assert (method, path) == ("POST", USERS)
    assert body is not None
    assert body["metadata"] == {"name": "bob"}
    spec = body["spec"]
    assert spec["managedBy"] == "command"
    assert (spec["username"], spec["flavors"], spec["email"]) == ("bob", ["cpu-small", "*"], "bob@example.org")
    assert spec["quota"] == {"gpu": 0, "cpu": "16", "storage": "1Ti"}
    (key,) = spec["sshKeys"]
    assert key["name"] == "bob-s-laptop"
    assert key["key"].startswith(KEY)
    assert key["expires"]


def test_user_add_keys_with_one_comment_get_two_names(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text(f"{KEY} laptop\n")
    (tmp_path / "b.pub").write_text(f"{KEY[:-1]}g laptop\n")
    devctl("user", "add", "bob", "--key", str(tmp_path / "a.pub"), "--key", str(tmp_path / "b.pub"))
    assert [key["name"] for key in api.objects[f"{USERS}/bob"]["spec"]["sshKeys"]] == ["laptop", "laptop-2"]


def test_user_add_without_key_warns(api: ApiServer, devctl: Run) -> None:
    assert "bob has no key and cannot log in" in devctl("user", "add", "bob").stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["Bob"], 6, "'Bob' is not a user name"),
        (["bob", "--flavors", "cpu-smal"], 6, "did you mean cpu-small? Known flavors: cpu-small"),
        (["bob", "--gpus", "-1"], 2, "--gpus"),
        (["bob", "--key", "/nowhere.pub"], None, "/nowhere.pub"),
    ],
)
def test_user_add_invalid_value_is_refused_before_writing(
    api: ApiServer, devctl: Run, run: Run, words: list[str], code: int | None, says: str
) -> None:
    done = devctl("user", "add", *words, code=code) if code else run("user", "add", *words)
    assert says in done.stderr
    assert done.returncode
    assert api.writes == []


def test_user_add_existing_user_changes_nothing(api: ApiServer, devctl: Run) -> None:
    put_user(api, flavors=["cpu-small"])
    assert "there is a user bob already" in devctl("user", "add", "bob", code=1).stderr
    assert api.objects[f"{USERS}/bob"]["spec"]["flavors"] == ["cpu-small"]


def test_user_add_not_ready_user_names_the_reason(api: ApiServer, devctl: Run) -> None:
    """The namespace is not made, for a reason that its condition has."""
    api.answers[USERS] = lambda body: api.put(
        f"{USERS}/bob",
        **{**body, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "the uid is taken"}]}},
    )
    assert "bob is not ready yet: the uid is taken; `devctl user show bob`" in devctl("user", "add", "bob").stderr


def test_user_add_prints_the_instructions(api: ApiServer, devctl: Run) -> None:
    api.objects[f"{BASTION}/bastion-settings"] = {"data": {"address": "ssh.example.org:2222"}}
    api.objects[f"{BASTION}/bastion-info"] = {"data": {"host_ca.pub": f"{KEY} host-ca"}}
    sent = devctl("user", "add", "bob").stdout
    assert "    ssh -p 2222 bob@ssh.example.org\n" in sent
    assert f"    @cert-authority [ssh.example.org]:2222,*.dev-bob.svc.cluster.local {KEY}\n" in sent
    for line in ("user: bob", "bastion: ssh.example.org:2222", f"hostAuthority: {KEY}"):
        assert f"    {line}\n" in sent


def test_instructions_unknown_bastion_has_a_placeholder(api: ApiServer, devctl: Run) -> None:
    for name in ("bastion-settings", "bastion-info"):
        api.refuse("GET", f"{BASTION}/{name}", (403, "forbidden"))
    sent = devctl("user", "add", "bob").stdout
    assert "    ssh bob@BASTION-ADDRESS\n" in sent
    assert "cert-authority" not in sent
    assert "hostAuthority" not in sent


def test_user_list_users_show_state_keys_and_quota(api: ApiServer, devctl: Run) -> None:
    assert "no users" in devctl("user", "list").stderr
    put_user(api, "ann", sshKeys=[{"name": "a", "key": KEY}], quota={"gpu": 4}, flavors=["cpu-small", "gpu"])
    put_user(api, "bob", suspended=True, email="bob@example.org")
    put_user(api, "cid", status={})
    put_user(api, "eve", managedBy="stack")
    api.objects[f"{USERS}/eve"]["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    rows = {line.split()[0]: line.split()[1:] for line in devctl("user", "list").stdout.splitlines()}
    assert rows["NAME"] == ["STATE", "KEYS", "GPUS", "FLAVORS", "MANAGER", "AGE"]
    assert rows["ann"][:4] == ["Active", "1", "4", "cpu-small,gpu"]
    assert rows["bob"][:2] == ["Suspended", "0"]
    assert rows["eve"][0] == "Terminating"
    assert [rows[name][-2] for name in ("ann", "eve")] == ["-", "stack"]
    wide = devctl("user", "list", "-o", "wide").stdout
    assert "bob@example.org" in wide
    assert "20001" in wide
    assert len(json.loads(devctl("user", "list", "-o", "json").stdout)["items"]) == 4
    names = devctl("user", "list", "-o", "name").stdout.split()
    assert names == [f"devserveruser/{name}" for name in ("ann", "bob", "cid", "eve")]


def test_user_show_user_has_servers_volumes_and_keys(api: ApiServer, devctl: Run) -> None:
    keys = [{"name": "laptop", "key": KEY, "expires": "2020-01-01T00:00:00Z"}]
    put_user(api, sshKeys=keys, quota={"servers": 2})
    api.put("/apis/devservers.io/v1/namespaces/dev-bob/devservers/mydev", spec={})
    api.put("/api/v1/namespaces/dev-bob/persistentvolumeclaims/data", spec={})
    shown = devctl("user", "show", "bob").stdout
    labels = dict(line.split(":", 1) for line in shown.splitlines()[:10])
    assert {name: text.strip() for name, text in labels.items()} | {"key": ""} == {
        "name": "bob", "state": "Active", "e-mail": "-", "uid": "20001", "flavors": "*", "quota": "2 servers",
        "manager": "nobody",
        "servers": "mydev", "volumes": "data", "key": "",
    }  # fmt: skip
    assert "laptop  ssh-ed25519  SHA256:" in labels["key"]
    assert labels["key"].endswith("  ended")
    assert "ssh bob@BASTION-ADDRESS" in shown


@pytest.mark.parametrize(("command", "suspended"), [("suspend", True), ("resume", False)])
def test_user_suspend_and_resume_write_one_field(api: ApiServer, devctl: Run, command: str, suspended: bool) -> None:
    put_user(api)
    devctl("user", command, "bob")
    assert api.writes == [("PATCH", f"{USERS}/bob", {"spec": {"suspended": suspended}})]


@pytest.mark.parametrize("command", ["show", "suspend", "resume", "delete"])
def test_user_commands_unknown_user_is_not_found(api: ApiServer, devctl: Run, command: str) -> None:
    done = devctl("user", command, "bob", *(["--yes"] if command == "delete" else []), code=3)
    assert "there is no user bob" in done.stderr


@pytest.mark.parametrize(("typed", "code"), [(None, 2), ("n\n", 1), ("y\n", 0)])
def test_user_delete_names_what_is_deleted_and_kept_and_asks(
    api: ApiServer, devctl: Run, typed: str | None, code: int
) -> None:
    put_user(api)
    api.put("/apis/devservers.io/v1/namespaces/dev-bob/devservers/mydev", spec={})
    api.put("/api/v1/namespaces/dev-bob/persistentvolumeclaims/data", spec={})
    done = devctl("user", "delete", "bob", typed=typed, code=code)
    assert "servers that go: mydev; volumes that stay in dev-bob: data" in done.stderr
    assert [method for method, _, _ in api.writes] == ([] if code else ["DELETE"])
    assert "/api/v1/namespaces/dev-bob/persistentvolumeclaims/data" in api.objects
    assert ("`kubectl delete namespace dev-bob` is final" in done.stderr) is (code == 0)


def test_user_delete_user_of_a_stack_names_the_file(api: ApiServer, devctl: Run) -> None:
    put_user(api, managedBy="stack")
    api.objects[f"{USERS}/bob"]["metadata"]["annotations"] = {"devservers.io/stack": "dev"}
    said = devctl("user", "delete", "bob", "--yes", code=6).stderr
    assert "bob is managed by a stack; devctl doesn't delete them" in said
    assert "edit `users` in stacks/Pulumi.dev.yaml and run `pulumi up`" in said
    assert api.writes == []


def test_user_suspend_user_of_a_stack_is_done_and_names_the_file(api: ApiServer, devctl: Run) -> None:
    """Whoever must be kept out is kept out at once."""
    put_user(api, managedBy="stack")
    said = devctl("user", "suspend", "bob").stderr
    assert "bob is managed elsewhere: say it in `users` in stacks/Pulumi.<stack>.yaml too" in said
    assert api.objects[f"{USERS}/bob"]["spec"]["suspended"] is True


def test_user_delete_held_namespace_names_the_finalizer(api: ApiServer, devctl: Run) -> None:
    put_user(api)
    api.put("/api/v1/namespaces/dev-bob")
    gone = {"deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": ["example.com/hold", "orphan"]}
    api.put("/apis/devservers.io/v1/namespaces/dev-bob/devservers/mydev", metadata=gone, spec={})
    said = devctl("user", "delete", "bob", "--yes").stderr
    assert "dev-bob is not gone yet; held by devserver mydev (finalizer example.com/hold)" in said
