"""Tests `devctl secret` and `create --secret`: values go in by standard input, and never come out."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Done, Run

NAMESPACE = "/api/v1/namespaces/dev-ann"
INDEX = f"{NAMESPACE}/configmaps/secrets"
SECRETS = f"{NAMESPACE}/secrets"
OWNER = {"apiVersion": "devservers.io/v1", "kind": "DevServerUser", "name": "ann", "uid": "u-ann"}


class _Pipe(io.StringIO):
    """Standard input that is no terminal."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.buffer = io.BytesIO(data)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def index(api: ApiServer) -> None:
    """The ConfigMap that the operator makes."""
    api.put(INDEX, metadata={"ownerReferences": [OWNER | {"controller": True}]})


def listed(api: ApiServer, name: str, *keys: str) -> None:
    """The operator's entry of a secret."""
    note = json.dumps({"keys": list(keys), "since": "2026-01-01T00:00:00Z"})
    api.objects[INDEX].setdefault("data", {})[f"user-secret-{name}"] = note


def put(run: Run, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, *words: str) -> Done:
    monkeypatch.setattr(sys, "stdin", _Pipe(data))
    monkeypatch.setattr("select.select", lambda *_: ([1], [], []))
    return run("secret", "set", *words, KUBECONFIG=str(kubeconfig), DEVCTL_USER="ann")


@pytest.fixture
def secret_set(run: Run, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    kubeconfig = api.kubeconfig(tmp_path)
    return lambda data, *words: put(run, kubeconfig, monkeypatch, data, *words)


def stored(api: ApiServer, name: str) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in api.objects[f"{SECRETS}/user-secret-{name}"]["data"].items()}


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"s3cr3t\n", b"s3cr3t"), (b"s3cr3t", b"s3cr3t"), (b"a\nb\n", b"a\nb\n"), (b"\x00\xff", b"\x00\xff")],
)
def test_secret_set_writes_standard_input_and_nothing_else(
    api: ApiServer, secret_set: Any, data: bytes, value: bytes
) -> None:
    """A line break is taken off a single line alone: a private key needs its own."""
    done = secret_set(data, "huggingface")
    assert done.returncode == 0, done.stderr
    body = api.objects[f"{SECRETS}/user-secret-huggingface"]
    assert (body["type"], body["metadata"]["ownerReferences"]) == ("devservers.io/user", [OWNER])
    assert stored(api, "huggingface") == {"value": value}
    assert [(method, path) for method, path, _ in api.writes] == [("POST", SECRETS)]
    assert "s3cr3t" not in done.stdout + done.stderr


def test_secret_set_twice_waits_for_the_index(api: ApiServer, secret_set: Any) -> None:
    """The operator's index is a second or two behind."""
    assert secret_set(b"one", "aws", "key-id").returncode == 0
    late = threading.Timer(1.0, listed, (api, "aws", "key-id"))
    late.start()
    try:
        done = secret_set(b"two", "aws", "key-id")
    finally:
        late.join()
    assert (done.returncode, stored(api, "aws")) == (0, {"key-id": b"two"}), done.stderr


def test_secret_set_over_a_secret_that_the_index_lacks_needs_replace(api: ApiServer, secret_set: Any) -> None:
    """The operator is down; nobody can read back what it holds."""
    held = {"key-id": base64.b64encode(b"one").decode()}
    api.put(f"{SECRETS}/user-secret-aws", type="devservers.io/user", data=held)
    refused = secret_set(b"two", "aws", "other")
    assert refused.returncode == 6
    assert "the list of your secrets doesn't say what it holds" in refused.stderr
    assert stored(api, "aws") == {"key-id": b"one"}
    assert secret_set(b"two", "aws", "other", "--replace").returncode == 0
    assert stored(api, "aws") == {"other": b"two"}


def test_secret_set_same_key_replaces_and_other_keys_need_replace(api: ApiServer, secret_set: Any) -> None:
    assert secret_set(b"one", "aws", "key-id").returncode == 0
    listed(api, "aws", "key-id")
    assert secret_set(b"two", "aws", "key-id").returncode == 0
    assert stored(api, "aws") == {"key-id": b"two"}
    refused = secret_set(b"three", "aws", "other")
    assert refused.returncode == 6
    assert "aws has key-id too, and a secret is written whole" in refused.stderr
    assert stored(api, "aws") == {"key-id": b"two"}
    assert secret_set(b"three", "aws", "other", "--replace").returncode == 0
    assert stored(api, "aws") == {"other": b"three"}


def test_secret_set_by_an_index_that_is_behind_drops_no_value(api: ApiServer, secret_set: Any) -> None:
    """Another value was written since the operator listed it: as long as the list is old, that can't be known."""
    held = {"a": base64.b64encode(b"one").decode(), "b": base64.b64encode(b"two").decode()}
    api.put(f"{SECRETS}/user-secret-aws", type="devservers.io/user", data=held)
    note = json.dumps({"keys": ["a"], "since": "2026-01-01T00:00:00Z", "version": "0"})
    api.objects[INDEX]["data"] = {"user-secret-aws": note}
    refused = secret_set(b"three", "aws", "a")
    assert (refused.returncode, "doesn't say what it holds now" in refused.stderr) == (6, True)
    assert stored(api, "aws") == {"a": b"one", "b": b"two"}
    assert secret_set(b"three", "aws", "a", "--replace").returncode == 0
    assert stored(api, "aws") == {"a": b"three"}


def test_secret_delete_of_one_that_the_set_up_gives_to_all_servers_asks(
    api: ApiServer, devctl: Run, secret_set: Any
) -> None:
    secret_set(b"x", "hf")
    api.put(f"{NAMESPACE}/configmaps/setup", data={"secrets": "env HF_TOKEN hf value\n"})
    refused = devctl("secret", "delete", "hf", typed="n\n", code=1).stderr
    assert "all your servers (by your set-up) refer to hf" in refused
    assert f"{SECRETS}/user-secret-hf" in api.objects


def test_secret_set_one_more_than_are_kept_is_refused(api: ApiServer, secret_set: Any) -> None:
    for number in range(64):
        listed(api, f"s{number}", "value")
    refused = secret_set(b"x", "one-more")
    assert (refused.returncode, "you have 64 secrets, and at most 64 are kept" in refused.stderr) == (6, True)
    assert api.writes == []
    assert secret_set(b"x", "s7").returncode == 0


def test_secret_set_from_files_keeps_their_bytes(api: ApiServer, devctl: Run, tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_bytes(b"KEY\n")
    (tmp_path / "token").write_bytes(b"T")
    devctl("secret", "set", "deploy", "--from-file", str(tmp_path / "id_ed25519"), "--from-file", f"t={tmp_path}/token")
    assert stored(api, "deploy") == {"id_ed25519": b"KEY\n", "t": b"T"}


@pytest.mark.parametrize(
    ("data", "words", "code", "says"),
    [
        (b"x", ["Hugging Face"], 6, "is not a secret's name"),
        (b"x", ["hf", "a/b"], 6, "is not a secret's key"),
        (b"x", ["hf", ".hidden"], 6, "is not a secret's key"),
        (b"x", ["hf", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"], 6, "this looks like the value"),
        (b"", ["hf"], 2, "no value was given"),
        (b"x" * 40000, ["hf"], 6, "a secret has at most 32 KiB"),
        (b"x", ["hf", "key", "--from-file", "f"], 2, "both given"),
        (b"x", ["hf", "--from-file", "/nowhere"], 2, "/nowhere cannot be read"),
    ],
)
def test_secret_set_bad_input_writes_nothing(
    api: ApiServer, secret_set: Any, data: bytes, words: list[str], code: int, says: str
) -> None:
    done = secret_set(data, *words)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "ghp_" not in done.stderr
    assert api.writes == []


def test_secret_list_shows_names_keys_and_times(api: ApiServer, devctl: Run) -> None:
    assert "you have no secrets" in devctl("secret", "list").stderr
    note = json.dumps({"keys": ["a", "b"], "since": "2026-01-01T00:00:00Z"})
    api.objects[INDEX]["data"] = {"user-secret-aws": note, "user-secret-bad": "{", "user-secret-odd": "[]"}
    assert devctl("secret", "list").stdout.splitlines()[1].split() == ["aws", "a,b", "2026-01-01T00:00:00Z"]
    assert devctl("secret", "list", "-o", "name").stdout == "aws\n"


def test_secret_delete_names_the_servers_that_refer_to_it(api: ApiServer, devctl: Run, secret_set: Any) -> None:
    secret_set(b"x", "hf")
    server = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
    api.put(server, spec={"flavor": "cpu-small", "secrets": [{"name": "hf", "env": "HF_TOKEN"}]})
    assert "mydev refer to hf" in devctl("secret", "delete", "hf", typed="n\n", code=1).stderr
    assert f"{SECRETS}/user-secret-hf" in api.objects
    devctl("secret", "delete", "hf", "--yes")
    assert f"{SECRETS}/user-secret-hf" not in api.objects
    assert "there is no secret hf" in devctl("secret", "delete", "hf", "--yes", code=3).stderr


def test_create_secret_that_does_not_exist_is_warned_of(
    api: ApiServer, devctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devctl.resources.people.server_secrets.INDEX_SECONDS", 0.0)
    listed(api, "aws", "id")
    said = devctl("create", "mydev", "cpu-small", "--secret", "HF=hf/token", "--secret", "AWS=aws/id").stderr
    assert "you have no secret hf yet: mydev waits for it; `devctl secret set hf token` makes it" in said
    assert "aws" not in said
    assert len(api.writes) == 1


def test_create_with_secrets_writes_references_and_describe_shows_them(api: ApiServer, devctl: Run) -> None:
    devctl(
        "create", "mydev", "cpu-small", "--secret", "HF_TOKEN=hf", "--secret-file", "id_ed25519=deploy/key",
    )  # fmt: skip
    server = api.objects["/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"]
    assert server["spec"]["secrets"] == [
        {"name": "hf", "env": "HF_TOKEN"},
        {"name": "deploy", "key": "key", "file": "id_ed25519"},
    ]
    shown = devctl("describe", "mydev").stdout
    assert "HF_TOKEN from hf\n" in shown
    assert "/etc/devservers/secrets/id_ed25519 from deploy/key\n" in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--secret", "HF_TOKEN"], "a --secret doesn't name a secret"),
        (["--secret", "HF_TOKEN=hf_AbC"], "a --secret doesn't name a secret"),
        (["--secret", "=hf"], "a --secret doesn't name a secret"),
        (["--secret-file", "key=deploy/"], "a --secret-file doesn't name a secret"),
        (["--secret", "A=x", "--secret", "A=y"], "--secret A is given twice"),
    ],
)
def test_create_bad_reference_is_refused_without_repeating_it(
    api: ApiServer, devctl: Run, words: list[str], says: str
) -> None:
    """It may be a value that was taken for a reference."""
    said = devctl("create", "mydev", "cpu-small", *words, code=6).stderr
    assert says in said
    assert "hf_AbC" not in said
    assert api.writes == []
