"""The reference of the custom resources, from the generated CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devservers.api.crdgen import KINDS, crd
from docs.generate import NOTICE, cell

_INTRODUCTION = """\
# Custom resources

For administrators and for programs that create servers without devctl. All kinds are of group `devservers.io`,
version `v1`; `kubectl explain devserver.spec` prints the same. The operator alone writes `status`. Rules across
objects, for example which flavors a user may take, are in admission policies
([rights](../guides/administrator.md#rights)).

"""
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} keys",
    "pattern": "matches `{}`",
}


def page() -> str:
    """The page, in Markdown."""
    return (NOTICE + _INTRODUCTION + "".join(_kind(crd(kind)) for kind in KINDS)).rstrip() + "\n"


def _kind(definition: dict[str, Any]) -> str:
    spec = definition["spec"]
    names, version = spec["names"], spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    text = f"## {names['kind']}\n\n{_sentence(schema.get('description', ''))}"
    text += f"`kubectl get {names['plural']}` (short: `{names['shortNames'][0]}`), {spec['scope'].lower()}. Columns: "
    text += ", ".join(each["name"] for each in version["additionalPrinterColumns"]) + ".\n\n"
    for part in ("spec", "status"):
        if part in schema["properties"]:
            text += f"### {names['kind']} {part}\n\n" + _sentence(schema["properties"][part].get("description", ""))
            text += _table(schema["properties"][part])
    rules = dict.fromkeys(_rules(schema, ""))  # a CEL rule for numbers and one for strings may say the same
    if rules:
        text += f"### {names['kind']} rules\n\n" + "".join(f"- {rule}\n" for rule in rules) + "\n"
    return text


def _sentence(text: str) -> str:
    return f"{text}\n\n" if text else ""


def _table(schema: dict[str, Any]) -> str:
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{path}` | {type_} | {default} | {meaning} |" for path, type_, default, meaning in _rows(schema, "")]
    return "\n".join(lines) + "\n\n"


def _rows(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        default = "required" if name in required else f"`{_value(field['default'])}`" if field.get("default") else ""
        yield path, _type(field), default, _meaning(field)
        inner = field.get("items") if field.get("type") == "array" else field
        yield from _rows(inner or {}, f"{path}[]." if field.get("type") == "array" else f"{path}.")


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if field.get("additionalProperties"):
        return f"map of {_type(field['additionalProperties'])}"
    return "time" if field.get("format") == "date-time" else str(field.get("type", "any"))


def _meaning(field: dict[str, Any]) -> str:
    inner = field["items"] if field.get("type") == "array" else field
    limits = [sentence.format(field[key]) for key, sentence in _LIMITS.items() if key in field]
    if "enum" in inner:
        limits.insert(0, "one of " + ", ".join(f"`{each}`" for each in inner["enum"]))
    said = field.get("description", "").rstrip()
    allowed = "; ".join(limits)
    if allowed:
        allowed = f"Allowed: {allowed}."
    return cell(" ".join(each for each in (said, allowed) if each))


def _rules(schema: dict[str, Any], path: str) -> Iterator[str]:
    """What the schema's CEL rules say when they refuse, with the field they stand at."""
    for rule in schema.get("x-kubernetes-validations", []):
        at = f"`{path.lstrip('.')}`: " if path else ""
        yield cell(f"{at}{rule.get('message') or rule['rule']}")
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _rules(schema["items"], f"{path}[]")
