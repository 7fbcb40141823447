"""The cost estimate of an environment: US dollars a month, as plain data.

Invariant: a sum whose every term is shown; what depends on use is named and never guessed. It is the stack's output
`cost`, so the estimate of what was deployed last can be read from the state: `pulumi stack output cost --json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PRICED_REGION = "us-east-1"
FORM = 1
"""Of the record. Another one is never compared with this."""


class EstimateError(ValueError):
    """A record isn't an estimate, or one of another form. One line."""


@dataclass(frozen=True)
class Line:
    """One term of the sum. ``source`` says where its price is from, and of when."""

    what: str
    detail: str
    source: str
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Server:
    """The cost of a GPU server of a flavor: its share of its node.

    ``month`` is of working hours, as the estimate's ``hours`` says.
    """

    flavor: str
    detail: str
    hour: float
    month: float


@dataclass(frozen=True)
class Estimate:
    """A month of an environment, with every pool at its smallest and at its largest."""

    stack: str
    fixed: tuple[Line, ...]
    """What is there whatever size the pools have."""
    pools: tuple[Line, ...]
    """Nodes with their disks, by pool; the platform's own nodes first."""
    servers: tuple[Server, ...]
    hours: int
    """Of a server's month."""
    not_counted: tuple[str, ...]
    budget: float
    """The stack's own, 0 where it has none."""
    instances_as_of: str
    fees_as_of: str
    region: str
    """Where the stack is; prices are PRICED_REGION's."""

    @property
    def fixed_month(self) -> float:
        """What is there whatever size the pools have, together."""
        return sum(line.maximum for line in self.fixed)

    @property
    def minimum(self) -> float:
        """With every pool at its smallest."""
        return sum(line.minimum for line in (*self.fixed, *self.pools))

    @property
    def maximum(self) -> float:
        """With every pool at its largest, all month."""
        return sum(line.maximum for line in (*self.fixed, *self.pools))

    @property
    def region_notice(self) -> str:
        """What to know of a stack in another region than the prices'; empty in that one."""
        if self.region == PRICED_REGION:
            return ""
        return (
            f"This stack is in {self.region}, and prices are {PRICED_REGION}'s: there AWS takes more, from a tenth to "
            "twice as much. Set pricePerHour of each pool."
        )

    def record(self) -> dict[str, Any]:
        """As JSON, amounts in whole cents; a server's hour as its flavor says it."""
        rounded = {"minimum": round(self.minimum, 2), "maximum": round(self.maximum, 2)}
        return {
            "form": FORM,
            "currency": "USD",
            "stack": self.stack,
            "region": self.region,
            "month": rounded | {"budget": self.budget},
            "fixed": [_rounded(line) for line in self.fixed],
            "pools": [_rounded(line) for line in self.pools],
            "servers": [asdict(server) | {"month": round(server.month, 2)} for server in self.servers],
            "hoursOfAServer": self.hours,
            "notCounted": list(self.not_counted),
            "pricesAsOf": {"instances": self.instances_as_of, "others": self.fees_as_of},
        }

    @classmethod
    def from_record(cls, record: object) -> Estimate:
        """The estimate of a record. Raises :class:`EstimateError`."""
        if not isinstance(record, Mapping) or record.get("form") != FORM:
            form = record.get("form") if isinstance(record, Mapping) else None
            raise EstimateError(f"no estimate of form {FORM}" + (f" (it has form {form})" if form else ""))
        try:
            return cls(
                stack=str(record["stack"]),
                fixed=tuple(Line(**each) for each in record["fixed"]),
                pools=tuple(Line(**each) for each in record["pools"]),
                servers=tuple(Server(**each) for each in record["servers"]),
                hours=int(record["hoursOfAServer"]),
                not_counted=tuple(record["notCounted"]),
                budget=float(record["month"]["budget"]),
                instances_as_of=str(record["pricesAsOf"]["instances"]),
                fees_as_of=str(record["pricesAsOf"]["others"]),
                region=str(record["region"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EstimateError(f"no estimate: {type(error).__name__} {error}") from None


def _rounded(line: Line) -> dict[str, Any]:
    return asdict(line) | {"minimum": round(line.minimum, 2), "maximum": round(line.maximum, 2)}
