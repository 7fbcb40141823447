"""Writes infra/catalog/prices.json from the price list that the Karpenter project generates from AWS's.

Go downloads the pinned module and holds it against go.sum (devcluster/tools/prices). Of its 1367 types only the
catalog's are kept: a review of a newer list then shows what changes for a pool, and nothing else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devcluster import gotool
from devcluster.gotool import ToolchainError
from devcluster.modules import MODULES
from devcluster.progress import Progress
from devservers_core.paths import Paths
from infra.catalog import FAMILIES
from infra.catalog.prices import COMMAND, FILE

MODULE = "github.com/aws/karpenter-provider-aws"
LIST = "pkg/providers/pricing/zz_generated.pricing_aws.go"
PINS = MODULES / "prices"
REGION = "us-east-1"
_GENERATED = re.compile(rf"^// generated at (\d{{4}}-\d\d-\d\d)T\S+ for {REGION}$", re.M)
_OF_REGION = re.compile(rf'^\t"{REGION}": \{{$(.*?)^\t\}},$', re.M | re.S)
_PRICE = re.compile(r'"([a-z0-9-]+\.[a-z0-9-]+)": (\d+\.\d+),')


def update(paths: Paths, progress: Progress, file: Path = FILE) -> bool:
    """Write the file anew; whether it changed. Raises :class:`ToolchainError`."""
    env = gotool.environment(paths, progress)
    with progress.step(f"downloading {MODULE}"):
        archive, version, checksum = gotool.module_zip(MODULE, PINS, env)
    with zipfile.ZipFile(archive) as opened:
        generated, prices = parse(opened.read(f"{MODULE}@{version}/{LIST}").decode())
    types = [family.instance_type(size) for family in FAMILIES.values() for size in family.sizes]
    content = document(version, checksum, generated, {each: prices[each] for each in types if each in prices})
    if file.exists() and file.read_text() == content:
        return False
    file.write_text(content)
    return True


def parse(text: str) -> tuple[str, dict[str, float]]:
    """The day a generated list is of, and its prices by instance type. Raises :class:`ToolchainError`."""
    generated, region = _GENERATED.search(text), _OF_REGION.search(text)
    prices = {kind: float(price) for kind, price in _PRICE.findall(region[1])} if region else {}
    if not generated or not prices:
        raise ToolchainError(
            f"{MODULE}'s price list has another form than it had\n"
            f"  compare {LIST} with parse() in infra/deploy/prices.py, or go back to the release before"
        )
    return generated[1], prices


def document(version: str, checksum: str, generated: str, prices: Mapping[str, float]) -> str:
    """The data file."""
    content: dict[str, Any] = {
        "about": f"US dollars an hour, Linux, on demand, {REGION}. `{COMMAND}` writes this file: don't edit it.",
        "source": f"https://{MODULE}/blob/{version}/{LIST}",
        "module": f"{MODULE}@{version}",
        "checksum": checksum,
        "generated": generated,
        "licence": "The list is Apache-2.0, Copyright Amazon.com, Inc. or its affiliates; only facts were taken.",
        "prices": dict(sorted(prices.items())),
    }
    return json.dumps(content, indent=2) + "\n"
