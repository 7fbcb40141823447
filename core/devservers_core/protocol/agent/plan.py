"""The signed plan that the operator sends to an agent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from devservers_core.protocol.agent.exchange import VERSION
from devservers_core.types import Json

CONTEXT = b"devservers-agent-plan-v1\n"
"""Signed before the plan's text, so that no other message is taken for a plan."""


@dataclass(frozen=True)
class PlannedStop:
    """An end that is planned, as the agent announces it."""

    in_seconds: int
    """From now; 0 and less is now."""
    reason: str
    deletes: bool
    """Whether the server is deleted, and not only stopped."""
    grace_seconds: int

    def message(self) -> Json:
        """As it is sent."""
        return {
            "inSeconds": self.in_seconds,
            "reason": self.reason,
            "deletes": self.deletes,
            "gracePeriodSeconds": self.grace_seconds,
        }


@dataclass(frozen=True)
class IdleRule:
    """From when on a server counts as idle."""

    timeout_seconds: int | None
    """None where idleness stops nothing."""
    cpu_millicores: int
    gpu_percent: int
    ssh_bytes_per_minute: int

    def message(self) -> Json:
        """As it is sent."""
        return {
            "timeoutSeconds": self.timeout_seconds,
            "cpuMillicores": self.cpu_millicores,
            "gpuPercent": self.gpu_percent,
            "sshBytesPerMinute": self.ssh_bytes_per_minute,
        }


@dataclass(frozen=True)
class Hold:
    """A hold in force."""

    seconds_left: int
    reason: str

    def message(self) -> Json:
        """As it is sent."""
        return {"secondsLeft": self.seconds_left, "reason": self.reason}


@dataclass(frozen=True)
class WishAnswer:
    """What the operator made of a wish."""

    id: str
    accepted: bool
    message: str
    """One sentence for the person who asked."""

    def to_message(self) -> Json:
        """As it is sent."""
        return {"id": self.id, "accepted": self.accepted, "message": self.message}


@dataclass(frozen=True)
class Plan:
    """What is planned for one server."""

    pod_uid: str
    server: str
    """namespace/name."""
    counter: int
    """Greater than that of every plan before for the same pod."""
    stop: PlannedStop | None
    idle: IdleRule
    extend_seconds: int
    """The most that a wish may extend the end by now."""
    hold_seconds: int
    """The most that a hold may last."""
    hold: Hold | None = None
    final: bool = False
    """Whether the server stops now: the report then carries the last lines of output."""
    answers: tuple[WishAnswer, ...] = ()

    def text(self) -> str:
        """The text that is signed."""
        return json.dumps(
            {
                "version": VERSION,
                "podUid": self.pod_uid,
                "server": self.server,
                "counter": self.counter,
                "stop": self.stop.message() if self.stop else None,
                "final": self.final,
                "idle": self.idle.message(),
                "limits": {"extendSeconds": self.extend_seconds, "holdSeconds": self.hold_seconds},
                "hold": self.hold.message() if self.hold else None,
                "answers": [answer.to_message() for answer in self.answers],
            },
            separators=(",", ":"),
        )

    def envelope(self, sign: Callable[[bytes], bytes]) -> bytes:
        """The body of the request; `sign` makes an Ed25519 signature (RFC 8032)."""
        text = self.text()
        signature = base64.b64encode(sign(CONTEXT + text.encode())).decode()
        return json.dumps({"plan": text, "signature": signature}, separators=(",", ":")).encode()
