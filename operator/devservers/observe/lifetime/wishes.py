"""What becomes of a wish that somebody in the server asked for.

Invariant: a wish changes spec.lifecycle and nothing else, within the limits of flavor and user, and each wish once: the
patch that grants it records its id, and wishes come in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers_core.duration import format_duration
from devservers_core.protocol.agent.exchange import MAX_SECONDS
from devservers_core.protocol.agent.plan import WishAnswer
from devservers_core.protocol.agent.report import Wish
from devservers_core.types import Json

from ..times import format_time, whole_seconds
from .lifecycle import Decision

NO_REASON = "asked for in the server"
"""The reason of a hold that was asked for without one, as `devserver hold 1h` does."""


@dataclass(frozen=True, slots=True)
class WishDecision:
    """The answer to a wish, and the change of spec.lifecycle that grants it."""

    answer: WishAnswer
    patch: Json | None = None
    """A merge patch of spec.lifecycle; None for a refusal."""


def open_wishes(wishes: Sequence[Wish], answered: Sequence[str], recorded: str | None) -> list[Wish]:
    """The wishes without an answer. `recorded` is the last one that was granted, also by an earlier leader."""
    ids = [wish.id for wish in wishes]
    done = ids.index(recorded) + 1 if recorded in ids else 0
    return [wish for wish in wishes[done:] if wish.id not in answered]


def granted_before(wishes: Sequence[Wish], answered: Sequence[str], recorded: str | None) -> list[WishAnswer]:
    """Answers to the wishes up to the recorded one that this process has not answered.

    An earlier leader may have refused those before the recorded one.
    """
    ids = [wish.id for wish in wishes]
    done = ids.index(recorded) + 1 if recorded in ids else 0
    earlier = "Answered before; `devserver status` shows what is in force."
    messages = {wish.id: "Done." if wish.id == recorded else earlier for wish in wishes[:done]}
    return [WishAnswer(wish_id, True, text) for wish_id, text in messages.items() if wish_id not in answered]


def decide_wish(
    wish: Wish, server: DevServer, decision: Decision, extend_most: int, hold_most: int, now: datetime
) -> WishDecision:
    """What to do about `wish`; the limits are those in the plan."""
    if wish.kind == "release":
        if server.spec.lifecycle.hold is None:
            return _refused(wish, "There is no hold to release.")
        return _granted(wish, "The hold is released.", {"hold": None})
    if wish.seconds <= 0:
        return _refused(wish, f"{wish.kind} needs a duration above zero, like 2h.")
    length = timedelta(seconds=wish.seconds)
    if wish.kind == "hold":
        return _hold(wish, length, hold_most, now)
    end = decision.limits.end
    if end is None:
        return _refused(wish, "The server has no end that could be extended.")
    if wish.seconds > extend_most:
        most = timedelta(seconds=extend_most)
        allowed = f"at most {format_duration(most)} more" if extend_most else "no more"
        return _refused(wish, f"{decision.limits.latest_text} allows {allowed}.")
    try:
        until = whole_seconds(end + length)
    except OverflowError:
        return _refused(wish, "That is too far away.")
    return _granted(wish, f"It ends at {format_time(until)}.", {"extendUntil": format_time(until)})


def _hold(wish: Wish, length: timedelta, hold_most: int, now: datetime) -> WishDecision:
    if wish.seconds > hold_most:
        return _refused(wish, f"A hold may last at most {format_duration(timedelta(seconds=hold_most))} here.")
    if wish.seconds > MAX_SECONDS:
        return _refused(wish, "That is too far away.")
    reason = " ".join(wish.reason.split()) or NO_REASON
    until = format_time(now + length)
    return _granted(wish, f"It is held until {until}.", {"hold": {"until": until, "reason": reason}})


def _granted(wish: Wish, message: str, patch: Json) -> WishDecision:
    return WishDecision(WishAnswer(wish.id, True, message), {**patch, "wish": wish.id})


def _refused(wish: Wish, message: str) -> WishDecision:
    return WishDecision(WishAnswer(wish.id, False, message[:1].upper() + message[1:]))
