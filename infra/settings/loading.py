"""Reads and checks the settings of a stack from its Pulumi configuration.

Invariant: a stack's configuration is whole and valid before the first resource is made, and every problem of it is
reported at once.

Pure but for the person's key files and the checkout's image sources; no Pulumi resource is made here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from infra import PROJECT, ROOT
from infra.settings import problems
from infra.settings.aws import checks, ecr_images
from infra.settings.aws.models import KEYS as AWS_KEYS
from infra.settings.aws.models import Aws
from infra.settings.checks import flavors, headroom, lifecycle
from infra.settings.person import PersonError, person
from infra.settings.platform.bastion import LOCAL_KEYS
from infra.settings.platform.overcommit import AWS_OVERCOMMIT
from infra.settings.problems import Problem, SettingsError
from infra.settings.stack import AWS, CHART_VARIABLE, IMAGE_VARIABLES, KEYS, LOCAL, Settings

_Model = TypeVar("_Model", bound=BaseModel)


def load(stack: str, config: Mapping[str, str], env: Mapping[str, str], today: date | None = None) -> Settings:
    """The settings of a stack.

    ``config`` holds the values as Pulumi gives them to a program: keys without the project's prefix, text as
    it is, everything else as JSON. ``env`` is the process's environment; ``today`` decides which Kubernetes versions
    have support. Raises :class:`SettingsError` with everything that is wrong.
    """
    on_aws = config.get("cluster") == AWS
    known = (KEYS | AWS_KEYS) if on_aws else KEYS
    values, found = _decoded(_without_unset(config), known)
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
        values["images"] = _built_images(stack, parsed, environment) | images
    settings = _parsed(stack, Settings, values, found)
    # Which flavors there are is known of pools that can be.
    if settings is not None and not wrong and (parsed is not None or not on_aws):
        found += flavors.problems_of(settings.users, flavors.names(parsed))
        found += headroom.problems_of(settings.fast_starts, parsed)
        found += lifecycle.problems_of(settings, parsed)
    if found or settings is None:
        raise SettingsError(found)
    return settings.model_copy(update={"aws": parsed})


def _without_unset(config: Mapping[str, str]) -> dict[str, str]:
    """The configuration without what a stack doesn't say about AWS.

    Pulumi hands a program the defaults of Pulumi.yaml too, and a key that has none there is asked of every stack, the
    local one included. So AWS's keys have empty ones.
    """
    return {key: text for key, text in config.items() if key not in AWS_KEYS or text not in ("", "{}", "[]")}


def _built_images(stack: str, aws: Aws | None, environment: Mapping[str, Any]) -> dict[str, str]:
    """References of the images that `pulumi up` builds.

    For an environment with problems placeholders: these problems are reported, not missing images.
    """
    if aws is not None:
        return ecr_images.references(stack, aws, ROOT) if aws.registry.build else {}
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
                remedy = f"remove it: it is for cluster aws only; or set {PROJECT}:cluster to aws"
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
