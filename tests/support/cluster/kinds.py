"""Installs kinds of others, as Kueue's, and removes them again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.wait import eventually

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def install_kinds(admin: Client, definitions: Iterable[Json], version: str, kinds: Iterable[str]) -> None:
    """The definitions, and the API server serves `kinds` of an API version."""
    for definition in definitions:
        admin.apply(definition)
    for kind in kinds:
        eventually(partial(_served, admin, version, kind), f"{kind} served")


def remove_kinds(admin: Client, names: Iterable[str], version: str, kinds: Iterable[str]) -> None:
    """No definitions of these names, and the API server serves none of `kinds`."""
    for name in names:
        admin.delete(*CRD, name)
    for kind in kinds:
        eventually(lambda kind=kind: not _served(admin, version, kind), f"{kind} gone")  # type: ignore[misc]


def _served(admin: Client, version: str, kind: str) -> bool:
    try:
        admin.list(version, kind)
    except ApiError:
        return False
    return True
