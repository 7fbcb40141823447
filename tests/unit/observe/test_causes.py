"""Messages of the scheduler, of quotas and of the kubelet, and what a person reads instead."""

from __future__ import annotations

import pytest

from devservers.observe.causes import rejection_cause, unschedulable_cause
from devservers.observe.progress.image import pull_failure_message
from tests.support.operator.observe_objects import flavor

GPU = flavor(nodeSelector={"gpu": "a100"})


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. preemption: 0/3 nodes are available",
            "Unschedulable",
            "No node has enough free CPU and memory for flavor big. Stop a server",
        ),
        ("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", "Unschedulable", "enough free GPUs"),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            "Unschedulable",
            "the labels that flavor big selects (gpu=a100). Choose another flavor",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}.",
            "Unschedulable",
            "reserved for others (nvidia.com/gpu)",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint(s) {node.kubernetes.io/not-ready: }.",
            "Unschedulable",
            "A node isn't ready.",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
            "Unschedulable",
            "short of disk",
        ),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", "Unschedulable", "no new pods for now"),
        ("0/1 nodes are available: 1 Too many pods.", "Unschedulable", "limit of pods"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "Unschedulable", "isn't bound"),
        ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", "Unschedulable", "another zone"),
        (
            "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
            "Unschedulable",
            "no storage",
        ),
        ('persistentvolumeclaim "data" not found', "VolumeNotFound", "The volume claim data doesn't exist."),
        ("no nodes available to schedule pods", "Unschedulable", "The cluster has no node."),
        ("0/4 nodes are available: 4 something new.", "Unschedulable", "something new"),
        ("", "Unschedulable", "Kubernetes finds no node"),
    ],
)
def test_unschedulable_cause_names_the_problem_and_what_to_do(text: str, reason: str, words: str) -> None:
    why = unschedulable_cause(text, "big", GPU)
    assert why.reason == reason
    assert words in why.message


def test_unschedulable_cause_is_the_same_for_other_counts() -> None:
    texts = [f"0/{n} nodes are available: {n} Insufficient cpu, {n} something new." for n in (1, 20)]
    assert len({unschedulable_cause(text, "big", None) for text in texts}) == 1
    unknown = [f"0/{n} nodes are available: {n} something new." for n in (1, 20)]
    assert len({unschedulable_cause(text, "big", None) for text in unknown}) == 1


def test_rejection_cause_of_a_quota_has_request_and_limit_and_no_pod_name() -> None:
    text = (
        'pods "mydev-abc-{0}" is forbidden: exceeded quota: dev-user, requested: requests.nvidia.com/gpu=2, '
        "used: requests.nvidia.com/gpu={1}, limited: requests.nvidia.com/gpu=4"
    )
    first, second = rejection_cause(text.format("xyz12", 3)), rejection_cause(text.format("abc34", 4))
    assert first == second
    assert first.reason == "QuotaExceeded"
    assert "asks for 2 GPUs" in first.message
    assert "is 4 GPUs" in first.message


def test_rejection_cause_of_missing_limits_is_pod_refused() -> None:
    why = rejection_cause('pods "x" is forbidden: failed quota: dev-user: must specify limits.cpu for: dev')
    assert why.reason == "PodRefused"
    assert "must specify limits.cpu" in why.message


@pytest.mark.parametrize(
    ("reason", "text", "words"),
    [
        ("ErrImagePull", "docker.io/library/nope:404: not found", "doesn't exist. Check"),
        ("ErrImagePull", "pull access denied, repository does not exist or may require authorization", "isn't public"),
        ("ErrImagePull", "lookup reg.example on 10.0.0.10:53: no such host", "registry doesn't answer"),
        ("ErrImagePull", "toomanyrequests: You have reached your pull rate limit", "too many pulls"),
        ("ErrImagePull", "no match for platform in manifest", "processor"),
        ("InvalidImageName", "couldn't parse image name", "isn't a valid name"),
        ("ErrImageNeverPull", "", "isn't on the node"),
        ("ImagePullBackOff", "Back-off pulling image", "can't be pulled"),
    ],
)
def test_pull_failure_message_names_the_cause(reason: str, text: str, words: str) -> None:
    message = pull_failure_message("nope:404", reason, text, None)
    assert message.startswith("The image nope:404 ")
    assert words in message
