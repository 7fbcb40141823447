"""Keys: what is taken for one, and that nobody locks themselves out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devctl import editors, hop, keyring, openssh
from devctl.errors import Failure
from devservers.api import user

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@laptop"
B = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g"
C = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4h"


def spec(**ends: str) -> dict[str, Any]:
    named = [{"name": "b", "key": B}, {"name": "c", "key": C}]
    return {"sshPublicKeys": [A], "sshKeys": [{**k, **({"expires": ends[k["name"]]} if k["name"] in ends else {})}
                                              for k in named]}  # fmt: skip


def test_types_are_the_apis() -> None:
    assert keyring.KEY_TYPES == user.KEY_TYPES


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
def test_what_is_no_key(line: str, says: str) -> None:
    with pytest.raises(Failure) as failed:
        keyring.read(line)
    assert says in failed.value.what and "AAAA" not in failed.value.what


def test_a_key_is_added_with_its_end() -> None:
    patch = keyring.added({"sshPublicKeys": [A]}, "laptop", B + "\n", "90d", NOW)
    assert patch == {"sshKeys": [{"name": "laptop", "key": B, "expires": "2027-02-19T12:00:00Z"}]}
    assert keyring.added(spec(), "x", A.replace("4f", "4i"), None, NOW)["sshKeys"][:2] == spec()["sshKeys"]


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
def test_what_cannot_be_added(name: str, key: str, expires: str | None, says: str | None) -> None:
    if says is None:
        keyring.added(spec(), name, key, expires, NOW)
        return
    with pytest.raises(Failure, match=says):
        keyring.added(spec(), name, key, expires, NOW)


def test_a_key_is_removed_by_name_or_fingerprint_wherever_it_stands() -> None:
    assert keyring.removed(spec(), "b", NOW) == {"sshPublicKeys": [A], "sshKeys": [{"name": "c", "key": C}]}
    fingerprint = keyring.Key("", A).fingerprint
    assert keyring.removed(spec(), fingerprint, NOW)["sshPublicKeys"] == []
    both = {"sshPublicKeys": [B + " twice", A], "sshKeys": [{"name": "b", "key": B}]}
    assert keyring.removed(both, "b", NOW) == {"sshPublicKeys": [A], "sshKeys": []}


def test_the_last_key_stays() -> None:
    for last in ({"sshPublicKeys": [A]}, {"sshKeys": [{"name": "a", "key": A}], "sshPublicKeys": [A]}):
        with pytest.raises(Failure, match="last key"):
            keyring.removed(last, keyring.Key("", A).fingerprint, NOW)
    ended = {"sshPublicKeys": [A], "sshKeys": [{"name": "b", "key": B, "expires": "2026-01-01T00:00:00Z"}]}
    with pytest.raises(Failure, match="last key"):
        keyring.removed(ended, keyring.Key("", A).fingerprint, NOW)
    with pytest.raises(Failure, match="no key 'x'"):
        keyring.removed(spec(), "x", NOW)


def test_what_ends_soon_is_said() -> None:
    soon = (NOW + timedelta(days=5, hours=1)).isoformat()
    found = keyring.keys(spec(b=soon, c="2026-11-01T00:00:00Z"))
    lines = keyring.ending(found, NOW)
    assert len(lines) == 2
    assert "key b" in lines[0] and "in 5 days" in lines[0]
    assert "key c" in lines[1] and "ended on 2026-11-01" in lines[1]
    assert keyring.ending(keyring.keys(spec(b="2027-06-01T00:00:00Z")), NOW) == []


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ([], ([], [])),
        (["nvidia-smi", "-L"], ([], ["nvidia-smi", "-L"])),
        (["-A", "-tt", "top"], (["-A", "-tt"], ["top"])),
        (["-A", "--", "-oProxyCommand=x"], (["-A"], ["-oProxyCommand=x"])),
    ],
)
def test_ssh_on_the_bastion_takes_switches_and_a_command(rest: list[str], found: tuple[list[str], list[str]]) -> None:
    assert hop.permitted(rest) == found


@pytest.mark.parametrize(
    "option", ["-oProxyCommand=id", "-o", "-F", "-L8:x:8", "-D1", "-R1", "-E/x", "-S/x", "-I/x.so", "-J", "-W", "-w",
               "-tL", "--x", "-i", "-p22", "-l", "-Q", "-M", "-O", "-f", "-y", "-B", "-b", "-c", "-e", "-m"]
)  # fmt: skip
def test_ssh_on_the_bastion_takes_nothing_that_reads_opens_or_starts(option: str) -> None:
    with pytest.raises(Failure, match="not possible on the bastion"):
        hop.permitted([option, "x"])


def test_replicas() -> None:
    assert openssh.replica("x", ["--replica", "0", "ls"]) == ["ls"]
    assert openssh.replica("x", ["--replica=0"]) == []
    assert openssh.replica("x", ["ls", "--replica", "1"]) == ["ls", "--replica", "1"]
    with pytest.raises(Failure, match="replica 0 only"):
        openssh.replica("x", ["--replica", "1"])
    for wrong in (["--replica"], ["--replica", "x"], ["--replica=-1"]):
        with pytest.raises(Failure, match="not a number"):
            openssh.replica("x", wrong)


@pytest.mark.parametrize(
    ("editor", "link"),
    [
        ("vscode", "vscode://vscode-remote/ssh-remote+mydev.devserver/home/dev/a%20b"),
        ("cursor", "cursor://vscode-remote/ssh-remote+mydev.devserver/home/dev/a%20b"),
        ("jetbrains", "jetbrains-gateway://connect#type=ssh&host=mydev.devserver&port=22&user=dev"
                      "&projectPath=%2Fhome%2Fdev%2Fa%20b&deploy=true"),
    ],
)  # fmt: skip
def test_links_of_editors(editor: str, link: str) -> None:
    assert editors.link("mydev", editor, "/home/dev/a b") == link


def test_an_unknown_editor_is_refused() -> None:
    with pytest.raises(Failure, match="unknown"):
        editors.link("mydev", "ed", "/")
    with pytest.raises(Failure, match="absolute"):
        editors.link("mydev", "vscode", "src")
