"""Configurations of AWS environments: the smallest, and the committed stacks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from infra import ROOT
from infra.settings.aws.models import Aws
from infra.settings.loading import load

TODAY = date(2026, 11, 21)
STACKS = ("dev", "staging", "prod")
CPU = {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 4}
GPU = {"name": "gpu", "family": "g6e", "size": "2xlarge", "max": 4}
LEAST: dict[str, Any] = {
    "cluster": "aws",
    "environment": "dev",
    "region": "eu-central-1",
    "accountId": "111122223333",
    "owner": "platform",
    "costCenter": "ml",
    "network": {"zones": ["eu-central-1a", "eu-central-1b"]},
    "pools": [CPU, GPU],
    "images": {name: f"registry.example.com/{name}:1" for name in ("operator", "agent", "base", "bastion")},
}
PRODUCTION: dict[str, Any] = LEAST | {
    "environment": "prod",
    "network": {"zones": ["eu-central-1a", "eu-central-1b", "eu-central-1c"]},
}


def raw(base: Mapping[str, Any] = LEAST, /, **changes: Any) -> dict[str, str]:
    """A configuration as Pulumi hands it to a program; what is changed to None is left out."""
    whole = dict(base) | changes
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in whole.items() if value is not None
    }


def aws(base: Mapping[str, Any] = LEAST, /, **changes: Any) -> Aws:
    """The environment that a configuration makes."""
    found = load("test", raw(base, **changes), {}, TODAY).aws
    assert found is not None
    return found


def committed(stack: str) -> dict[str, str]:
    """What a committed stack says."""
    whole = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    return raw({key.removeprefix("devservers:"): value for key, value in whole.items()})
