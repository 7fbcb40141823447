"""The price list of EC2 instances, infra/catalog/prices.json.

`make prices` writes the file. Prices are facts of AWS's own list, as the Karpenter project generated it; the file says
from which release, and when.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
COMMAND = "make prices"


@dataclass(frozen=True)
class PriceList:
    """US dollars an hour by instance type: Linux, on demand, in one region."""

    as_of: str
    """The day the list was generated, as 2026-07-20."""
    source: str
    """Where it can be read."""
    on_demand: Mapping[str, float] = field(hash=False)


def read(file: Path = FILE) -> PriceList:
    """The list of a file. Whatever is wrong with it raises: it is part of the program."""
    content = json.loads(file.read_text())
    return PriceList(content["generated"], content["source"], content["prices"])


PRICES = read()
