"""Tests times of day and lengths of time on the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from devctl.command_line import parse as parse_line
from devctl.config import Config
from devctl.context import Context
from devctl.resources.lifecycle import until
from devctl.resources.lifecycle.zone import time_zone
from devctl.ssh.bastion import remote_command
from devservers_core.errors import CommandError
from tests.support.cli.api_server import ApiServer

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's zone is Europe/Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("2h30m", 9000), ("1d", 86400)])
def test_parse_duration_is_a_length(text: str, seconds: int) -> None:
    limit = until.parse(text, "--time", BERLIN, NOON)
    assert (limit.seconds, limit.at) == (seconds, None)
    assert limit.end(NOON) == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("until 18:00", NOON, "2026-11-30T17:00:00Z"),
        ("until  9:05", NOON, "2026-12-01T08:05:00Z"),
        # 12:00 UTC is 13:00 there: the very minute is over.
        ("until 13:00", NOON, "2026-12-01T12:00:00Z"),
        ("until 2026-12-24T18:00:00+01:00", NOON, "2026-12-24T17:00:00Z"),
        ("until 2026-12-24T18:00", NOON, "2026-12-24T17:00:00Z"),
        # The night in which the clocks go back by an hour.
        ("until 08:00", datetime(2026, 10, 24, 20, 0, tzinfo=UTC), "2026-10-25T07:00:00Z"),
    ],
)
def test_parse_time_of_day_is_the_next_one_in_the_zone(text: str, now: datetime, expected: str) -> None:
    at = until.parse(text, "--time", BERLIN, now).at
    assert at is not None
    assert until.rfc3339(at) == expected


def test_parse_time_of_day_without_zone_counts_here(berlin: None) -> None:
    at = until.parse("until 18:00", "--time", None, NOON).at
    assert at is not None
    assert (until.rfc3339(at), until.show(at)) == ("2026-11-30T17:00:00Z", "2026-11-30 18:00 CET")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soon", "neither a duration nor a time"),
        ("0s", "neither a duration nor a time"),
        ("", "neither a duration nor a time"),
        ("1.5h", "neither a duration nor a time"),
        ("until", "neither a duration nor a time"),
        ("until 25:00", "'25:00' is not a time"),
        ("until 18.00", "'18.00' is not a time"),
        ("until ٣:٠٠", "is not a time"),
        ("until 2020-01-01T00:00:00Z", "2020-01-01 00:00 UTC is in the past"),
        ("until 2026-11-30T12:00:00Z", "is in the past"),
    ],
)
def test_parse_other_text_is_refused(text: str, says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        until.parse(text, "--time", BERLIN, NOON)
    assert caught.value.code == 6


def test_end_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(CommandError, match="beyond the year 2199"):
        until.parse("99999d", "--time", BERLIN, NOON).end(datetime(9990, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("given", [(None, None, None), ("2h", "2h", None), ("2h", None, "18:00")])
def test_one_of_other_than_one_time_is_refused(given: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(CommandError, match="time is given") as caught:
        until.one_of(*given, BERLIN, NOON)
    assert caught.value.code == 2


def test_show_names_the_zone() -> None:
    assert until.show(NOON.astimezone(BERLIN)) == "2026-11-30 13:00 Europe/Berlin"
    assert until.show(datetime.fromisoformat("2026-11-30T13:00:00+01:00")) == "2026-11-30 13:00 UTC+01:00"
    assert until.show(NOON) == "2026-11-30 12:00 UTC"


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["extend", "mydev", "until 18:00"], ["extend", "mydev", "until 2026-11-30T18:00:00+01:00"]),
        (["extend", "mydev", "--until", "18:00"], ["extend", "mydev", "--until", "2026-11-30T18:00:00+01:00"]),
        (["hold", "mydev", "--until=18:00"], ["hold", "mydev", "--until=2026-11-30T18:00:00+01:00"]),
        (["create", "x", "--time", "until 18:00"], ["create", "x", "--time", "until 2026-11-30T18:00:00+01:00"]),
        (["create", "x", "--ttl=until 18:00"], ["create", "x", "--ttl=until 2026-11-30T18:00:00+01:00"]),
        (["create", "x", "--time", "2h"], ["create", "x", "--time", "2h"]),
        (["create", "x", "--", "echo", "until 18:00"], ["create", "x", "--", "echo", "until 18:00"]),
        (["extend", "mydev", "--until", "25:00"], ["extend", "mydev", "--until", "25:00"]),
        (["exec", "mydev", "until 18:00"], ["exec", "mydev", "until 18:00"]),
    ],
)
def test_remote_arguments_time_of_day_has_this_machines_zone(
    berlin: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], sent: list[str]
) -> None:
    """At the bastion it is another time of day."""

    class Noon(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Noon:
            return cls(2026, 11, 30, 12, 0, tzinfo=UTC)

    monkeypatch.setattr(remote_command, "datetime", Noon)
    assert remote_command.remote_arguments(parse_line(words), Config({}, {"HOME": str(tmp_path)})) == sent


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [("Europe/Berlin", "Europe/Berlin"), (None, "UTC"), ("Mars/Base", "UTC"), ("../../etc/passwd", "UTC")],
)
def test_time_zone_at_the_bastion_is_the_users(
    api: ApiServer, tmp_path: Path, annotation: str | None, expected: str
) -> None:
    annotations = {"devservers.io/time-zone": annotation} if annotation else {}
    api.put("/api/v1/namespaces/dev-ann", metadata={"annotations": annotations})
    environ = {"HOME": str(tmp_path), "KUBECONFIG": str(api.kubeconfig(tmp_path)), "DEVCTL_USER": "ann"}
    context = Context({}, None, environ)
    assert time_zone(context) is None, "on a laptop it is the laptop's own"
    assert context.kube.get("/version")["gitVersion"]  # with the kubeconfig: there is no broker in this test
    context.environ = {**environ, "DEVCTL_BROKER": "/run/broker"}
    assert str(time_zone(context)) == expected
