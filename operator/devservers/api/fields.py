"""Field types with rules that hold in Python and, as CEL, in the CRD.

Invariant: a rule about one string is written once, with one message. CEL is used instead of JSON schema's `pattern`,
because the message of a pattern is the regular expression itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, core_schema

from devservers_core import duration, quantity
from devservers_core.grammar import (
    CLAIM_NAME_MAX,
    DNS_NAME,
    ENV_NAME,
    ENV_NAME_MAX,
    FLAVOR_NAME_MAX,
    IMAGE,
    IMAGE_MAX,
    QUEUE_NAME_MAX,
    USER_NAME,
    USER_NAME_MAX,
    fits,
)
from devservers_core.times import EARLIEST, LATEST, within_range


def rules(*rules_with_messages: tuple[str, str] | tuple[str, str, str]) -> dict[str, Any]:
    """CEL rules as json_schema_extra takes them.

    Each is (expression, message) or (expression, message, field path). The field path, like `.volumes`, is where the
    server reports the error; without it, the whole object. A rule that compares with what was stored calls it
    `oldSelf`, an optional value.
    """
    keys = ("rule", "message", "fieldPath")
    validations: list[dict[str, Any]] = [dict(zip(keys, rule, strict=False)) for rule in rules_with_messages]
    for rule in validations:
        if "oldSelf" in rule["rule"]:
            rule["optionalOldSelf"] = True
    return {"x-kubernetes-validations": validations}


@dataclass(frozen=True)
class OnWrite:
    """A rule that the API server enforces on new values, and readers of objects don't.

    A stored value from before the rule stays readable, and Kubernetes lets it through until the field itself changes
    (ratcheting), so that an upgrade keeps nobody from stopping a server or suspending a person.
    """

    expression: str
    message: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        json_schema = handler(schema)
        key = "x-kubernetes-validations"
        return {**json_schema, key: [*json_schema.get(key, []), *rules((self.expression, self.message))[key]]}


def unavailable(field: str) -> OnWrite:
    """The rule of a field whose feature isn't available yet: no value is accepted."""
    return OnWrite("false", f"{field} is not available yet; leave it out")


@dataclass(frozen=True)
class Matching:
    """A string of at most `max_length` characters that matches `pattern`.

    RE2 and `re` must agree on the pattern.
    """

    pattern: str
    message: str
    max_length: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: str) -> str:
            if not fits(value, self.pattern, self.max_length):
                raise ValueError(self.message)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        json_schema = handler(schema)
        rule = f"self.matches(r'{self.pattern}')"
        return {**json_schema, "maxLength": self.max_length, **rules((rule, self.message))}


@dataclass(frozen=True)
class Amount:
    """A quantity, not negative; above zero when `positive`. With `integers` a bare YAML number will do."""

    field: str
    positive: bool = True
    integers: bool = False

    @property
    def message(self) -> str:
        """The message of the rule."""
        least = "above zero" if self.positive else "of zero or more"
        return f"{self.field} is not a quantity {least}; {quantity.HINT}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: str) -> str:
            amount = quantity.parse_quantity(value)
            if amount < 0 or (self.positive and not amount):
                raise ValueError(self.message)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shape = {"x-kubernetes-int-or-string": True} if self.integers else {**handler(schema), "maxLength": 32}
        text = "string(self)" if self.integers else "self"
        if self.positive:
            least = f"isQuantity({text}) && quantity({text}).isGreaterThan(quantity('0'))"
            return {**shape, **rules((least, self.message))}
        # When it estimates what a rule costs, the server takes an int-or-string to be as long as a request, so
        # rules on a map of them convert as little as they can: hence two, and no quantity().
        return {
            **shape,
            **rules((f"isQuantity({text})", self.message), (f"!{text}.startsWith('-')", self.message)),
        }


class _Duration:
    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: str) -> str:
            duration.parse_duration(value)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        rule = f"self.matches(r'{duration.PATTERN}') && self.matches('[1-9]')"
        return {**handler(schema), "maxLength": 32, **rules((rule, f"not a duration; {duration.HINT}"))}


_FAR_OFFSET = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,]\d+)?([+-])(\d\d):(\d\d)", re.ASCII)


def _read_time(value: object, read: ValidatorFunctionWrapHandler) -> datetime:
    """The time nearest to `value` between EARLIEST and LATEST.

    The API server takes offsets like +24:00, which no zone has.
    """
    try:
        moment: datetime = read(value)
    except ValidationError:
        parts = _FAR_OFFSET.fullmatch(value) if isinstance(value, str) else None
        if parts is None:
            raise
        offset = timedelta(hours=int(parts[3]), minutes=int(parts[4]))
        try:
            local = datetime.fromisoformat(parts[1]).replace(tzinfo=UTC)
            moment = local - (offset if parts[2] == "+" else -offset)
        except OverflowError:
            return LATEST if parts[2] == "-" else EARLIEST
    return within_range(moment)


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


UserName = Annotated[
    str,
    Matching(
        USER_NAME, "not a user name; use 2 to 31 lower-case letters, digits and dashes, a letter first", USER_NAME_MAX
    ),
]
FlavorName = Annotated[
    str,
    Matching(DNS_NAME, "not a flavor name; see `kubectl get devserverflavors` for those there are", FLAVOR_NAME_MAX),
]
QueueName = Annotated[
    str, Matching(DNS_NAME, "not a queue name; use lower-case letters, digits and dashes", QUEUE_NAME_MAX)
]
ClaimName = Annotated[
    str, Matching(DNS_NAME, "not a volume claim name; see `kubectl get pvc` for those there are", CLAIM_NAME_MAX)
]
ImageReference = Annotated[
    str,
    Matching(
        IMAGE, "not an image reference; use one like ghcr.io/team/image:tag, lower-case before the tag", IMAGE_MAX
    ),
]
Duration = Annotated[str, _Duration()]
"""Kept as text; `parse_duration` gives the timedelta."""
PointInTime = Annotated[
    AwareDatetime,
    WrapValidator(_read_time),
    OnWrite(
        f"self >= timestamp('{EARLIEST:%Y-%m-%dT%H:%M:%SZ}') && self < timestamp('{LATEST:%Y-%m-%dT%H:%M:%SZ}')",
        f"not a time from {EARLIEST:%Y} to {LATEST.year - 1}; use one like 2026-12-24T18:00:00Z",
    ),
]
"""A time that people write, RFC 3339. A stored one outside of the range counts as the nearest within it."""
Resources = Annotated[
    dict[
        Annotated[str, Field(max_length=253)],
        Annotated[str, BeforeValidator(_number_as_text), Amount("a resource", positive=False, integers=True)],
    ],
    Field(max_length=6),
]
"""Resource name to quantity text, as in a container's `resources`."""
EnvName = Annotated[
    str,
    Matching(
        ENV_NAME,
        "not a variable name; use letters, digits and _, not starting with a digit",
        ENV_NAME_MAX,
    ),
]


def list_map(key: str) -> Mapping[str, Any]:
    """Schema of a list with unique `key`s, by which server-side apply merges its items."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
