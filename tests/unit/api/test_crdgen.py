"""crdgen: each rewrite by itself, each refusal, and that operator/crds is what the models say now."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from devservers.api.crdgen import DIRECTORY, KINDS, UnsupportedSchemaError, crd, files, root_schema, structural
from devservers.api.meta import Resource


def _of(model: type[BaseModel]) -> dict[str, Any]:
    raw = model.model_json_schema()
    return structural(raw, raw.get("$defs", {}), model.__name__)


class Inner(BaseModel):
    size: int = 1
    name: str | None = None


class Plain(BaseModel):
    note: str | None = None


def test_structural_reference_is_inlined_with_the_keys_beside_it() -> None:
    class Outer(BaseModel):
        inner: Inner = Field(description="beside")

    found = _of(Outer)["properties"]["inner"]
    assert found == {
        "type": "object",
        "description": "beside",
        "properties": {"size": {"type": "integer", "default": 1}, "name": {"type": "string"}},
    }


def test_structural_optional_is_its_schema_without_default() -> None:
    assert _of(Plain)["properties"] == {"note": {"type": "string"}}


def test_structural_optional_keeps_constraints_and_rules() -> None:
    class Model(BaseModel):
        name: (
            Annotated[str, Field(max_length=3, json_schema_extra={"x-kubernetes-validations": [{"rule": "true"}]})]
            | None
        ) = None

    assert _of(Model)["properties"]["name"] == {
        "type": "string",
        "maxLength": 3,
        "x-kubernetes-validations": [{"rule": "true"}],
    }


def test_structural_object_default_becomes_empty_where_the_server_can_fill_it() -> None:
    class Outer(BaseModel):
        filled: Inner = Inner()
        bare: Plain = Plain()

    properties = _of(Outer)["properties"]
    assert properties["filled"]["default"] == {}
    assert "default" not in properties["bare"]


def test_structural_optional_object_with_inner_defaults_has_no_default() -> None:
    """The server would fill {} in, and refuse the CRD where the object has required fields."""

    class Inner(BaseModel):
        needed: str
        days: tuple[str, ...] = ("Mon",)

    class Outer(BaseModel):
        inner: Inner | None = None

    assert "default" not in _of(Outer)["properties"]["inner"]


@pytest.mark.parametrize("default", ["", [], {}])
def test_structural_default_equal_to_absence_is_left_out(default: object) -> None:
    found = structural({"type": "array", "items": {"type": "string"}, "default": default}, {}, "x")
    assert "default" not in found


@pytest.mark.parametrize("default", [0, False, "a", ["a"]])
def test_structural_default_with_a_value_stays(default: object) -> None:
    assert structural({"type": "string", "default": default}, {}, "x")["default"] == default


def test_structural_integer_or_string_becomes_int_or_string() -> None:
    class Model(BaseModel):
        value: int | str | None = None

    assert _of(Model)["properties"]["value"] == {"x-kubernetes-int-or-string": True}


def test_structural_const_becomes_an_enum_of_one() -> None:
    class Model(BaseModel):
        kind: Literal["a"]

    assert _of(Model)["properties"]["kind"] == {"type": "string", "enum": ["a"]}


def test_structural_forbidden_extras_are_left_to_the_server() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    assert "additionalProperties" not in _of(Model)


def test_structural_map_keeps_the_schema_of_its_values() -> None:
    class Model(BaseModel):
        labels: dict[str, Annotated[str, Field(max_length=9)]]

    assert _of(Model)["properties"]["labels"] == {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": 9},
    }


class Tree(BaseModel):
    children: list[Tree] = []


class _Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class _Union(BaseModel):
    a: int | Inner


class _Above(BaseModel):
    a: Annotated[int, Field(gt=0)]


class _Pair(BaseModel):
    a: tuple[int, str]


class _Set(BaseModel):
    a: set[str]


class _Format(BaseModel):
    a: Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class _Anything(BaseModel):
    a: Any


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Tree, "Tree.children\\[\\]: Tree contains itself"),
        (_Extra, "named fields or free keys, not both"),
        (_Union, "_Union.a: a union; use one optional object per case"),
        (_Above, "exclusiveMinimum: not part of a structural schema"),
        (_Pair, "prefixItems: not part of a structural schema"),
        (_Set, "uniqueItems: not part of a structural schema"),
        (_Format, "the server doesn't check 'uuid'"),
        (_Anything, "_Anything.a: no type"),
    ],
)
def test_structural_schema_a_crd_cannot_express_is_refused(model: type[BaseModel], text: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=text):
        _of(model)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names.kind)
def test_crd_list_that_cel_walks_is_bounded(kind: type[Resource]) -> None:
    """A string, list or map of spec without a limit would let the cost estimate refuse the whole CRD."""

    def unbounded(schema: dict[str, Any], path: str) -> list[str]:
        limits = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}
        free = "properties" in schema or "enum" in schema or schema.get("format") == "date-time"
        kind = schema.get("type", "")
        found = [path] if kind in limits and not free and limits[kind] not in schema else []
        for name, each in schema.get("properties", {}).items():
            found += unbounded(each, f"{path}.{name}")
        for part in ("items", "additionalProperties"):
            if isinstance(schema.get(part), dict):
                found += unbounded(schema[part], f"{path}[]")
        return found

    assert unbounded(root_schema(kind)["properties"]["spec"], "spec") == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names.kind)
def test_crd_has_names_scope_version_and_columns(kind: type[Resource]) -> None:
    made = crd(kind)
    version = made["spec"]["versions"][0]
    assert made["metadata"]["name"] == f"{made['spec']['names']['plural']}.devservers.io"
    assert version["subresources"] == {"status": {}}
    assert [each["name"] for each in version["additionalPrinterColumns"]][-1] == "Age"
    assert "status" not in version["schema"]["openAPIV3Schema"].get("required", [])


@pytest.mark.parametrize("name", files())
def test_files_equal_the_committed_files(name: str) -> None:
    assert (DIRECTORY / name).read_text() == files()[name], "run `python -m devservers.api.crdgen` and commit"


def test_files_cover_every_committed_file() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == set(files())
