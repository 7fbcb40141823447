"""Tests `devctl user set`: what it writes, and whom it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

USERS = "/apis/devservers.io/v1/devserverusers"


def put_user(api: ApiServer, **spec: Any) -> None:
    api.put(f"{USERS}/bob", spec={"username": "bob", **spec}, metadata={"annotations": {"devservers.io/stack": "dev"}})


def spec(api: ApiServer) -> dict[str, Any]:
    return dict(api.objects[f"{USERS}/bob"]["spec"])


def test_user_set_changes_the_named_fields_only(api: ApiServer, devctl: Run) -> None:
    put_user(api, quota={"gpu": 4, "cpu": "16"}, email="b@example.org", managedBy="command")
    done = devctl("user", "set", "bob", "--gpus", "8", "--memory", "64Gi", "--max-time", "5d")
    ((method, path, body),) = api.writes
    assert (method, path) == ("PATCH", f"{USERS}/bob")
    assert body == {
        "metadata": {"resourceVersion": "1"},
        "spec": {"quota": {"gpu": 8, "memory": "64Gi"}, "lifecycle": {"maxTimeToLive": "5d"}},
    }
    assert api.queries == [{"fieldValidation": "Strict"}]
    assert "bob: gpus 4 -> 8, memory (unset) -> 64Gi, max-time (unset) -> 5d" in done.stderr
    assert spec(api)["quota"] == {"gpu": 8, "cpu": "16", "memory": "64Gi"}


@pytest.mark.parametrize("words", [("--gpus", "", "--email", ""), ("--unset", "gpus", "--unset", "email")])
def test_user_set_empty_value_and_unset_remove_a_field(api: ApiServer, devctl: Run, words: tuple[str, ...]) -> None:
    put_user(api, quota={"gpu": 4, "cpu": "16"}, email="b@example.org")
    devctl("user", "set", "bob", *words)
    assert spec(api) == {"username": "bob", "quota": {"cpu": "16"}}


def test_user_set_same_values_write_nothing(api: ApiServer, devctl: Run) -> None:
    put_user(api, quota={"gpu": 4})
    assert "bob is so already; nothing was changed" in devctl("user", "set", "bob", "--gpus", "4").stderr
    assert api.writes == []


def test_user_set_of_two_at_once_is_tried_again(api: ApiServer, devctl: Run) -> None:
    """The other one's change made another version, so the API server refuses the first write."""
    put_user(api, quota={"gpu": 4})
    api.refuse("PATCH", f"{USERS}/bob", (409, "the object has been modified"), (200, ""))
    devctl("user", "set", "bob", "--gpus", "8")
    assert spec(api)["quota"] == {"gpu": 8}
    api.refuse("PATCH", f"{USERS}/bob", (409, "the object has been modified"))
    assert "somebody else keeps changing bob" in devctl("user", "set", "bob", "--gpus", "9", code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing to change is named"),
        (["--gpus", "4", "--unset", "gpus"], 2, "contradict each other"),
        (["--unset", "username"], 6, "there is no field 'username'"),
        (["--gpus", "many"], 6, "gpus: 'many' is not a number"),
        (["--gpus", "-1"], 6, "gpus: '-1' is not a number"),
        (["--memory", "lots"], 6, "memory: "),
        (["--cpu", "-4"], 6, "cpu: '-4' is below zero"),
        (["--max-time", "1h1d"], 6, "max-time: '1h1d' is not a duration"),
        (["--max-hold", "0s"], 6, "max-hold: '0s' is not a duration"),
        (["--time-zone", "Mars/Base"], 6, "time-zone: there is no time zone 'Mars/Base'"),
        (["--time-zone", "../etc"], 6, "time-zone: '../etc' is not a time zone"),
        (["--email", "bob"], 6, "email: 'bob' is not an e-mail address"),
        (["--flavors", "cpu-smal"], 6, "did you mean cpu-small?"),
    ],
)
def test_user_set_bad_input_changes_nothing(
    api: ApiServer, devctl: Run, words: list[str], code: int, says: str
) -> None:
    put_user(api)
    assert says in devctl("user", "set", "bob", *words, code=code).stderr
    assert api.writes == []


@pytest.mark.parametrize(
    ("manager", "place"),
    [("stack", "`users` in stacks/Pulumi.dev.yaml"), ("identity", "the groups of your identity provider")],
)
def test_user_set_user_of_another_source_is_refused_with_the_place(
    api: ApiServer, devctl: Run, manager: str, place: str
) -> None:
    put_user(api, managedBy=manager)
    said = devctl("user", "set", "bob", "--gpus", "1", code=6).stderr
    assert "bob is managed by" in said
    assert f"edit {place}, or `devctl user set bob --take-over ...`" in said
    assert api.writes == []


def test_user_set_take_over_makes_the_user_the_commands_own(api: ApiServer, devctl: Run) -> None:
    put_user(api, managedBy="stack", quota={"gpu": 1})
    said = devctl("user", "set", "bob", "--gpus", "2", "--take-over").stderr
    assert spec(api) == {"username": "bob", "managedBy": "command", "quota": {"gpu": 2}}
    assert "bob is still in `users` in stacks/Pulumi.dev.yaml: `pulumi up` refuses the next change there" in said
    said = devctl("user", "set", "bob", "--take-over").stderr
    assert "nothing was changed" in said


def test_user_set_field_that_the_platform_does_not_know_is_named(api: ApiServer, devctl: Run) -> None:
    put_user(api)
    api.refuse("PATCH", f"{USERS}/bob", (400, 'strict decoding error: unknown field "spec.lifecycle"'))
    said = devctl("user", "set", "bob", "--max-hold", "1d", code=1).stderr
    assert "the platform doesn't know a field of this change of bob: strict decoding error: unknown field" in said


def test_user_set_unknown_user_is_not_found(api: ApiServer, devctl: Run) -> None:
    assert "there is no user zoe" in devctl("user", "set", "zoe", "--gpus", "1", code=3).stderr
