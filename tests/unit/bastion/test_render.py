"""Whatever is in a DevServerUser, the files say only what they may, and each person's only about that person."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.accounts.render import Rendered, render
from bastion.paths import GROUP
from devservers_core.grammar import USER_NAME, USER_NAME_MAX, fits
from devservers_core.names import FIRST_UID
from devservers_core.ssh_keys import InvalidKeyError, parse
from tests.support.bastion.accounts import key, person
from tests.support.cluster.crd_tables import ACCEPTED, EXAMPLES, REFUSED

SHELL = "/usr/local/bin/devctl-session"


BAD_NAMES = ("", "a", "A", "a/b", "..", "a\nb", "ann:x", "ä", 7, "x" * 10240)


def server(name: Any, namespace: Any) -> dict[str, Any]:
    """A DevServer."""
    return {"metadata": {"name": name, "namespace": namespace}}


def lines(rendered: Rendered, user: str) -> list[str]:
    """A person's authorized keys."""
    return rendered.files[f"keys/{user}"].splitlines()


def test_render_of_two_users_gives_their_files() -> None:
    people = [person("bob", 20001, sshPublicKeys=[key(2) + " bob@laptop"]), person("ann")]
    found = render(people, [server("mydev", "dev-ann"), server("big", "dev-ann")], SHELL)
    assert found.problems == ()
    assert found.files["passwd"] == f"ann:x:20000:20000::/:{SHELL}\nbob:x:20001:20001::/:{SHELL}\n"
    assert found.files["shadow"] == "ann:*:19000:0:99999:7:::\nbob:*:19000:0:99999:7:::\n"
    assert found.files["group"] == "devservers-users:x:19999:ann,bob\nann:x:20000:\nbob:x:20001:\n"
    ways = 'permitopen="big.dev-ann.svc.cluster.local:22",permitopen="mydev.dev-ann.svc.cluster.local:22"'
    assert lines(found, "ann") == [f"restrict,pty,agent-forwarding,port-forwarding,{ways} {key(1)}"]
    # Without a server there is no way at all, not every way.
    assert lines(found, "bob") == [f"restrict,pty,agent-forwarding {key(2)}"]
    assert json.loads(found.files["access.json"])["bob"]["keys"] == {parse(key(2)).fingerprint: None}


def test_render_of_a_key_listed_twice_uses_its_earliest_end() -> None:
    named = [
        {"name": "a", "key": key(1) + " x", "expires": "2028-01-01T00:00:00Z"},
        {"name": "b", "key": key(1), "expires": "2027-01-01T01:00:00.5+01:00"},
        {"name": "c", "key": key(3)},
    ]
    found = render([person("ann", sshKeys=named)], [], SHELL)
    base = "restrict,pty,agent-forwarding"
    assert lines(found, "ann") == [f'{base},expiry-time="20261231235959Z" {key(1)}', f"{base} {key(3)}"]
    ends = json.loads(found.files["access.json"])["ann"]["keys"]
    assert ends == {parse(key(1)).fingerprint: "2027-01-01T00:00:00Z", parse(key(3)).fingerprint: None}


def test_render_of_an_end_before_1970_keeps_other_users() -> None:
    first = [{"name": "a", "key": key(1), "expires": "0001-01-01T00:00:00Z"}]
    found = render([person("ann", sshKeys=first), person("bob", 20001)], [], SHELL)
    assert 'expiry-time="19700101235959Z"' in lines(found, "ann")[0]
    assert len(lines(found, "bob")) == 1


@pytest.mark.parametrize(
    "end", ["tomorrow", "", 7, "2027-01-01T00:00:00", "9999-99-99", "0001-01-01T00:00:00+23:59", ["x"]]
)
def test_render_of_a_key_with_an_unreadable_end_leaves_it_out(end: object) -> None:
    found = render([person("ann", sshPublicKeys=[], sshKeys=[{"name": "a", "key": key(1), "expires": end}])], [], SHELL)
    assert lines(found, "ann") == []
    assert found.problems == ('ann\'s key "a" is left out: its end is not a time',)


def test_render_of_a_suspended_user_gives_an_account_without_keys() -> None:
    found = render([person("ann", suspended=True)], [], SHELL)
    assert found.accounts == 1
    assert lines(found, "ann") == []


@pytest.mark.parametrize(
    ("user", "why"),
    [
        (person("root"), "this name is reserved"),
        (person("kube-system"), "this name is reserved"),
        (person(GROUP), "this name is reserved"),
        (person("ann") | {"spec": {"username": "bob"}}, "spec.username is another name"),
        (person("ann", None), "the operator has not given it a uid yet"),
        *((person("ann", uid), "is not a person's") for uid in (0, 1, 19999, -1, 2**31, 65534, "20000", True, 2e4)),
        *((person(name), "is not a user name") for name in BAD_NAMES),
        ({}, "is not a user name"),
        ({"metadata": None, "spec": [], "status": "x"}, "is not a user name"),
    ],
)  # fmt: skip
def test_render_of_an_invalid_user_gives_no_account(user: dict[str, Any], why: str) -> None:
    found = render([user, person("zoe", 20009)], [], SHELL)
    assert found.accounts == 1
    assert "keys/zoe" in found.files
    assert len(found.problems) == 1
    assert why in found.problems[0]
    assert "\n" not in found.problems[0]
    assert len(found.problems[0]) < 200


def test_render_of_two_users_with_one_uid_keeps_the_elder() -> None:
    younger = person("aaa", 20000)
    younger["metadata"]["creationTimestamp"] = "2026-05-01T00:00:00Z"
    found = render([younger, person("zoe", 20000)], [], SHELL)
    assert found.files["passwd"].startswith("zoe:")
    assert found.problems == ("aaa has no account: uid 20000 is zoe's",)


def test_render_of_a_shared_key_opens_both_accounts_and_is_reported() -> None:
    found = render([person("ann"), person("eve", 20001)], [], SHELL)
    assert lines(found, "ann") == lines(found, "eve")
    assert found.problems == (f"one key opens 2 accounts (ann, eve): {parse(key(1)).fingerprint}",)


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("mydev", "dev-bob"), ("mydev", "default"), ("mydev", "ann"), ('my"dev', "dev-ann"), ("a", "dev-ann"), (None, 3)],
)
def test_render_allows_tunnels_to_the_users_own_servers_only(name: object, namespace: object) -> None:
    found = render([person("ann")], [server(name, namespace)], SHELL)
    assert lines(found, "ann") == [f"restrict,pty,agent-forwarding {key(1)}"]


@pytest.mark.parametrize(
    "line",
    [
        "", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAA", 7, None, ["x"], f"\n{key(1)}", f"{key(1)}\n{key(2)}",
        f'command="id" {key(1)}', f"permitopen=* {key(1)}", f" {key(1)}", key(1).replace("ssh-ed25519", "ssh-rsa"),
        key(1) + "A" * 9000, "ssh-ed25519 " + key(1, "ssh-rsa").split()[1], "cert-authority ssh-ed25519 AAAA", "ä",
    ],
)  # fmt: skip
def test_render_of_an_invalid_key_keeps_the_users_other_keys(line: object) -> None:
    with pytest.raises(InvalidKeyError):
        parse(line)
    found = render([person("ann", sshPublicKeys=[line, key(2) + ' expiry-time="1" restrict'])], [], SHELL)
    assert lines(found, "ann") == [f"restrict,pty,agent-forwarding {key(2)}"]
    assert found.problems[0].startswith("ann's key number 1 is left out: ")


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.just("x" * 10240),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
_name = (
    st.sampled_from(["ann", "root", "../ann", "a\nb", "%n$(id)", "ann:x:0:0", "0", "ännchen", "x" * 10240]) | st.text()
)
_named = st.fixed_dictionaries({"key": st.just(key(8)) | _anything, "expires": _anything})
_user = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"name": _name | _anything}) | _anything,
        "spec": st.fixed_dictionaries(
            {
                "username": _name,
                "sshPublicKeys": st.lists(st.just(key(7)) | st.text() | _anything, max_size=4) | _anything,
                "sshKeys": st.lists(_named, max_size=3),
            }
        ),
        "status": st.fixed_dictionaries({"uid": st.integers() | _anything}) | _anything,
    }
) | st.dictionaries(st.text(max_size=10), _anything, max_size=3)  # fmt: skip


@given(
    st.lists(_user, max_size=4), st.lists(st.builds(server, _name | _anything, _name | st.just("dev-zoe")), max_size=4)
)
def test_render_of_any_objects_never_touches_other_users_files(users: list[Any], servers: list[Any]) -> None:
    zoe = person("zoe", 20999)
    zoe["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    alone = render([zoe], servers, SHELL)
    found = render([*users, zoe], servers, SHELL)
    assert found.files["keys/zoe"] == alone.files["keys/zoe"]
    accounts = [line.split(":") for line in found.files["passwd"].splitlines()]
    assert ["zoe", "x", "20999", "20999", "", "/", SHELL] in accounts
    assert all(
        len(each) == 7 and fits(each[0], USER_NAME, USER_NAME_MAX) and int(each[2]) >= FIRST_UID for each in accounts
    )
    assert {name for name in found.files if name.startswith("keys/")} == {f"keys/{each[0]}" for each in accounts}
    option = r'(?:,(?:port-forwarding|permitopen="[a-z0-9.-]+:22"|expiry-time="\d{14}Z"))*'
    for name, text in found.files.items():
        assert text.isascii()
        if name.startswith("keys/"):
            for each in text.splitlines():
                assert re.fullmatch(rf"restrict,pty,agent-forwarding{option} [a-z0-9@.-]+ [A-Za-z0-9+/]+=*", each)
    assert all("\n" not in problem for problem in found.problems)


@pytest.mark.parametrize("row", [row for row in REFUSED if row[3].startswith("not an OpenSSH public key")])
def test_render_refuses_the_keys_that_the_api_refuses(row: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidKeyError):
        parse(row[2])


def test_render_reads_the_example_of_the_api() -> None:
    example = {**EXAMPLES["DevServerUser"], "status": {"uid": 20000}}
    assert render([example], [], SHELL).accounts == 1
    assert ACCEPTED


@pytest.mark.parametrize(("keys", "servers", "kept"), [(64, 1000, 64), (4, 1000, 1000), (1, 1001, 1000), (0, 3, 3)])
def test_render_limits_keys_times_servers(keys: int, servers: int, kept: int) -> None:
    names = [f"s{number:04}" for number in range(servers)]
    things = [{"metadata": {"name": name, "namespace": "dev-ann"}} for name in names]
    found = render([person("ann", 20000, sshPublicKeys=[key(n) for n in range(keys)])], things, "/session")
    assert found.files["keys/ann"].count("permitopen") == keys * kept
    left_out = f"no tunnel leads to the last {servers - kept}, from " + (f'"{names[kept]}"' if kept < servers else "")
    assert [left_out in problem for problem in found.problems] == ([True] if kept < servers else [])
