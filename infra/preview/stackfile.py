"""Reads the committed configuration file of a stack.

Invariant: a committed stack is read as Pulumi gives it to the program: our keys, text as it is, the rest as JSON.

A secret stays one: it is encrypted in the file, and whoever only previews gets SECRET in its place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra import PROJECT, ROOT
from infra.errors import InfraError

FOLDER = ROOT / "stacks"
SECRET = "[secret]"


class StackFileError(InfraError):
    """A stack's file is not there or can't be read."""


@dataclass(frozen=True)
class StackFile:
    """A stack's committed configuration: values by key, without the prefix."""

    name: str
    config: dict[str, str]

    @property
    def local(self) -> bool:
        """Whether its cluster is one on this machine."""
        return self.config.get("cluster") == "local"


def names(folder: Path = FOLDER) -> list[str]:
    """The stacks there are, sorted."""
    return sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in folder.glob("Pulumi.*.yaml"))


def read(stack: str, folder: Path = FOLDER) -> StackFile:
    """The file of a stack. Raises :class:`StackFileError`."""
    if stack not in names(folder):
        known = ", ".join(names(folder)) or "(there are none)"
        raise StackFileError(
            f"there is no stack {stack!r}: {folder.name}/Pulumi.{stack}.yaml is missing",
            f"use one of {known}, or copy one of their files",
        )
    path = folder / f"Pulumi.{stack}.yaml"
    try:
        content = yaml.safe_load(path.read_text()) or {}
        values = content.get("config") or {}
        mine = {key: value for key, value in values.items() if key.startswith(f"{PROJECT}:")}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise StackFileError(
            f"{folder.name}/{path.name} can't be read: {' '.join(str(error).split())[:160]}", "correct the file"
        ) from None
    return StackFile(stack, {key.partition(":")[2]: _text(value) for key, value in mine.items()})


def _text(value: object) -> str:
    shown = _without_secrets(value)
    return shown if isinstance(shown, str) else json.dumps(shown)


def _without_secrets(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return SECRET
        return {key: _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return value
