"""Environment variables that people set.

Invariant: none starts with DEVSERVERS_, and none is one of ACCOUNT_ENV: those are the platform's.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from devservers.api.fields import EnvName, list_map, rules
from devservers.api.meta import Model
from devservers_core.names import ACCOUNT_ENV, RESERVED_ENV_PREFIX


class EnvVar(Model):
    """One environment variable, as a literal value."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"!self.name.startsWith('{RESERVED_ENV_PREFIX}')",
                f"variables starting with {RESERVED_ENV_PREFIX} are the platform's own; use another name",
                ".name",
            ),
            (
                f"!(self.name in {list(ACCOUNT_ENV)})",
                f"{', '.join(ACCOUNT_ENV)} are the account's own and can't be set; use another name",
                ".name",
            ),
        )
    )

    name: EnvName
    value: str = Field(max_length=32768)


Env = Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=dict[str, Any](list_map("name")))]

MAX_BYTES = 64 * 1024
"""Of variables, command and arguments together. A server's whole pod template is kept in one annotation, of which the
API server takes 256 KiB, and every copy of it costs the operator's memory."""


def bounded(subject: str, *lists: str) -> tuple[str, str]:
    """The CEL rule, with its message, that ``lists`` are at most MAX_BYTES or unchanged."""
    sizes = {"env": "size(x.name) + size(bytes(x.value))"}
    total = " + ".join(
        f"(has(self.{name}) ? self.{name}.map(x, {sizes.get(name, 'size(bytes(x))')}).sum() : 0)" for name in lists
    )
    # Not by `?.`: what the API server reckons such a comparison to cost is far above what it lets a rule cost.
    old = "oldSelf.value()"
    same = [f"(!has(self.{name}) || (has({old}.{name}) && {old}.{name} == self.{name}))" for name in lists]
    return (
        f"{total} <= {MAX_BYTES} || (oldSelf.hasValue() && {' && '.join(same)})",
        f"{subject} than {MAX_BYTES // 1024} KiB; put the rest into a file in the home",
    )
