"""The reference page of AWS settings, compared with the settings models."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from infra import ROOT
from infra.aws.settings import Aws
from infra.problems import allowed_at, model_in

PAGE = ROOT / "docs" / "aws-settings.md"


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key, inner = f"{prefix}{field.alias or name}", model_in(field.annotation)
        words = " ".join((field.description or "").split())
        if inner is None:
            yield f"| `{key}` | {allowed_at(model, [field.alias or name])} | {default(field)} | {words} |"
            continue
        if field.default is None:
            yield f"| `{key}` | an object | none | {words} |"
        yield from rows(inner, f"{key}[]." if "tuple" in str(field.annotation) else f"{key}.")


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"`{value}`"
        if value and isinstance(value, str)
        else f"{value:g}"
        if isinstance(value, int | float)
        else "empty"
    )


def test_settings_page_lists_every_key_with_type_default_and_meaning() -> None:
    wanted = list(rows(Aws))
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert written == wanted, "\n".join(["the table should be:", *wanted])
    assert all(not row.endswith("|  |") for row in wanted)
