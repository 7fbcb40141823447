"""Reviewed components: their webhooks and DaemonSets, and the decisions on them.

Invariant: facts (rendered.yaml, read.yaml) and decisions (decisions.yaml) are apart, so that `make reviewed` writes
facts anew and touches no decision.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from devservers_core.types import Json

FOLDER = Path(__file__).parent
RENDERED, READ, DECISIONS = FOLDER / "rendered.yaml", FOLDER / "read.yaml", FOLDER / "decisions.yaml"

Selector = Json
"""A LabelSelector: matchLabels, matchExpressions."""
Expressions = list[Json]
"""The matchExpressions of one node selector term, of which all must hold."""


class Record(BaseModel):
    """A record of a file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Webhook(Record):
    """One webhook of a MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""

    name: str
    kind: Literal["mutating", "validating"]
    rules: list[str]
    """Each as `CREATE,UPDATE pods` or `CREATE apps/deployments`."""
    failure: Literal["Fail", "Ignore"]
    namespaces: Selector = {}
    objects: Selector = {}

    @property
    def resources(self) -> set[str]:
        """The resources it sees, without their group: `pods`, `deployments`."""
        return {rule.split(" ", 1)[1].rpartition("/")[2] for rule in self.rules}


class DaemonSet(Record):
    """Where a DaemonSet's pods go, with the chart's or add-on's own values."""

    name: str
    tolerations: list[dict[str, Any]] = []
    node_selector: dict[str, str] = {}
    affinity: list[Expressions] = []
    """Node selector terms of its required node affinity, of which one must hold; empty: any node."""


class Component(Record):
    """One pinned version of an add-on, a chart, or what EKS itself installs."""

    component: str
    version: str
    """As the catalog has it; of `eks` the cluster's minor version."""
    source: str
    """Address of the manifests."""
    seen: str
    """What of the source was looked at: a tag, a commit, the sum of a Go module."""
    date: datetime.date
    exact: bool = False
    """Whether that was of this very version."""
    note: str = ""
    """What is not sure; must be said where the look was of another version."""
    accepts: list[str] = []
    """Paths that an add-on's configuration schema is known to take; empty where nobody could look it up."""
    webhooks: list[Webhook] = []
    daemonsets: list[DaemonSet] = []


class WebhookDecision(Record):
    """What webhooks may do to our objects, and how they are kept from more."""

    component: str
    names: list[str]
    """Patterns; the first decision that has one for a webhook's name is that webhook's."""
    does: str
    """What it changes or refuses, in our namespaces."""
    values: dict[str, Any] = {}
    """Our configuration that keeps it out, by path; a test holds the program against it."""
    down: str = ""
    """What happens while nobody answers; must be said where that is a refusal."""


class DaemonSetDecision(Record):
    """Whether a DaemonSet must run on GPU nodes."""

    component: str
    name: str
    nodes: Literal["gpu", "efa", "elsewhere"]
    """`gpu`: on each GPU node; `efa`: on those with EFA cards; `elsewhere`: never meant for ours."""
    why: str
    tolerations_at: str = ""
    """Path of the value that replaces its tolerations."""
    more_tolerations_at: str = ""
    """Path of the value whose tolerations come to its own."""
    all_taints_at: str = ""
    """Path of the switch that makes it tolerate every taint."""
    affinity_at: str = ""
    """Path of the value that replaces its affinity."""
    labels_at: str = ""
    """Path of the value with the keys of node labels, and the values that one of them must have."""
    gaps: list[str] = []
    """Patterns of instance types it does not reach with our configuration; `why` says what follows."""


class Decisions(Record):
    """decisions.yaml."""

    webhooks: list[WebhookDecision]
    daemonsets: list[DaemonSetDecision]

    def of_webhook(self, component: str, webhook: str) -> WebhookDecision | None:
        """The decision about a webhook."""
        for decision in self.webhooks:
            if decision.component == component and any(fnmatchcase(webhook, name) for name in decision.names):
                return decision
        return None

    def of_daemonset(self, component: str, name: str) -> DaemonSetDecision | None:
        """The decision about a DaemonSet."""
        found = (each for each in self.daemonsets if (each.component, each.name) == (component, name))
        return next(found, None)


_COMPONENTS = TypeAdapter(list[Component])


def load(path: Path) -> list[Component]:
    """The components of one file."""
    return _COMPONENTS.validate_python(yaml.safe_load(path.read_text()) or [])


@cache
def components() -> dict[tuple[str, str], Component]:
    """All reviewed components by name and version, rendered ones first."""
    return {(each.component, each.version): each for path in (READ, RENDERED) for each in load(path)}


@cache
def decisions() -> Decisions:
    """What was decided."""
    return Decisions.model_validate(yaml.safe_load(DECISIONS.read_text()))


def dump(found: Iterable[Component]) -> str:
    """Components as they are in the file, in a fixed order."""
    ordered = sorted(found, key=lambda each: (each.component, each.version))
    plain = [each.model_dump(mode="python", exclude_defaults=True) for each in ordered]
    return yaml.safe_dump(plain, sort_keys=False, width=120)
