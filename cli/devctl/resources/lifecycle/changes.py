"""The change of a server's spec that `devctl update` asks for.

Invariant: pure; what the server has already, and what it can't have, is refused before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devctl import validation
from devctl.resources import home, secret_references
from devctl.resources.lifecycle.planned import lifecycle_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devservers_core.types import Json


@dataclass(frozen=True)
class Changes:
    """What the command line gives; None and empty where nothing is to change."""

    flavor: str | None = None
    image: str | None = None
    home_size: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    unset_env: tuple[str, ...] = ()
    secrets: tuple[Json, ...] = ()
    unset_secrets: tuple[str, ...] = ()
    lifecycle: Json = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to change."""
        return not (self.restarts or self.home_size or self.lifecycle)

    @property
    def restarts(self) -> bool:
        """Whether a running server gets a fresh container."""
        return any((self.flavor, self.image, self.env, self.unset_env, self.secrets, self.unset_secrets))

    @property
    def fields(self) -> list[str]:
        """The fields of the spec that change."""
        given = {
            "flavor": self.flavor,
            "image": self.image,
            "persistentHomeSize": self.home_size,
            "env": self.env or self.unset_env,
            "secrets": self.secrets or self.unset_secrets,
        }
        return [name for name, value in given.items() if value] + [f"lifecycle.{key}" for key in self.lifecycle]

    def spec(self, server: Json) -> Json:
        """The merge patch of the spec. Raises CommandError (refused) for what the server has already or can't have."""
        spec: Json = server.get("spec") or {}
        change: dict[str, Any] = {}
        name = server["metadata"]["name"]
        if self.flavor:
            _refuse_same(name, "flavor", spec.get("flavor"), self.flavor)
            change["flavor"] = self.flavor
        if self.image:
            _refuse_same(name, "image", spec.get("image"), self.image)
            change["image"] = self.image
        if self.home_size:
            change["persistentHomeSize"] = _home_size(name, spec, self.home_size)
        if self.env or self.unset_env:
            change["env"] = self._env(name, spec.get("env") or [])
        if self.secrets or self.unset_secrets:
            change["secrets"] = self._secrets(name, spec.get("secrets") or [])
        if self.lifecycle:
            current = lifecycle_of(server)
            if all(current.get(key) == value for key, value in self.lifecycle.items()):
                raise validation.refusal(f"{name} has these time settings already", "nothing was changed")
            change["lifecycle"] = self.lifecycle
        return change

    def _env(self, name: str, current: list[Json]) -> list[Json]:
        variables = {str(variable["name"]): variable for variable in current}
        for key in self.unset_env:
            if key not in variables:
                listed = ", ".join(variables) or "it has none"
                raise validation.refusal(f"{name} has no variable {key!r} of its own", f"its variables: {listed}")
            del variables[key]
        variables |= {key: {"name": key, "value": value} for key, value in self.env.items()}
        changed = list(variables.values())
        if changed == current:
            raise validation.refusal(f"{name} has these variables already", "nothing was changed")
        return changed

    def _secrets(self, name: str, current: list[Json]) -> list[Json]:
        secret_references.refuse_absent(name, current, self.unset_secrets)
        changed = secret_references.changed(current, self.secrets, self.unset_secrets)
        if secret_references.same(changed, current):
            raise validation.refusal(
                f"{name} refers to these secrets already",
                f"`devctl restart {name}` gives it their values as they are now",
            )
        return changed


def _refuse_same(name: str, what: str, current: object, given: str) -> None:
    if current == given:
        raise validation.refusal(
            f"{name} has {what} {given} already", f"`devctl restart {name}` makes it a fresh container"
        )


def _home_size(name: str, spec: Json, size: str) -> str:
    current = spec.get("persistentHomeSize")
    if not current:
        raise validation.refusal(
            f"{name} has no home that is kept, so there is nothing to grow",
            f"make a server with a home: `devctl create OTHER --home-size {size}`, and copy the files",
        )
    difference = home.compare_sizes(size, str(current))
    if difference == 0:
        raise validation.refusal(f"the home of {name} has {current} already", "take more")
    if difference < 0:
        raise validation.refusal(
            f"the home of {name} has {current}, and a volume can't be made smaller",
            f"take more than {current}, or make another server and copy the files",
        )
    return size
