"""The index of a user's secrets: keys and times come from who set which field, and never a value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devservers.build.secret_index import MAX_KEYS, config_map, entry, foreign_entries
from tests.support.operator.build_objects import user


def metadata(*keys: str, name: str = "user-secret-hf", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:type": {}, "f:data": {".": {}, **{f"f:{key}": {} for key in keys}}}
    manager = {"manager": "devctl", "operation": "Update", "time": "2026-05-01T00:00:00Z", "fieldsV1": fields}
    return {"name": name, "creationTimestamp": "2026-04-01T00:00:00Z", "managedFields": [manager], **more}


def test_entry_has_the_keys_and_the_time_of_the_last_write_of_a_value() -> None:
    label = {"time": "2026-06-01T00:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": {}}}}
    of_another = {"time": "2026-05-02T00:00:00Z", "fieldsV1": {"f:data": {"f:a.b": {}}}}
    written = metadata("key-id", resourceVersion="7")
    written["managedFields"] += [of_another, label]
    assert entry(written) == '{"keys":["a.b","key-id"],"since":"2026-05-02T00:00:00Z","version":"7"}'


@pytest.mark.parametrize(
    ("managers", "since"),
    [
        (None, "2026-04-01T00:00:00Z"),
        ([], "2026-04-01T00:00:00Z"),
        ([{}], "2026-04-01T00:00:00Z"),
        ([{"fieldsV1": {"f:data": {}}, "time": "2027-01-01T00:00:00Z"}], "2026-04-01T00:00:00Z"),
    ],
)
def test_entry_without_managers_has_no_keys(managers: Any, since: str) -> None:
    """Whoever writes a Secret may leave out who set what."""
    assert json.loads(entry(metadata(managedFields=managers)) or "") == {"keys": [], "since": since, "version": ""}


@pytest.mark.parametrize("name", ["hf", "user-secret-", "user-secret-A", "user-secret-a.b", "user-secret-" + "a" * 41])
def test_entry_of_a_name_that_no_server_refers_to_is_left_out(name: str) -> None:
    assert entry(metadata("value", name=name)) is None


def test_entry_is_bounded() -> None:
    text = entry(metadata(*(f"{number:03}" for number in range(500)), "k" * 253, "a b"))
    assert json.loads(text or "")["keys"] == [f"{number:03}" for number in range(MAX_KEYS)]


def test_config_map_of_no_secrets_has_no_data_and_foreign_entries_are_named() -> None:
    assert "data" not in config_map(user(), {})
    live = config_map(user(), {"user-secret-a": "{}", "user-secret-b": "{}"})
    assert live["data"] == {"user-secret-a": "{}", "user-secret-b": "{}"}
    assert foreign_entries(live, {"user-secret-b": "{}"}) == ["user-secret-a"]
    assert foreign_entries(config_map(user(), {}), {}) == []
