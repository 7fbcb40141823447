"""When a Deployment counts as rolled out."""

from __future__ import annotations

from typing import Any

import pytest

from infra.deploy.rollouts import awaited_seconds, unfinished

DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


def deployment(annotations: dict[str, str] | None = None, replicas: int = 2, **status: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "generation": 3, "annotations": annotations or {}},
        "spec": {"replicas": replicas},
        "status": DONE | status,
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (deployment(), ""),
        (deployment(replicas=0) | {"status": {"observedGeneration": 3}}, ""),
        (deployment(observedGeneration=2), "has not looked at its latest change"),
        (deployment(updatedReplicas=1), "1 of 2 pods are of its latest change"),
        (deployment(replicas=1) | {"status": DONE | {"replicas": 2, "updatedReplicas": 1}}, "1 pods are of an earlier"),
        (deployment(availableReplicas=0), "0 of 2 pods are available"),
        ({"metadata": {"generation": 1}, "spec": {}}, "has not looked at its latest change"),
    ],
)
def test_unfinished_of_a_status_names_what_is_missing(found: dict[str, Any], words: str) -> None:
    assert words in unfinished(found) if words else unfinished(found) == ""


@pytest.mark.parametrize(
    ("annotations", "seconds"),
    [
        ({}, None),
        ({"pulumi.com/skipAwait": "true"}, None),
        ({"pulumi.com/skipAwait": "true", "pulumi.com/timeoutSeconds": "9"}, None),
        ({"pulumi.com/timeoutSeconds": "180"}, 180.0),
    ],
)
def test_awaited_seconds_follow_the_pulumi_annotations(annotations: dict[str, str], seconds: float | None) -> None:
    assert awaited_seconds(deployment(annotations)) == seconds
