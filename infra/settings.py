"""Settings of a stack, read once from its configuration.

Invariant: a stack's configuration is whole and valid before the first resource is made.

Everything configurable is one frozen model, read once. Pure but for the person's key files; no Pulumi
resource is made here. Whatever is wrong comes out at once (infra/problems.py).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from devservers.api import registries
from devservers.api.fields import ImageReference, Matching
from devservers.api.user import UserSpec
from devservers_core.names import LOCAL_IMAGES, is_reserved_user
from infra import ROOT, offered, problems
from infra.aws import checks
from infra.aws import images as built
from infra.aws.pools import AT_HOME, pools_of
from infra.aws.settings import EFS, GP3, Aws
from infra.aws.settings import KEYS as AWS_KEYS
from infra.bastion import LOCAL_KEYS, Bastion
from infra.egress import Egress
from infra.local.person import PersonError, person
from infra.overcommit import Overcommit
from infra.problems import PROJECT as PROJECT
from infra.problems import Problem
from infra.problems import SettingsError as SettingsError
from infra.quota import Quota, Registries
from infra.settings_model import Cpu, Memory, SettingsModel, allowed

_Model = TypeVar("_Model", bound=BaseModel)

LOCAL = "local"
AWS = "aws"
IMAGE_VARIABLES = {
    "operator": "DEVSERVERS_IMAGE_OPERATOR",
    "ssh": "DEVSERVERS_IMAGE_SSH",
    "base": "DEVSERVERS_IMAGE_BASE",
    "bastion": "DEVSERVERS_IMAGE_BASTION",
    "kueue": "DEVSERVERS_IMAGE_KUEUE",
}
"""What `make up` sets to the images it built; with cluster `local` each wins over the configuration."""
CHART_VARIABLE = "DEVSERVERS_KUEUE_CHART"
"""What it sets to the chart that came with the controller it built; wins too."""

_REFERENCE = allowed("an image reference, like registry.example.com/devservers/operator:1.0")
Image = Annotated[ImageReference, Field(json_schema_extra=_REFERENCE)]


def _tagged(reference: str) -> str:
    if ":" not in reference.rpartition("/")[2]:
        raise PydanticCustomError("untagged", "this image needs a tag, like registry.example.com/kueue:v0.18.2")
    return reference


PullSecret = Annotated[
    str, Matching(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "not a Secret's name; use lower-case letters, digits and -", 200)
]


class Images(SettingsModel):
    """The platform's images."""

    operator: Image
    """Runs the operator."""
    ssh: Image
    """Carries OpenSSH and the init program into every server."""
    base: Image
    """What a server runs when it names no image."""
    bastion: Image
    """Lets people in by SSH."""
    kueue: Annotated[Image, AfterValidator(_tagged)] = "registry.k8s.io/kueue/kueue:v0.18.2"
    """Kueue's controller; its chart wants a tag."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", json_schema_extra=allowed("IfNotPresent, Always or Never")
    )
    """Of the pods of the operator, the bastion and Kueue."""


AWS_OVERCOMMIT = ("nodes on AWS are bought by what servers ask for, so it is 1 there", "take it out")
"""Why, and what to do."""


class Operator(SettingsModel):
    """The operator's Deployment."""

    replicas: int = Field(default=2, ge=1, le=5, json_schema_extra=allowed("1 to 5"))
    """One works, the others wait for its Lease."""
    workers: int = Field(default=8, ge=1, le=64, json_schema_extra=allowed("1 to 64"))
    """Objects worked on at a time."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=allowed("debug, info, warning or error")
    )
    cpu_request: Cpu = "50m"
    cpu_limit: Cpu = "1"
    memory_request: Memory = "128Mi"
    memory_limit: Memory = "1Gi"
    """Enough for 5,000 servers; docs/guides/administrator.md has the sizes that were measured."""


class Queueing(SettingsModel):
    """Kueue, and how its queues divide what the cluster has."""

    enabled: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether servers wait in a queue for what is taken; without, they stay Pending at the scheduler."""
    replicas: int | None = Field(default=None, ge=1, le=5, json_schema_extra=allowed("1 to 5"))
    """Of the controller; unset: 1 with cluster `local`, else 2. One works, all answer the API server."""
    interactive_share: int = Field(default=100, ge=0, le=100, json_schema_extra=allowed("0 to 100, percent"))
    """What servers own of each pool; training owns the rest. Each borrows what the other leaves idle, and servers take
    theirs back at once."""
    chart: Annotated[str, Matching(r"^(/.+)?$", "not an absolute path", 4096)] = Field(
        default="", json_schema_extra=allowed("the absolute path of a chart's folder, or empty for Kueue's registry")
    )
    """Kueue's chart."""
    cpu_request: Cpu = "100m"
    cpu_limit: Cpu = "2"
    memory_request: Memory = "128Mi"
    memory_limit: Memory = "1Gi"


class User(UserSpec):
    """A person, with the fields of DevServerUser.spec."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("budget", "dotfiles", mode="before")
    @classmethod
    def _not_yet(cls, value: object, about: ValidationInfo) -> object:
        if value is not None:
            name = {"field": about.field_name or ""}
            raise PydanticCustomError("unavailable", "{field} is not available yet; leave it out", name)
        return value

    @field_validator("username")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if is_reserved_user(name):
            raise PydanticCustomError("reserved", "this user name is reserved; choose another")
        return name


class Settings(SettingsModel):
    """The configuration of one stack, keys in camelCase under `devservers:`."""

    cluster: Literal["local", "aws"] = Field(json_schema_extra=allowed("local or aws"))
    """Where the cluster comes from: `local` is one on this machine, found as infra/local/context.py says; `aws` is an
    EKS cluster that this program makes with everything it needs."""
    images: Images
    operator: Operator = Operator()
    queueing: Queueing = Queueing()
    bastion: Bastion = Bastion()
    egress: Egress = Egress()
    overcommit: Overcommit = Overcommit()
    users: tuple[User, ...] = Field(
        default=(), max_length=5000, json_schema_extra=allowed("a list of users, each name once")
    )
    """Who has servers. With cluster `local` an empty list means the person at this machine."""
    quota: Quota = Quota()
    """What a person may have."""
    registries: Registries = (registries.ANY,)
    """What images of people's own may come from: `*` is every registry with a public name. One that is named by an
    address, or by a name that leads to the node itself, has to be listed."""
    storage_class: Annotated[
        str,
        Matching(r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", "not the name of a StorageClass", 253),
        Field(json_schema_extra=allowed("a StorageClass's name, or empty for the cluster's default")),
    ] = ""
    """For homes."""
    image_pull_secrets: tuple[PullSecret, ...] = Field(
        default=(), max_length=16, json_schema_extra=allowed("a list of names of Secrets in devservers-system")
    )
    """Logins to image registries for everybody's servers: Secrets of type kubernetes.io/dockerconfigjson that an
    administrator keeps in the operator's namespace. The operator copies them into each user's."""
    await_: bool = Field(default=True, alias="await", json_schema_extra=allowed("true or false"))
    """Whether `pulumi up` waits until Kueue, the operator and users' namespaces are there (queues always do)."""
    await_seconds: int = Field(default=180, ge=10, le=3600, json_schema_extra=allowed("10 to 3600"))
    """How long it waits for each before it fails."""
    aws: Aws | None = None
    """The environment on AWS, with cluster `aws`; its keys stand beside the others."""

    @property
    def home_class(self) -> str:
        """The StorageClass of homes, empty for the cluster's default."""
        return self.storage_class or (GP3 if self.cluster == AWS else "")

    @property
    def shared_class(self) -> str:
        """The StorageClass of volumes that many servers mount, empty where there is none."""
        return EFS if self.aws and self.aws.storage.shared else ""

    @property
    def image_sources(self) -> tuple[str, ...]:
        """What people's images may come from; on this machine also what `make up` built on it."""
        return (*self.registries, LOCAL_IMAGES) if self.cluster == LOCAL else self.registries

    @property
    def queueing_replicas(self) -> int:
        """How many controllers of Kueue run."""
        return self.queueing.replicas or (1 if self.cluster == LOCAL else 2)

    @property
    def node_selector(self) -> dict[str, str]:
        """Where the platform's own pods go: with cluster `aws` to nodes that no server gets to."""
        return dict(AT_HOME) if self.cluster == AWS else {}

    @property
    def closed_networks(self) -> tuple[str, ...]:
        """What servers don't reach. On AWS nodes, pods, the API server and VPC endpoints have addresses of the VPC."""
        own = (self.aws.network.cidr, self.aws.kubernetes.service_cidr) if self.aws else ()
        return tuple(dict.fromkeys((*own, *self.egress.deny)))

    @property
    def drain_seconds(self) -> int:
        """How long sessions go on when a pod of the bastion goes; the load balancer waits as long."""
        return self.aws.edge.drain_seconds if self.aws else self.bastion.drain_seconds

    @model_validator(mode="after")
    def _users_once(self) -> Settings:
        names = [user.username for user in self.users]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("twice", "user {name} is there twice; give each name once", {"name": name})
        return self


KEYS = {field.alias or name: field for name, field in Settings.model_fields.items() if name != "aws"}
"""Configuration key to field, without the project's prefix; AWS's own are in infra/aws/settings.py."""


def load(stack: str, config: Mapping[str, str], env: Mapping[str, str], today: date | None = None) -> Settings:
    """The settings of a stack.

    ``config`` holds the values as Pulumi gives them to a program: keys without the project's prefix, text as
    it is, everything else as JSON. ``env`` is the process's environment; ``today`` decides which Kubernetes versions
    have support. Raises :class:`SettingsError` with everything that is wrong.
    """
    on_aws = config.get("cluster") == AWS
    known = (KEYS | AWS_KEYS) if on_aws else KEYS
    values, found = _decoded(_set(config), known)
    images = values.get("images") or {}
    if isinstance(images, dict):
        given = {field: env[variable] for field, variable in IMAGE_VARIABLES.items() if env.get(variable)}
        values["images"] = images | given
    queueing = values.get("queueing") or {}
    if isinstance(queueing, dict) and env.get(CHART_VARIABLE) and not on_aws:
        values["queueing"] = queueing | {"chart": env[CHART_VARIABLE]}
    if values.get("cluster") == LOCAL and not values.get("users") and f"{PROJECT}:users" not in {p.key for p in found}:
        values["users"] = _person(env, found)
    bastion = values.get("bastion")
    if on_aws and isinstance(bastion, dict):
        found += [
            problems.problem(f"bastion.{key}", bastion[key], reason, remedy)
            for key, (reason, remedy) in LOCAL_KEYS.items()
            if key in bastion
        ]
    if on_aws and isinstance(given_out := values.get("overcommit"), dict):
        found += [
            problems.problem(f"overcommit.{key}", times, *AWS_OVERCOMMIT)
            for key, times in given_out.items()
            if times not in (1, None)
        ]
    environment = {key: values.pop(key) for key in AWS_KEYS if key in values} if on_aws else None
    parsed = _parsed(stack, Aws, environment, found) if environment is not None else None
    wrong = checks.problems_of(stack, parsed, today) if parsed is not None else []
    found += wrong
    if environment is not None and isinstance(images, dict):
        # Never what `make up` built for this machine, whose variables may still be set.
        values["images"] = _built(stack, parsed, environment) | images
    settings = _parsed(stack, Settings, values, found)
    # Which flavors there are is known of pools that can be.
    if settings is not None and not wrong and (parsed is not None or not on_aws):
        found += offered.problems_of(settings.users, offered.names(pools_of(parsed) if parsed else None))
    if found or settings is None:
        raise SettingsError(found)
    return settings.model_copy(update={"aws": parsed})


def _set(config: Mapping[str, str]) -> dict[str, str]:
    """The configuration without what a stack doesn't say about AWS.

    Pulumi hands a program the defaults of Pulumi.yaml too, and a key that has none there is asked of every stack, the
    local one included. So AWS's keys have empty ones.
    """
    return {key: text for key, text in config.items() if key not in AWS_KEYS or text not in ("", "{}", "[]")}


def _built(stack: str, aws: Aws | None, environment: Mapping[str, Any]) -> dict[str, str]:
    """References of the images that `pulumi up` builds. Of an environment that can't be used, something to go on with:
    what is wrong with it is to be said, not that its images are missing.
    """
    if aws is not None:
        return built.references(stack, aws, ROOT) if aws.registry.build else {}
    registry = environment.get("registry")
    wanted = isinstance(registry, dict) and registry.get("build") is True
    return dict.fromkeys(IMAGE_VARIABLES, "unknown:0") if wanted else {}


def _decoded(config: Mapping[str, str], known: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    found = []
    for key, text in sorted(config.items()):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            remedy = f"use {near[0]}" if near else f"known are {', '.join(known)}"
            if key in AWS_KEYS:
                remedy = f"take it out: it is for cluster aws only; or set {PROJECT}:cluster to aws"
            found.append(problems.problem(key, text, "no such key", remedy))
        elif known[key].annotation is str or key in ("cluster", "environment"):
            values[key] = text
        else:
            try:
                values[key] = json.loads(text)
            except ValueError:
                # Let the model say what is allowed: text is none of what it takes here.
                values[key] = text
    return values, found


def _parsed(stack: str, model: type[_Model], values: dict[str, Any], found: list[Problem]) -> _Model | None:
    """The model, or None with what is wrong added to ``found``."""
    try:
        return model.model_validate(values, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        on_aws = values.get("cluster") == AWS
        found += [_with_shortcut(stack, on_aws, each) for each in problems.of_model(stack, model, error, "users")]
        return None


def _with_shortcut(stack: str, on_aws: bool, problem: Problem) -> Problem:
    """The problem with the shorter way out, where there is one."""
    path = problem.key.removeprefix(f"{PROJECT}:")
    image = path.removeprefix("images.")
    if image != path and image in IMAGE_VARIABLES:
        shorter = f"`make up` builds it and sets {IMAGE_VARIABLES[image]}"
        if on_aws:
            shorter = f"set {PROJECT}:registry.build to true and `pulumi up` builds it"
        return replace(problem, remedy=f"{shorter}; or {problem.remedy}")
    if path.startswith("users[0]") and stack == LOCAL:
        remedy = f"set DEVSERVERS_LOCAL_USER or DEVSERVERS_LOCAL_KEYS_FILE; or {problem.remedy}"
        return replace(problem, remedy=remedy)
    return problem


def _person(env: Mapping[str, str], found: list[Problem]) -> list[dict[str, Any]]:
    variable = "DEVSERVERS_LOCAL_KEYS_FILE"
    try:
        who = person(env)
    except PersonError as error:
        reason, _, remedy = str(error).partition("\n  ")
        found.append(Problem(variable, env.get(variable, ""), reason, remedy))
        return []
    if not who.keys:
        remedy = f"run ssh-keygen -t ed25519, or set {variable} to a file with your public keys"
        reason = f"no public key in {who.keys_from}"
        found.append(Problem(variable, problems.shown(env.get(variable)), reason, remedy))
        return []
    return [{"username": who.name, "sshPublicKeys": list(who.keys)}]
