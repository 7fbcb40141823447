"""Checks audit lines against bastion/audit/schema.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import bastion

SCHEMA: dict[str, Any] = json.loads((Path(bastion.__path__[0]) / "audit" / "schema.json").read_text())
_TYPES = {"string": str, "integer": int, "array": list, "object": dict}
_KNOWN = {"type", "const", "enum", "pattern", "maxLength", "items", "description"}


def problems(line: str) -> list[str]:
    """What is wrong with a line; empty when nothing is."""
    found = []
    if line.count("\n") != 1 or not line.endswith("\n") or any(not " " <= char <= "~" for char in line[:-1]):
        found.append("not one line of printable ASCII")
    value = json.loads(line)
    found += [f"{name} is missing" for name in SCHEMA["required"] if name not in value]
    found += [f"{name} is unknown" for name in value if name not in SCHEMA["properties"]]
    for name, rule in SCHEMA["properties"].items():
        if name in value:
            found += [f"{name}: {each}" for each in _broken(value[name], rule)]
    return found


def _broken(value: Any, rule: dict[str, Any]) -> list[str]:
    assert rule.keys() <= _KNOWN, f"{rule.keys() - _KNOWN} is not checked here yet"
    found = []
    kind = rule.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or isinstance(value, bool)):
        return [f"{value!r} is no {kind}"]
    if "const" in rule and value != rule["const"]:
        found.append(f"{value!r} is not {rule['const']!r}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{value!r} is none of {rule['enum']}")
    if "pattern" in rule and not re.search(rule["pattern"], value):
        found.append(f"{value!r} does not match")
    if len(value) > rule["maxLength"] if "maxLength" in rule else False:
        found.append("too long")
    for item in value if "items" in rule else ():
        found += _broken(item, rule["items"])
    return found
