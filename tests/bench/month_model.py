"""A model of one month of a hundred people with GPU servers: when each of them works and when they forget to stop.

Parameters have a public source where there is one, and are named as assumptions where there is none:

- Nights and weekends are 65 to 77 % of the hours of a month: arithmetic, with 8 to 11 hours of work on weekdays.
- Interactive GPU sessions leave their GPU unused for most of their life: Carver et al., NotebookOS (arXiv 2503.20591),
  abstract, from a production trace; Jeon et al., Analysis of Large-Scale Multi-Tenant GPU Clusters (USENIX ATC 2019),
  measure 52 % mean utilisation of GPUs that a job holds.
- Training jobs of minutes to many hours, most of them short: Jeon et al., a log-normal distribution here.
- Assumptions: a person works on 85 % of the weekdays and 10 % of the weekend's days, pauses up to half an hour to
  think, has an hour of lunch and one or two meetings, and stops their server on 30 % of the evenings.

The model gives intervals in which something happens in a server. What is stopped when is decided by the operator's
own code (idle_figures.py), not here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

PEOPLE = 100
DAYS = 30
FIRST_DAY = datetime(2026, 11, 2, tzinfo=UTC)
"""A Monday."""
SEEDS = (11, 23, 47)

WORKS_ON_WEEKDAY = 0.85
WORKS_ON_WEEKEND = 0.10
FORGETS_TO_STOP = 0.70
TRAINS_OVERNIGHT = 0.25
MEETINGS = (0, 2)
MAX_THINKING = timedelta(minutes=30)


@dataclass(frozen=True)
class Interval:
    """A time in which something happens in a server."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Day:
    """One day's work of one person."""

    activity: tuple[Interval, ...]
    """In order, without overlap."""
    stops: bool
    """Whether the person stops the server when all of it is done."""


def month(seed: int, forgets: float = FORGETS_TO_STOP) -> list[list[Day]]:
    """The days of each person; `forgets` is how often nobody stops the server in the evening."""
    random_source = random.Random(seed)
    return [_person(random_source, forgets) for _ in range(PEOPLE)]


def _person(source: random.Random, forgets: float) -> list[Day]:
    days = []
    for number in range(DAYS):
        midnight = FIRST_DAY + timedelta(days=number)
        weekend = midnight.weekday() >= 5
        if source.random() < (WORKS_ON_WEEKEND if weekend else WORKS_ON_WEEKDAY):
            days.append(_day(source, midnight, forgets))
    return days


def _day(source: random.Random, midnight: datetime, forgets: float) -> Day:
    begin = midnight + timedelta(hours=source.gauss(9.5, 0.8))
    end = begin + timedelta(hours=min(11.0, max(3.0, source.gauss(8.5, 1.2))))
    away = [Interval(begin + timedelta(hours=3), begin + timedelta(hours=4))]
    for _ in range(source.randint(*MEETINGS)):
        start = begin + (end - begin) * source.random()
        away.append(Interval(start, start + timedelta(minutes=source.choice((30, 60)))))
    activity: list[Interval] = []
    now = begin
    while now < end:
        meeting = next((pause for pause in away if pause.start <= now < pause.end), None)
        if meeting is not None:
            now = meeting.end
            continue
        work = timedelta(minutes=source.expovariate(1 / 12))
        activity.append(Interval(now, now + work))
        now += work + min(MAX_THINKING, timedelta(minutes=source.expovariate(1 / 4)))
    if source.random() < TRAINS_OVERNIGHT:
        hours = min(14.0, max(0.5, source.lognormvariate(1.2, 0.9)))
        activity.append(Interval(now, now + timedelta(hours=hours)))
    return Day(tuple(activity), stops=source.random() >= forgets)
