"""Tests SSH keys: parsing, adding, removing, and ssh from the bastion."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from devctl.command_line import parse
from devctl.commands.access import keys
from devctl.commands.servers.list import list_command
from devctl.context import Context
from devctl.resources import replicas
from devctl.resources.people import account_keys, key_file, user_ssh_keys
from devctl.ssh import connect, editor_links
from devctl.ssh.bastion import from_bastion, remote_command
from devservers_core.client import kubeconfig
from devservers_core.errors import CommandError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@laptop"
B = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g"
C = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4h"


def spec(**ends: str) -> dict[str, Any]:
    named = [{"name": "b", "key": B}, {"name": "c", "key": C}]
    return {"sshPublicKeys": [A], "sshKeys": [{**k, **({"expires": ends[k["name"]]} if k["name"] in ends else {})}
                                              for k in named]}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "not an OpenSSH public key"),
        ("ssh-ed25519", "not an OpenSSH public key"),
        ("ssh-dss AAAAB3", "not an OpenSSH public key"),
        ('command="x" ' + A, "not an OpenSSH public key"),
        (A + "\n" + B, "not an OpenSSH public key"),
        (A.replace("ssh-ed25519", "ssh-rsa"), "damaged"),
        ("ssh-ed25519 AAAAC", "damaged"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key"),
    ],
)
def test_parse_public_key_invalid_line_is_refused(line: str, says: str) -> None:
    with pytest.raises(CommandError) as failed:
        user_ssh_keys.parse_public_key(line)
    assert says in failed.value.what
    assert "AAAA" not in failed.value.what


def test_add_key_patch_with_expiry_appends_the_key() -> None:
    patch = user_ssh_keys.add_key_patch({"sshPublicKeys": [A]}, "laptop", B + "\n", "90d", NOW)
    assert patch == {"sshKeys": [{"name": "laptop", "key": B, "expires": "2027-02-19T12:00:00Z"}]}
    assert (
        user_ssh_keys.add_key_patch(spec(), "x", A.replace("4f", "4i"), None, NOW)["sshKeys"][:2] == spec()["sshKeys"]
    )


@pytest.mark.parametrize(
    ("name", "key", "expires", "says"),
    [
        ("b", B.replace("4g", "4x"), None, "a key b already"),
        ("new", A, None, "there already"),
        ("new", B + " other comment", None, "there already, named b"),
        ("", C, None, "not a name"),
        ("../x", C, None, "not a name"),
        ("new", C.replace("4h", "4x"), "yesterday", "not a time"),
        ("new", C.replace("4h", "4x"), "2020-01-01", "has passed"),
        ("new", C.replace("4h", "4x"), "0d", "has passed"),
        ("new", C.replace("4h", "4x"), "99999d", None),
        ("new", C.replace("4h", "4x"), "2027-01-01T00:00:00", "not a time"),
    ],
)
def test_add_key_patch_invalid_key_is_refused(name: str, key: str, expires: str | None, says: str | None) -> None:
    if says is None:
        user_ssh_keys.add_key_patch(spec(), name, key, expires, NOW)
        return
    with pytest.raises(CommandError, match=says):
        user_ssh_keys.add_key_patch(spec(), name, key, expires, NOW)


def test_remove_key_patch_by_name_or_fingerprint_removes_every_copy() -> None:
    assert user_ssh_keys.remove_key_patch(spec(), "b", NOW) == {
        "sshPublicKeys": [A],
        "sshKeys": [{"name": "c", "key": C}],
    }
    fingerprint = user_ssh_keys.Key("", A).fingerprint
    assert user_ssh_keys.remove_key_patch(spec(), fingerprint, NOW)["sshPublicKeys"] == []
    both = {"sshPublicKeys": [B + " twice", A], "sshKeys": [{"name": "b", "key": B}]}
    assert user_ssh_keys.remove_key_patch(both, "b", NOW) == {"sshPublicKeys": [A], "sshKeys": []}


def test_remove_key_patch_last_key_is_refused() -> None:
    for last in ({"sshPublicKeys": [A]}, {"sshKeys": [{"name": "a", "key": A}], "sshPublicKeys": [A]}):
        with pytest.raises(CommandError, match="last key"):
            user_ssh_keys.remove_key_patch(last, user_ssh_keys.Key("", A).fingerprint, NOW)
    ended = {"sshPublicKeys": [A], "sshKeys": [{"name": "b", "key": B, "expires": "2026-01-01T00:00:00Z"}]}
    with pytest.raises(CommandError, match="last key"):
        user_ssh_keys.remove_key_patch(ended, user_ssh_keys.Key("", A).fingerprint, NOW)
    with pytest.raises(CommandError, match="no key 'x'"):
        user_ssh_keys.remove_key_patch(spec(), "x", NOW)


class OnePerson(BaseHTTPRequestHandler):
    """An API server that has ann with one key."""

    def do_GET(self) -> None:
        body = json.dumps(
            {"metadata": {"name": "ann", "resourceVersion": "1"}, "spec": {"sshPublicKeys": [A]}}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_keys_remove_last_key_names_user_suspend(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), OnePerson) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
        kubeconfig.write(tmp_path / "config", kubeconfig.document("x", cluster, {}))
        flags = {"user": "ann", "kubeconfig": str(tmp_path / "config")}
        with pytest.raises(CommandError) as refused:
            keys.keys_remove_command(
                Context(flags, None, {"HOME": str(tmp_path)}), user_ssh_keys.Key("", A).fingerprint
            )
        server.shutdown()
    assert "the last key" in refused.value.what
    assert "devctl user suspend ann" in refused.value.remedy


def test_expiry_warnings_name_keys_that_end_soon() -> None:
    soon = (NOW + timedelta(days=5, hours=1)).isoformat()
    found = user_ssh_keys.list_keys(spec(b=soon, c="2026-11-01T00:00:00Z"))
    lines = user_ssh_keys.expiry_warnings(found, NOW)
    assert len(lines) == 2
    assert "key b" in lines[0]
    assert "in 5 days" in lines[0]
    assert "key c" in lines[1]
    assert "ended on 2026-11-01" in lines[1]
    assert user_ssh_keys.expiry_warnings(user_ssh_keys.list_keys(spec(b="2027-06-01T00:00:00Z")), NOW) == []


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ([], ([], [])),
        (["nvidia-smi", "-L"], ([], ["nvidia-smi", "-L"])),
        (["-A", "-tt", "top"], (["-A", "-tt"], ["top"])),
        (["-A", "--", "-oProxyCommand=x"], (["-A"], ["-oProxyCommand=x"])),
    ],
)
def test_split_options_switches_and_command_are_separated(rest: list[str], found: tuple[list[str], list[str]]) -> None:
    assert from_bastion.split_options(rest) == found


@pytest.mark.parametrize(
    "option", ["-oProxyCommand=id", "-o", "-F", "-L8:x:8", "-D1", "-R1", "-E/x", "-S/x", "-I/x.so", "-J", "-W", "-w",
               "-tL", "--x", "-i", "-p22", "-l", "-Q", "-M", "-O", "-f", "-y", "-B", "-b", "-c", "-e", "-m"]
)  # fmt: skip
def test_split_options_dangerous_option_is_refused(option: str) -> None:
    with pytest.raises(CommandError, match="not possible on the bastion"):
        from_bastion.split_options([option, "x"])


def test_split_replica_takes_the_number_before_sshs_own_options() -> None:
    assert connect.split_replica("x", ["--replica", "0", "ls"]) == (0, ["ls"])
    assert connect.split_replica("x", ["--replica=0"]) == (0, [])
    assert connect.split_replica("x", ["--replica", "12", "-A"]) == (12, ["-A"])
    assert connect.split_replica("x", ["ls", "--replica", "1"]) == (0, ["ls", "--replica", "1"])
    for wrong in (["--replica"], ["--replica", "x"], ["--replica=-1"], ["--replica", "1" * 9]):
        with pytest.raises(CommandError, match="not a number"):
            connect.split_replica("x", wrong)


def test_replica_that_a_server_does_not_have_is_refused() -> None:
    standalone = {"metadata": {"name": "x"}, "spec": {}}
    distributed = {"metadata": {"name": "x"}, "spec": {"mode": "distributed", "distributed": {"replicas": 2}}}
    replicas.check_replica(standalone, 0)
    replicas.check_replica(distributed, 1)
    with pytest.raises(CommandError, match="replica 0 only"):
        replicas.check_replica(standalone, 1)
    with pytest.raises(CommandError, match="x has no replica 2: it has 2"):
        replicas.check_replica(distributed, 2)


@pytest.mark.parametrize(
    ("editor", "link"),
    [
        ("vscode", "vscode://vscode-remote/ssh-remote+mydev.devserver/home/dev/a%20b"),
        ("cursor", "cursor://vscode-remote/ssh-remote+mydev.devserver/home/dev/a%20b"),
        ("jetbrains", "jetbrains-gateway://connect#type=ssh&host=mydev.devserver&port=22&user=dev"
                      "&projectPath=%2Fhome%2Fdev%2Fa%20b&deploy=true"),
    ],
)  # fmt: skip
def test_editor_link_of_each_editor_names_host_and_folder(editor: str, link: str) -> None:
    assert editor_links.editor_link("mydev", editor, "/home/dev/a b") == link


def test_editor_link_unknown_editor_or_relative_folder_is_refused() -> None:
    with pytest.raises(CommandError, match="unknown"):
        editor_links.editor_link("mydev", "ed", "/")
    with pytest.raises(CommandError, match="absolute"):
        editor_links.editor_link("mydev", "vscode", "src")


def on_the_bastion(path: str, **flags: str) -> Context:
    return Context(flags, None, {"DEVCTL_BROKER": path, "DEVCTL_USER": "ann", "HOME": "/"})


@contextmanager
def broker(folder: Path, answer: str) -> Iterator[str]:
    """A socket that answers one request."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "broker"))
        server.listen()
        server.settimeout(30)

        def once() -> None:
            peer, _ = server.accept()
            server.close()  # whoever comes next is refused at once
            with peer:
                peer.recv(65536)
                peer.sendall(answer.encode() + b"\n")

        answering = threading.Thread(target=once)
        answering.start()
        yield str(folder / "broker")
        answering.join(30)


@pytest.mark.parametrize("word", ["/dev/zero", "/etc/passwd", "no-such-file", "x.pub", "~/x"])
def test_keys_add_file_on_the_bastion_is_refused(word: str) -> None:
    with pytest.raises(CommandError, match="the bastion has no file of yours"):
        keys.keys_add_command(on_the_bastion("/nowhere"), "laptop", word)


def test_read_public_key_only_regular_small_file_is_read(tmp_path: Path) -> None:
    fifo, long, good = tmp_path / "fifo", tmp_path / "long", tmp_path / "a.pub"
    os.mkfifo(fifo)
    long.write_text("# x\n" * 20000)
    good.write_text(f"# mine\n{A}\n")
    assert key_file.read_public_key(str(good), None) == A
    wrong = (("/dev/zero", "not a file"), (fifo, "not a file"), (tmp_path, "Is a directory"), (long, "too long"))
    for word, says in wrong:
        with pytest.raises(CommandError, match=says):
            key_file.read_public_key(str(word), None)


def test_keys_other_user_on_the_bastion_is_refused() -> None:
    other = on_the_bastion("/nowhere", user="bob")
    attempts: list[Callable[[], None]] = [
        lambda: keys.keys_remove_command(other, "laptop"),
        lambda: keys.keys_add_command(other, "laptop", A),
        lambda: keys.keys_list_command(other),
    ]
    for attempt in attempts:
        with pytest.raises(CommandError, match="your own keys only, not those of 'bob'"):
            attempt()
    with pytest.raises(CommandError, match="bastion"):  # the broker is away: that far it came
        keys.keys_remove_command(on_the_bastion("/nowhere", user="ann"), "laptop")


def test_keys_list_expiring_key_warns_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = f'{{"name": "b", "key": "{B}", "expires": "2026-01-01T00:00:00Z"}}'
    with broker(tmp_path, f'{{"spec": {{"sshKeys": [{ended}]}}}}') as path:
        keys.keys_list_command(on_the_bastion(path), "name")
    shown = capsys.readouterr()
    assert shown.out == "b\n"
    assert "Your key b" in shown.err
    assert "ended on 2026-01-01" in shown.err
    (tmp_path / "broker").unlink()
    with broker(tmp_path, f'{{"spec": {{"sshKeys": [{ended}]}}}}') as path, pytest.raises(CommandError):
        list_command(on_the_bastion(path))  # its second question nobody answers
    assert "Your key b" in capsys.readouterr().err
    account_keys.print_expiry_warnings(on_the_bastion("/nowhere"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "jumps"),
    [
        ("list", True),
        ("exec mydev -- df -h", True),
        ("exec mydev -- x --help --context y --user bob", True),
        ("exec mydev --help", False),
        ("-h list", False),
        ("list --context x", False),
        ("keys list", True),
        ("keys list -- --user bob", True),
        ("keys remove laptop --user ann", False),
        ("keys --user=bob list", False),
        ("--user bob keys list", False),
        ("--user bob list", True),
    ],
)
def test_run_on_bastion_is_decided_by_command_and_flags(
    words: str, jumps: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bastion that is no address: whoever would go there is told so."""
    monkeypatch.setattr(os, "environ", {"DEVCTL_BASTION": "a b", "DEVCTL_USER": "ann", "HOME": str(tmp_path)})
    try:
        remote_command.run_on_bastion(parse(words.split()))
    except CommandError as failure:
        assert jumps
        assert "is not an address" in failure.what
    else:
        assert not jumps


@pytest.mark.parametrize(("bits", "taken"), [(1024, False), (2047, False), (2048, True), (4096, True)])
def test_parse_public_key_short_rsa_key_is_refused(bits: int, taken: bool) -> None:
    parts = (b"ssh-rsa", b"\x01\x00\x01", b"\x00" + (1 << bits - 1).to_bytes((bits + 7) // 8, "big"))
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    line = f"ssh-rsa {base64.b64encode(blob).decode()} ann"
    # One that opens nothing is no other key that works.
    spec = {"sshPublicKeys": [A], "sshKeys": [{"name": "old", "key": line}]}
    assert len(user_ssh_keys.list_keys(spec)) == 1 + taken
    if taken:
        assert user_ssh_keys.parse_public_key(line) == line
        return
    with pytest.raises(CommandError, match="less than 2048 bits"):
        user_ssh_keys.parse_public_key(line)
    with pytest.raises(user_ssh_keys.LastKeyError):
        user_ssh_keys.remove_key_patch(spec, user_ssh_keys.list_keys(spec)[0].fingerprint, NOW)
