"""CustomResourceDefinitions and admission policies, from operator/crds.

Invariant: the API is the generated, committed YAML under operator/crds; nothing about it is written twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import yaml

from infra.platform.manifest import WAIT_FOR, Component, Manifest, annotated

FOLDER = Path(__file__).resolve().parents[2] / "operator" / "crds"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in Python takes half a second
_ORDER = (
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)


def manifests(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """CRDs, then admission policies, then their bindings, each by name.

    Raises ValueError for any other kind.
    """
    found = [
        document
        for file in sorted(folder.glob("*.yaml"))
        for document in yaml.load_all(file.read_text(), Loader=_LOADER)
        if document
    ]
    unknown = sorted({each["kind"] for each in found} - set(_ORDER))
    if unknown:
        raise ValueError(f"{folder} holds {', '.join(unknown)}; only {', '.join(_ORDER)} belong there")
    return sorted(found, key=lambda each: (_ORDER.index(each["kind"]), each["metadata"]["name"]))


class Crds(Component):
    """The kinds and their admission policies: made first, and gone last."""

    def __init__(self, opts: pulumi.ResourceOptions) -> None:
        super().__init__("crds", opts)
        made: dict[str, list[Manifest]] = {kind: [] for kind in _ORDER}
        for manifest in manifests():
            position = _ORDER.index(manifest["kind"])
            before = made[_ORDER[position - 1]] if position else []
            if position == 0:
                # Until then the API server answers 404 for objects of the kind.
                manifest = annotated(manifest, {WAIT_FOR: "condition=Established"})
            made[manifest["kind"]].append(self.add(manifest, before))
        self.register_outputs({})
