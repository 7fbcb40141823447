"""Sources of reviewed components: pinned Go modules with checksums.

A component that is not here is read by hand, in read.yaml: its source is no Go module, or no proxy has its releases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.catalog import VERSIONS
from infra.platform.kueue import installation

_AWS = "https://github.com/aws/"
_SIGS = "https://github.com/kubernetes-sigs/"
_CSI = "https://github.com/kubernetes-csi/"


@dataclass(frozen=True)
class Source:
    """A component's module, and the folder with its chart or plain manifests."""

    component: str
    module: str
    folder: str
    repository: str
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the chart makes its webhooks of; a test holds the rest of the program against it."""

    def tag(self, version: str) -> str:
        """The module's tag of a pinned version: v1.22.4 for `v1.22.4-eksbuild.3`."""
        plain = version.partition("-eksbuild.")[0]
        return plain if plain.startswith("v") else f"v{plain}"


_KUEUE = {"managerConfig": {"controllerManagerConfigYaml": json.dumps(installation.configuration(2))}}
SOURCES = (
    Source("vpc-cni", "github.com/aws/amazon-vpc-cni-k8s", "charts/aws-vpc-cni", f"{_AWS}amazon-vpc-cni-k8s"),
    Source(
        "aws-ebs-csi-driver",
        "github.com/kubernetes-sigs/aws-ebs-csi-driver",
        "charts/aws-ebs-csi-driver",
        f"{_SIGS}aws-ebs-csi-driver",
    ),
    Source(
        "snapshot-controller",
        "github.com/kubernetes-csi/external-snapshotter/v8",
        "deploy/kubernetes/snapshot-controller",
        f"{_CSI}external-snapshotter",
    ),
    Source("kueue", "sigs.k8s.io/kueue", "charts/kueue", f"{_SIGS}kueue", _KUEUE),
)


def pinned(source: Source) -> Iterator[str]:
    """The versions of a component that the catalog pins, each once."""
    if source.component == installation.RELEASE:
        yield installation.VERSION
    yield from dict.fromkeys(
        each.addons[source.component] for each in VERSIONS.values() if source.component in each.addons
    )
