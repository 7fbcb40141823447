"""Differences between a manifest and a stored object: only fields that the manifest sets."""

from __future__ import annotations

from typing import Any

import pytest

from devservers.reconcile.compare import differences, with_applied_hash
from devservers_core.names import ANNOTATION_APPLIED

LIVE: dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "foreign": "x"}},
    "spec": {
        "replicas": 1,
        "template": {
            "containers": [
                {"name": "dev", "image": "a", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}]},
                {"name": "injected", "image": "b"},
            ]
        },
        "ports": [{"port": 22, "name": "ssh", "nodePort": 0}],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
}


@pytest.mark.parametrize(
    "desired",
    [
        {"metadata": {"labels": {"a": "1"}}},
        {"spec": {"replicas": 1}},
        {"spec": {"template": {"containers": [{"name": "dev", "args": ["x", "y"]}]}}},
        {"spec": {"template": {"containers": [{"name": "dev", "env": [{"name": "A", "value": "1"}]}]}}},
        {"spec": {"ports": [{"port": 22}]}},
        {"spec": {"volumes": [], "nodeSelector": {}}},
    ],
)
def test_differences_ignores_fields_of_others(desired: dict[str, Any]) -> None:
    assert list(differences(desired, LIVE)) == []


@pytest.mark.parametrize(
    ("desired", "path"),
    [
        ({"metadata": {"labels": {"a": "2"}}}, "metadata.labels.a"),
        ({"metadata": {"labels": {"b": "2"}}}, "metadata.labels.b"),
        ({"spec": {"replicas": 0}}, "spec.replicas"),
        (
            {"spec": {"template": {"containers": [{"name": "dev", "args": ["x"]}]}}},
            "spec.template.containers[dev].args",
        ),
        (
            {"spec": {"template": {"containers": [{"name": "other"}]}}},
            "spec.template.containers[other]",
        ),
        ({"spec": {"tolerations": []}}, "spec.tolerations"),
        ({"spec": {"ports": {"port": 22}}}, "spec.ports"),
        ({"spec": {"replicas": {"a": 1}}}, "spec.replicas"),
    ],
)
def test_differences_finds_changed_fields_of_ours(desired: dict[str, Any], path: str) -> None:
    assert list(differences(desired, LIVE)) == [path]


def test_with_applied_hash_changes_when_a_field_is_no_longer_set() -> None:
    before = with_applied_hash({"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}})
    after = with_applied_hash({"metadata": {"name": "a"}, "spec": {"x": 1}})
    assert list(differences(after, before)) == [f"metadata.annotations.{ANNOTATION_APPLIED}"]


def test_with_applied_hash_is_stable_and_changes_nothing_else() -> None:
    desired = {"metadata": {"name": "a", "annotations": {"k": "v"}}, "spec": {}}
    assert with_applied_hash(desired) == with_applied_hash(desired)
    assert desired["metadata"] == {"name": "a", "annotations": {"k": "v"}}


def test_differences_of_a_port_with_two_protocols_compares_the_list() -> None:
    both = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    assert list(differences({"ports": both}, {"ports": both})) == []
    assert list(differences({"ports": both}, {"ports": both[:1]})) == ["ports"]
