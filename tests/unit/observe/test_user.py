"""A user's status, and the Event on a namespace that outlives its user."""

from __future__ import annotations

import pytest

from devservers.api.user import DevServerUser
from devservers.observe.user import namespace_kept_event, observe, previous_status
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, ready, stamp, user


@pytest.mark.parametrize(
    ("spec", "uid", "error", "phase", "value"),
    [
        ({}, 20000, None, "Active", "True"),
        ({"suspended": True}, 20000, None, "Suspended", "False"),
        ({}, None, None, "Failed", "False"),
        ({"suspended": True}, 20000, "the namespace is being deleted", "Failed", "False"),
    ],
)
def test_observe_phase_by_suspension_uid_and_error(
    spec: Json, uid: int | None, error: str | None, phase: str, value: str
) -> None:
    status = observe(user(**spec), uid, at(5), error)
    assert (status["phase"], ready(status)["status"]) == (phase, value)
    assert status["uid"] == 20000
    assert (status["namespace"], status["observedGeneration"]) == ("dev-ann", 3)
    assert error is None or error in ready(status)["message"]


def test_observe_without_a_change_equals_the_previous_status() -> None:
    status = observe(user(), 20000, at(5))
    known = DevServerUser.parse({**user().manifest(), "status": status})
    assert observe(known, 20000, at(500)) == status == previous_status(known)
    assert ready(status)["lastTransitionTime"] == stamp(5)


def test_namespace_kept_event_names_the_claims() -> None:
    claims = [{"metadata": {"name": f"home-{index}"}} for index in range(7, 0, -1)]
    event = namespace_kept_event("dev-ann", claims)
    assert "home-1, home-2, home-3, home-4, home-5 and 2 more" in event.message
    assert namespace_kept_event("dev-ann", claims[:1]).message.count("home-7") == 1


def test_observe_unknown_flavors_is_a_condition_and_stays_active() -> None:
    status = observe(user(), 20000, at(5), unknown_flavors=["cpu-smal"])
    found = next(each for each in status["conditions"] if each["type"] == "FlavorsFound")
    assert (status["phase"], found["status"], found["reason"]) == ("Active", "False", "FlavorNotFound")
    assert found["message"].startswith("There is no flavor cpu-smal. ")
