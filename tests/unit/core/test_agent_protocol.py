"""The operator's messages to agents, and how their untrusted answers are read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers_core.protocol import ProtocolError
from devservers_core.protocol.agent.exchange import MAX_BYTES, MAX_SECONDS
from devservers_core.protocol.agent.plan import CONTEXT, Hold, IdleRule, Plan, PlannedStop, WishAnswer
from devservers_core.protocol.agent.report import Report, RunState, VolumeUse, Wish, parse_report

PLAN = Plan(
    pod_uid="6f1b",
    server="dev-ann/mydev",
    counter=7,
    stop=PlannedStop(840, "idle", deletes=False, grace_seconds=120),
    idle=IdleRule(3600, 100, 5, 600),
    extend_seconds=7200,
    hold_seconds=28800,
    hold=Hold(60, "evaluation"),
    answers=(WishAnswer("a1", True, "Extended by 2h."),),
)
ANSWER: dict[str, Any] = {"version": 1, "podUid": "6f1b", "counter": 7, "idleSeconds": 12, "source": "cpu"}


def parse(**changes: Any) -> Report:
    return parse_report(json.dumps(ANSWER | changes).encode(), PLAN)


def test_envelope_holds_the_plan_and_a_signature_of_its_text() -> None:
    signed: list[bytes] = []

    def sign(data: bytes) -> bytes:
        signed.append(data)
        return b"signature"

    envelope = json.loads(PLAN.envelope(sign))
    assert signed == [CONTEXT + envelope["plan"].encode()]
    assert base64.b64decode(envelope["signature"]) == b"signature"
    assert json.loads(envelope["plan"]) == {
        "version": 1,
        "podUid": "6f1b",
        "server": "dev-ann/mydev",
        "counter": 7,
        "stop": {"inSeconds": 840, "reason": "idle", "deletes": False, "gracePeriodSeconds": 120},
        "final": False,
        "idle": {"timeoutSeconds": 3600, "cpuMillicores": 100, "gpuPercent": 5, "sshBytesPerMinute": 600},
        "limits": {"extendSeconds": 7200, "holdSeconds": 28800},
        "hold": {"secondsLeft": 60, "reason": "evaluation"},
        "answers": [{"id": "a1", "accepted": True, "message": "Extended by 2h."}],
    }


RUN: dict[str, Any] = {
    "name": "big",
    "state": "ended",
    "exitCode": 3,
    "canceled": False,
    "startedAgo": 60,
    "seconds": 5,
}


def test_report_with_every_field_is_read() -> None:
    report = parse(
        signals={"terminal": 3, "gpu": None, "later": 1},
        wishes=[{"id": "w1", "kind": "hold", "seconds": 60, "reason": "a\x1b[2Jb"}],
        oomKills=2,
        volumes=[{"path": "/home/dev", "usedBytes": 5, "sizeBytes": 10}],
        setup=[{"step": "dotfiles", "exitCode": 1, "seconds": 4}],
        runs=[RUN, {"name": "a\x1b[2J", "state": "running", "startedAgo": 1, "seconds": 1}],
        lines=["one"],
    )
    assert report.idle_seconds == 12
    assert report.signals == {"terminal": 3}
    assert report.wishes == (Wish("w1", "hold", 60, "a [2Jb"),)
    assert report.volumes == (VolumeUse("/home/dev", 5, 10),)
    assert report.runs == (RunState("big", "ended", 3, False, 60, 5), RunState("a [2J", "running", 0, False, 1, 1))
    assert (report.oom_kills, report.setup[0].exit_code, report.lines) == (2, 1, ("one",))


def test_report_with_an_unreadable_source_has_no_idle_time() -> None:
    assert parse(unreadable=["ssh"]).idle_seconds is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has not version 1"),
        ({"podUid": "other"}, "another pod's"),
        ({"counter": 6}, "answers another plan"),
        ({"idleSeconds": -1}, "idleSeconds is not a whole number"),
        ({"idleSeconds": MAX_SECONDS + 1}, "idleSeconds is not a whole number"),
        ({"idleSeconds": True}, "idleSeconds is not a whole number"),
        ({"idleSeconds": 1.5}, "idleSeconds is not a whole number"),
        ({"source": "mouse"}, "source is none of"),
        ({"source": ["cpu"]}, "source is none of"),
        ({"signals": [1]}, "signals is not an object"),
        ({"signals": {"cpu": "x"}}, "signals is not a whole number"),
        ({"wishes": [{}] * 9}, "wishes is not a list of at most 8"),
        ({"wishes": [{"id": "a", "kind": "stop"}]}, "wishes.kind is none of"),
        ({"wishes": [{"id": "a" * 33, "kind": "hold"}]}, "wishes.id is not a text"),
        ({"lines": ["x"] * 101}, "lines is not a list of at most 100"),
        ({"lines": [1]}, "lines is not a text"),
        ({"volumes": {"path": "/"}}, "volumes is not a list"),
        ({"volumes": [{"path": "/", "usedBytes": 2**61}]}, "volumes.usedBytes is not a whole number"),
        ({"setup": ["x"]}, "setup is not an object"),
        ({"runs": [RUN] * 11}, "runs is not a list of at most 10"),
        ({"runs": [RUN | {"name": "x" * 64}]}, "runs.name is not a text"),
        ({"runs": [RUN | {"state": "asleep"}]}, "runs.state is none of"),
        ({"runs": [RUN | {"exitCode": 256}]}, "runs.exitCode is not a whole number"),
        ({"runs": [RUN | {"startedAgo": None}]}, "runs.startedAgo is not a whole number"),
        ({"unreadable": ["moon"]}, "unreadable is none of"),
    ],
)
def test_report_with_a_bad_field_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(**changes)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 10000, b" " * (MAX_BYTES + 1)])
def test_report_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_report(body, PLAN)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)
FIELDS = ("idleSeconds", "source", "signals", "unreadable", "wishes", "oomKills", "volumes", "setup", "runs", "lines")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_report_of_any_json_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        parse(**changes)
    except ProtocolError as error:
        assert "\n" not in str(error)
