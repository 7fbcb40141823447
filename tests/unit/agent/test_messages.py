"""Messages of the operator's side (Python) and of the agent's side (Go), read by the other.

images/agent/internal/protocol/testdata holds one message of each side; protocol_test.go reads and writes the same.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devservers_core.duration import parse_duration
from devservers_core.errors import InvalidValueError
from devservers_core.names import MAX_VOLUMES
from devservers_core.protocol.agent.exchange import MAX_BYTES, MAX_REASON, MAX_SECONDS
from devservers_core.protocol.agent.plan import Hold, IdleRule, Plan, PlannedStop, WishAnswer
from devservers_core.protocol.agent.report import (
    MAX_LINES,
    MAX_RUNS,
    MAX_SETUP_STEPS,
    MAX_WISHES,
    Report,
    RunState,
    SetupStep,
    VolumeUse,
    Wish,
    parse_report,
)
from devservers_core.version import __version__

INTERNAL = Path(__file__).parents[3] / "images" / "agent" / "internal"
MESSAGES = INTERNAL / "protocol" / "testdata"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PLAN = Plan(
    pod_uid="0b3b6f2e-6b1c-4a53-9b55-6a3d8a1f2c4d",
    server="dev-ada/box",
    counter=1_790_000_000_123,
    stop=PlannedStop(1750, "idle", True, 120),
    idle=IdleRule(3600, 50, 5, 20000),
    extend_seconds=7200,
    hold_seconds=28800,
    hold=Hold(600, "a training of Müller's"),
    final=True,
    answers=(WishAnswer("0a1b2c3d", False, "at most 2h can be added <now> & later"),),
)


def test_plan_envelope_is_the_file_that_the_agent_reads() -> None:
    assert PLAN.envelope(KEY.sign).decode() == (MESSAGES / "plan.json").read_text().strip()
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert base64.b64encode(public).decode() == (MESSAGES / "agent.pub").read_text().strip()


def test_parse_report_reads_the_file_that_the_agent_writes() -> None:
    assert parse_report((MESSAGES / "report.json").read_bytes(), PLAN) == Report(
        counter=1_790_000_000_123,
        idle_seconds=95,
        source="ssh",
        signals={"terminal": 400, "ssh": 95, "cpu": 4000},
        wishes=(Wish("0a1b2c3d", "extend", 7200, ""), Wish("ffee0011", "hold", 600, "<Müller> & co")),
        oom_kills=3,
        volumes=(VolumeUse("/home/dev", 1 << 30, 20 << 30), VolumeUse("/data", 12345, None)),
        setup=(SetupStep("dotfiles", 0, 2), SetupStep("script", 124, 600)),
        runs=(
            RunState("big", "running", 0, False, 90, 90),
            RunState("run-20261130-193000", "ended", 137, True, 4000, 60),
        ),
        lines=("epoch 1", "epoch 2 – loss 0.1"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MaxBytes", MAX_BYTES),
        ("MaxLines", MAX_LINES),
        ("MaxSeconds", MAX_SECONDS),
        ("MaxWishes", MAX_WISHES),
        ("MaxSetupSteps", MAX_SETUP_STEPS),
        ("MaxRuns", MAX_RUNS),
        ("MaxReason", MAX_REASON),
        ("MaxVolumes", MAX_VOLUMES + 2),
    ],
)
def test_limits_of_the_agent_are_those_of_the_operator(name: str, value: int) -> None:
    lines = (INTERNAL / "protocol" / "plan.go").read_text().splitlines()
    (product,) = (line.split("=")[1].split("//")[0] for line in lines if line.split("=")[0].strip() == name)
    number = 1
    for factor in product.split("*"):
        number *= int(factor)
    assert number == value


def test_durations_of_the_agent_are_those_of_parse_duration() -> None:
    cases = json.loads((INTERNAL / "duration" / "testdata" / "durations.json").read_text())
    for text, seconds in cases["durations"].items():
        assert parse_duration(text) == timedelta(seconds=seconds)
    for text in cases["others"]:
        with pytest.raises(InvalidValueError):
            parse_duration(text)


def test_version_of_the_agent_is_the_project_s() -> None:
    assert f'const Version = "{__version__}"' in (INTERNAL / "lifecycle" / "lifecycle.go").read_text()
