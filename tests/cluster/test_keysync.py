"""The bastion's account sync against a real API server that comes and goes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bastion.accounts.store import State, read_state
from bastion.paths import Paths
from tests.support.cluster.client import Client
from tests.support.cluster.crd_tables import API_VERSION, KEY, KEY_2
from tests.support.cluster.harness import ApiServer, _die_with_parent
from tests.support.wait import eventually

IN_FORCE_SECONDS = 5.0
"""From a change in the API to new logins being held against it."""
REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ":".join(map(str, (REPOSITORY, REPOSITORY / "core", REPOSITORY / "cli")))
# A body that says what it is; the tables' own are as long as the API's pattern asks and no more.
REAL = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "E"


class Wire:
    """A way to the API server that can be cut and restored."""

    def __init__(self, target: str) -> None:
        url = urlsplit(target)
        self._target = (str(url.hostname), int(url.port or 443))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.whole = True
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection is lost and no new one is made."""
        self.whole = False
        for each in self._ends:
            with contextlib.suppress(OSError):  # one that has ended already
                each.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def restore(self) -> None:
        """It works again."""
        self.whole = True

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if not self.whole:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(a, b), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Keysync:
    """The process, and what it has put in force."""

    def __init__(self, root: Path, wire: Wire, log: Path) -> None:
        self.paths = Paths(root)
        self.wire = wire
        self.log = log

    def state(self) -> State:
        """What is in force; AssertionError when nothing is."""
        found = read_state(self.paths)
        assert found is not None
        return found

    def keys(self, user: str) -> str | None:
        """A person's authorized keys, None without an account."""
        try:
            return (self.paths.current / "keys" / user).read_text()
        except FileNotFoundError:
            return None


@pytest.fixture
def keysync(cluster: ApiServer, tmp_path: Path) -> Iterator[Keysync]:
    """A running account sync with the rights of an administrator."""
    wire = Wire(cluster.url)
    config = json.loads(cluster.kubeconfig_for("keysync", ["system:masters"]).read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    found = Keysync(tmp_path, wire, tmp_path / "log")
    found.paths.accounts.mkdir(parents=True)
    with found.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bastion.accounts", "--kubeconfig", str(file)],
            env={
                **os.environ,
                "BASTION_ROOT": str(tmp_path),
                "PYTHONPATH": PACKAGES,
            },
            stderr=log,
            preexec_fn=_die_with_parent,
        )
        try:
            eventually(lambda: read_state(found.paths), "a first state")
            yield found
        finally:
            process.kill()
            process.wait()


def _person(admin: Client, name: str, uid: int, keys: list[str]) -> None:
    admin.create(
        {
            "apiVersion": API_VERSION,
            "kind": "DevServerUser",
            "metadata": {"name": name},
            "spec": {"username": name, "sshPublicKeys": keys},
        }
    )
    admin.patch(API_VERSION, "DevServerUser", name, {"status": {"uid": uid}}, subresource="status")


def _set_keys(admin: Client, name: str, keys: list[str]) -> None:
    admin.patch(API_VERSION, "DevServerUser", name, {"spec": {"sshPublicKeys": keys}})


def test_account_changes_are_in_force_within_seconds(
    keysync: Keysync, admin: Client, user_name: str, namespace: str
) -> None:
    _person(admin, user_name, 21001, [REAL + " laptop"])
    eventually(lambda: keysync.keys(user_name), "an account", IN_FORCE_SECONDS)
    assert f"{user_name}:x:21001:21001:" in (keysync.paths.current / "passwd").read_text()
    server = {"apiVersion": API_VERSION, "kind": "DevServer", "metadata": {"name": "mydev", "namespace": namespace}}
    admin.create({**server, "spec": {"flavor": "cpu-small", "owner": user_name}})
    way = f'permitopen="mydev.{namespace}.svc.cluster.local:22"'
    eventually(lambda: way in (keysync.keys(user_name) or ""), "a way to the server", IN_FORCE_SECONDS)
    _set_keys(admin, user_name, [])
    eventually(lambda: keysync.keys(user_name) == "", "no key", IN_FORCE_SECONDS)
    admin.delete(API_VERSION, "DevServerUser", user_name)
    eventually(lambda: keysync.keys(user_name) is None, "no account", IN_FORCE_SECONDS)


def test_invalid_key_is_named_in_the_log(keysync: Keysync, admin: Client, user_name: str) -> None:
    _person(admin, user_name, 21002, [REAL, KEY_2, KEY.replace("AAAAC3", "AAAAD3")])
    eventually(lambda: (keysync.keys(user_name) or "").count("\n") == 1, "the one key", IN_FORCE_SECONDS)
    line = f"WARNING bastion.accounts {user_name}'s key number 2 is left out: its body is not a key"
    eventually(lambda: line in keysync.log.read_text(), "a line about the other", IN_FORCE_SECONDS)


def test_accounts_survive_an_api_server_outage(keysync: Keysync, admin: Client, user_name: str) -> None:
    _person(admin, user_name, 21003, [REAL])
    before = eventually(lambda: keysync.keys(user_name), "an account", IN_FORCE_SECONDS)
    keysync.wire.cut()
    _set_keys(admin, user_name, [])
    eventually(lambda: "no word of devserverusers from the cluster" in keysync.log.read_text(), "a line about it")
    assert keysync.keys(user_name) == before
    keysync.wire.restore()
    begin = time.monotonic()
    eventually(lambda: keysync.keys(user_name) == "", "the change that was missed", IN_FORCE_SECONDS)
    assert time.monotonic() - begin < IN_FORCE_SECONDS


def test_sync_without_rights_logs_and_keeps_running(cluster: ApiServer, tmp_path: Path) -> None:
    file = cluster.kubeconfig_for("somebody")
    paths = Paths(tmp_path)
    paths.accounts.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "bastion.accounts", "--kubeconfig", str(file)],
        env={
            **os.environ,
            "BASTION_ROOT": str(tmp_path),
            "PYTHONPATH": PACKAGES,
        },
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_die_with_parent,
    )
    try:
        assert process.stderr is not None
        assert "cannot list resource" in process.stderr.readline()
        assert process.poll() is None
        assert read_state(paths) is None
    finally:
        process.kill()
        process.communicate()
