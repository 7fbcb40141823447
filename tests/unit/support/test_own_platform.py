"""The comparison of a platform before and after a run of the test suite."""

from __future__ import annotations

from tests.support.own_platform import Snapshot, _identity

BEFORE = Snapshot(
    {"Pod.v1 a/b": ("uid-1", "1", "7"), "Secret.v1 a/c": ("uid-2", "", "8")},
    {10: ("etcd", "100"), 11: ("kubelet", "101")},
)


def test_lost_without_a_change_is_empty() -> None:
    assert BEFORE.lost(BEFORE) == []


def test_lost_names_changed_added_and_ended() -> None:
    after = Snapshot(
        {"Pod.v1 a/b": ("uid-1", "1", "9"), "Pod.v1 a/new": ("uid-3", "1", "10")},
        {10: ("etcd", "100"), 11: ("kubelet", "999"), 12: ("runc", "1000")},
    )
    said = BEFORE.lost(after)
    assert len(said) == 4
    assert any(line.startswith("Pod.v1 a/b: ") for line in said)
    assert any(line.startswith("Secret.v1 a/c: ") and line.endswith("None") for line in said)
    assert "Pod.v1 a/new came" in said
    assert "process kubelet (11) ended" in said


def test_settled_omits_short_lived_processes() -> None:
    later = Snapshot(BEFORE.objects, {10: ("etcd", "100"), 11: ("iptables", "500"), 12: ("runc", "501")})
    assert BEFORE.settled(later).processes == {10: ("etcd", "100")}


def test_identity_of_a_node_is_its_uid() -> None:
    metadata = {"name": "n", "uid": "u", "generation": 2, "resourceVersion": "5"}
    assert _identity({"kind": "Node", "metadata": metadata}) == ("u",)
    assert _identity({"kind": "Deployment", "metadata": metadata}) == ("u", "2", "5")
