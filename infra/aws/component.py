"""The base component of an environment's parts, and IAM policy documents.

Invariant: every part of an AWS environment is a component of plain resources, each seen by a preview.

Nothing is made inside an `apply`, so a preview with nothing known shows the very resources an update makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi


class Component(pulumi.ComponentResource):
    """A part of an environment, of type `devservers:aws:<its class>`.

    Its resources are made with `self.options()`.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        """``opts`` carries the providers and what must be there before (`depends_on`)."""
        super().__init__(f"devservers:aws:{type(self).__name__}", name, None, opts)
        before = opts.depends_on or []
        self._before: list[pulumi.Resource] = list(before) if isinstance(before, list) else []

    def options(
        self,
        after: list[pulumi.Resource] | None = None,
        *,
        protect: bool = False,
        retain: bool = False,
        ignore: list[str] | None = None,
        within: pulumi.Resource | None = None,
    ) -> pulumi.ResourceOptions:
        """Options of a resource of this component, made after ``after``.

        ``protect`` makes Pulumi refuse to delete it, ``retain`` leaves it in the account when it leaves the program,
        ``ignore`` names the inputs that somebody else changes, and it goes with ``within`` when that goes: nobody asks
        a cluster that is being deleted to delete what is in it.
        """
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=[*self._before, *(after or [])],
            protect=protect or None,
            retain_on_delete=retain or None,
            ignore_changes=ignore,
            deleted_with=within,
        )


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """An IAM policy document of the current version."""
    return {"Version": "2012-10-17", "Statement": [dict(statement) for statement in statements]}


def rendered(policy: Mapping[str, Any]) -> pulumi.Output[str]:
    """A policy document as JSON, whose parts may be outputs."""
    return pulumi.Output.json_dumps(dict(policy))


def trusted(service: str, *actions: str) -> str:
    """The trust policy that lets an AWS service take a role: `pods.eks.amazonaws.com`."""
    return json.dumps(
        document({"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions or ("sts:AssumeRole",))})
    )
