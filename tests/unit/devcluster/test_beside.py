"""What counts as untouched when the test suite ran beside a platform."""

from __future__ import annotations

from tests.support.beside import Snapshot, _identity

BEFORE = Snapshot(
    {"Pod.v1 a/b": ("uid-1", "1", "7"), "Secret.v1 a/c": ("uid-2", "", "8")},
    {10: ("etcd", "100"), 11: ("kubelet", "101")},
)


def test_nothing_lost_is_nothing_said() -> None:
    assert BEFORE.lost(BEFORE) == []


def test_lost_changed_and_added_things_are_named() -> None:
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


def test_processes_that_come_and_go_are_not_counted() -> None:
    later = Snapshot(BEFORE.objects, {10: ("etcd", "100"), 11: ("iptables", "500"), 12: ("runc", "501")})
    assert BEFORE.settled(later).processes == {10: ("etcd", "100")}


def test_what_kubernetes_writes_to_by_itself_is_known_by_its_uid() -> None:
    metadata = {"name": "n", "uid": "u", "generation": 2, "resourceVersion": "5"}
    assert _identity({"kind": "Node", "metadata": metadata}) == ("u",)
    assert _identity({"kind": "Deployment", "metadata": metadata}) == ("u", "2", "5")
