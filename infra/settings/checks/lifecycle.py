"""Checks of time limits, idleness and working hours: of the stack, its pools and its users."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from devservers.api.flavor import FlavorSpec
from devservers.api.lifecycle import WEEKDAYS, FlavorLifecycle, WorkingHours
from devservers_core.duration import parse_duration
from infra.catalog import FAMILIES
from infra.settings import availability
from infra.settings.aws.models import Aws
from infra.settings.platform.lifecycle import GROUPS, FlavorDefaults
from infra.settings.problems import Problem, problem
from infra.settings.stack import Settings

_LIMITED = (("time_to_live", "max_time_to_live"), ("idle_timeout", "max_idle_timeout"))
"""A default, and the most that a server may ask for instead."""


def problems_of(settings: Settings, aws: Aws | None) -> list[Problem]:
    """Everything wrong with them; ``aws`` None stands for a local stack."""
    found = [*_zone("timeZone", settings.time_zone), *_defaults("", [settings])]
    for place, pool in enumerate(aws.pools if aws else ()):
        at = f"pools[{place}]"
        if FAMILIES[pool.family].gpu:
            found += _defaults(at, [settings, pool])
        else:
            found += _without_gpus(at, pool)
    for place, user in enumerate(settings.users):
        found += _zone(f"users[{place}].timeZone", user.time_zone)
        found += availability.problems_of(f"users[{place}]", user)
        found += _hours(f"users[{place}].workingHours", user.working_hours)
    return found


def _defaults(path: str, layers: Sequence[FlavorDefaults]) -> Iterator[Problem]:
    """Of the last layer, which goes over those before it."""
    mine, at = layers[-1], f"{path}." if path else ""
    yield from availability.problems_of(path, mine, FlavorSpec)
    yield from _hours(f"{at}workingHours", mine.working_hours)
    if mine.lifecycle is None:
        return
    groups = [layer.lifecycle for layer in layers if layer.lifecycle]
    values: dict[str, Any] = {name: getattr(group, name) for group in groups for name in group.model_fields_set}
    fields = FlavorLifecycle.model_fields
    for name, limit in _LIMITED:
        given, most = values.get(name), values.get(limit)
        if not given or not most or not mine.lifecycle.model_fields_set & {name, limit}:
            continue
        if parse_duration(given) > parse_duration(most):
            key, other = fields[name].alias, fields[limit].alias
            reason = f"longer than {other}, which is {most}, so no server would get it"
            yield problem(f"{at}lifecycle.{key}", given, reason, f"set it to {most} or less, or raise {other}")


def _without_gpus(at: str, pool: FlavorDefaults) -> Iterator[Problem]:
    for name in GROUPS:
        if name in pool.model_fields_set:
            key = type(pool).model_fields[name].alias or name
            reason = "a pool without GPUs has no flavor of its own: servers of the shipped flavors run there"
            yield problem(f"{at}.{key}", "set", reason, f"remove it; devservers:{key} holds for the shipped flavors")


def _hours(path: str, hours: WorkingHours | None) -> Iterator[Problem]:
    if hours is None:
        return
    yield from _zone(f"{path}.timeZone", hours.time_zone)
    for place, day in enumerate(hours.days):
        if day not in WEEKDAYS:
            yield problem(f"{path}.days[{place}]", day, "not a day of the week", f"use some of {', '.join(WEEKDAYS)}")


def _zone(path: str, zone: str | None) -> Iterator[Problem]:
    if zone and zone not in zoneinfo.available_timezones():
        near = get_close_matches(zone, sorted(zoneinfo.available_timezones()), 1)
        remedy = f"use {near[0]}" if near else "use a name of the tz database, like Europe/Berlin"
        yield problem(path, zone, "no such time zone", remedy)
