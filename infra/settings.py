"""Invariant: a stack's configuration is whole and valid before the first resource is made.

Everything configurable is one frozen model, read once. Pure but for the person's key files; no Pulumi
resource is made here. Whatever is wrong comes out at once, each thing with its key, its value, what is
allowed and what to do.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from devservers.api.fields import ImageReference, Matching
from devservers.api.user import RESERVED_NAMES, UserSpec
from infra.local.person import PersonError, person

PROJECT = "devservers"
LOCAL = "local"
IMAGE_VARIABLES = {
    "operator": "DEVSERVERS_IMAGE_OPERATOR",
    "ssh": "DEVSERVERS_IMAGE_SSH",
    "base": "DEVSERVERS_IMAGE_BASE",
}
"""What `make up` sets to the images it built; each wins over the configuration."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a stack's configuration."""

    key: str
    value: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value}: {self.reason}\n  {self.remedy}"


class SettingsError(ValueError):
    """A stack's configuration can't be used; the text has two lines for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def _allowed(text: str) -> dict[str, Any]:
    return {"allowed": text}


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        validate_default=True,
    )


_CPU = Matching(r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$", "not an amount of CPU", 16)
_MEMORY = Matching(r"^[1-9][0-9]*(Mi|Gi)$", "not an amount of memory", 16)
Cpu = Annotated[str, _CPU, Field(json_schema_extra=_allowed("CPUs or millicores, like 0.5 or 500m"))]
Memory = Annotated[str, _MEMORY, Field(json_schema_extra=_allowed("an amount in Mi or Gi, like 256Mi"))]
_REFERENCE = _allowed("an image reference, like registry.example.com/devservers/operator:1.0")
Image = Annotated[ImageReference, Field(json_schema_extra=_REFERENCE)]


class Images(_Part):
    """The platform's images."""

    operator: Image
    """Runs the operator."""
    ssh: Image
    """Carries OpenSSH and the init program into every server."""
    base: Image
    """What a server runs when it names no image."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", json_schema_extra=_allowed("IfNotPresent, Always or Never")
    )
    """Of the operator's own pods."""


class Operator(_Part):
    """The operator's Deployment."""

    replicas: int = Field(default=2, ge=1, le=5, json_schema_extra=_allowed("1 to 5"))
    """One works, the others wait for its Lease."""
    workers: int = Field(default=8, ge=1, le=64, json_schema_extra=_allowed("1 to 64"))
    """Objects worked on at a time."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=_allowed("debug, info, warning or error")
    )
    cpu_request: Cpu = "50m"
    cpu_limit: Cpu = "1"
    memory_request: Memory = "128Mi"
    memory_limit: Memory = "512Mi"


class User(UserSpec):
    """A person, with the fields of DevServerUser.spec."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("username")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES or name.startswith("kube-"):
            raise PydanticCustomError("reserved", "this user name is reserved; choose another")
        return name


class Settings(_Part):
    """The configuration of one stack, keys in camelCase under `devservers:`."""

    cluster: Literal["local"] = Field(json_schema_extra=_allowed("local"))
    """Where the cluster comes from: `local` is one on this machine, found as infra/local/context.py says."""
    images: Images
    operator: Operator = Operator()
    users: tuple[User, ...] = Field(
        default=(), max_length=5000, json_schema_extra=_allowed("a list of users, each name once")
    )
    """Who has servers. With cluster `local` an empty list means the person at this machine."""
    storage_class: Annotated[
        str,
        Matching(r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", "not the name of a StorageClass", 253),
        Field(json_schema_extra=_allowed("a StorageClass's name, or empty for the cluster's default")),
    ] = ""
    """For homes."""
    await_: bool = Field(default=True, alias="await", json_schema_extra=_allowed("true or false"))
    """Whether `pulumi up` waits until the operator runs and the users' namespaces are there."""
    await_seconds: int = Field(default=180, ge=10, le=3600, json_schema_extra=_allowed("10 to 3600"))
    """How long it waits for each before it fails."""

    @model_validator(mode="after")
    def _users_once(self) -> Settings:
        names = [user.username for user in self.users]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("twice", "user {name} is there twice; give each name once", {"name": name})
        return self


KEYS = {field.alias or name: field for name, field in Settings.model_fields.items()}
"""Configuration key to field, without the project's prefix."""


def load(stack: str, config: Mapping[str, str], env: Mapping[str, str]) -> Settings:
    """The settings of a stack.

    ``config`` holds the values as Pulumi gives them to a program: keys without the project's prefix, text as
    it is, everything else as JSON. ``env`` is the process's environment. Raises :class:`SettingsError` with
    everything that is wrong.
    """
    values, problems = _decoded(stack, config)
    images = values.get("images") or {}
    if isinstance(images, dict):
        given = {field: env[variable] for field, variable in IMAGE_VARIABLES.items() if env.get(variable)}
        values["images"] = images | given
    if values.get("cluster") == LOCAL and not values.get("users") and "users" not in {p.key for p in problems}:
        values["users"] = _person(env, problems)
    try:
        settings = Settings.model_validate(values, extra="forbid")
    except ValidationError as error:
        raise SettingsError(problems + _problems(stack, error)) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _decoded(stack: str, config: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems = []
    for key, text in sorted(config.items()):
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            remedy = f"use {near[0]}" if near else f"known are {', '.join(KEYS)}"
            problems.append(Problem(f"{PROJECT}:{key}", _shown(text), "no such key", remedy))
        elif KEYS[key].annotation is str or key == "cluster":
            values[key] = text
        else:
            try:
                values[key] = json.loads(text)
            except ValueError:
                # Let the model say what is allowed: text is none of what it takes here.
                values[key] = text
    return values, problems


def _person(env: Mapping[str, str], problems: list[Problem]) -> list[dict[str, Any]]:
    variable = "DEVSERVERS_LOCAL_KEYS_FILE"
    try:
        found = person(env)
    except PersonError as error:
        reason, _, remedy = str(error).partition("\n  ")
        problems.append(Problem(variable, env.get(variable, ""), reason, remedy))
        return []
    if not found.keys:
        remedy = f"run ssh-keygen -t ed25519, or set {variable} to a file with your public keys"
        problems.append(Problem(variable, _shown(env.get(variable)), f"no public key in {found.keys_from}", remedy))
        return []
    return [{"username": found.name, "sshPublicKeys": list(found.keys)}]


def _problems(stack: str, error: ValidationError) -> list[Problem]:
    found = []
    for item in error.errors(include_url=False):
        parts = [str(part) for part in item["loc"]]
        key = f"{PROJECT}:{_path(item['loc'])}" if parts else f"{PROJECT}:users"
        unset = item["type"] == "missing"
        reason = "not set" if unset else item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = "no such key"
        allowed = _allowed_at(parts)
        reason += f"; allowed: {allowed}" if allowed else ""
        remedy = f"pulumi config set --stack {stack} --path {key} VALUE, or edit stacks/Pulumi.{stack}.yaml"
        if parts[:1] == ["images"] and len(parts) == 2 and parts[1] in IMAGE_VARIABLES:
            variable = IMAGE_VARIABLES[parts[1]]
            remedy = f"`make up` builds it and sets {variable}; or {remedy}"
        elif parts[:2] == ["users", "0"] and stack == LOCAL:
            remedy = f"set DEVSERVERS_LOCAL_USER or DEVSERVERS_LOCAL_KEYS_FILE; or {remedy}"
        found.append(Problem(key, "(unset)" if unset else _shown(item.get("input")), reason, remedy))
    return found


def _path(loc: Sequence[int | str]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _allowed_at(parts: Sequence[str]) -> str | None:
    """What the field at a path says is allowed, None when it says nothing."""
    model: type[BaseModel] = Settings
    for position, part in enumerate(parts):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            near = difflib.get_close_matches(part, fields, n=1)
            return f"{near[0]} (nearest)" if near else ", ".join(fields)
        field = fields[part]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
            continue
        if position < len(parts) - 1:
            return None  # inside a list of users: the message itself says what is allowed
        extra = field.json_schema_extra
        return str(extra["allowed"]) if isinstance(extra, dict) and "allowed" in extra else None
    return "an object with " + ", ".join(field.alias or name for name, field in model.model_fields.items())


def _shown(value: object) -> str:
    if value is None or value == "":
        return "(unset)"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
