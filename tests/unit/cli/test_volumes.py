"""Tests `devctl volume` against an API server in memory."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from devctl.resources.volumes import growth, snapshots
from devctl.resources.volumes.volume import size_text, volumes
from devservers_core.types import Json
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

NAMESPACE = "/api/v1/namespaces/dev-ann"
CLAIMS = f"{NAMESPACE}/persistentvolumeclaims"
PODS = f"{NAMESPACE}/pods"
SERVERS = "/apis/devservers.io/v1/namespaces/dev-ann/devservers"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/dev-ann/volumesnapshots"
SNAPSHOT_CLASSES = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
HOME_OF = "devservers.io/home-of"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing grows by itself here: look once."""
    monkeypatch.setattr("devctl.commands.volumes.volume.GROW_SECONDS", 0.0)
    monkeypatch.setattr("devctl.commands.volumes.snapshot.SNAPSHOT_SECONDS", 0.0)


@pytest.fixture
def storage(api: ApiServer) -> ApiServer:
    """A cluster with a class that grows, which is the default, and one that doesn't; no shared one."""
    api.put(NAMESPACE)
    api.put(
        f"{CLASSES}/gp3", metadata={"annotations": DEFAULT}, provisioner="ebs.csi.aws.com", allowVolumeExpansion=True
    )
    api.put(f"{CLASSES}/folder", provisioner="rancher.io/local-path")
    return api


def claim(
    name: str = "data", size: str = "10Gi", *, cls: str = "gp3", bound: bool = True, home_of: str = "", **metadata: Any
) -> Json:
    annotations = {HOME_OF: home_of} if home_of else {}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "annotations": annotations, **metadata},
        "spec": {"storageClassName": cls, "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Bound", "capacity": {"storage": size}} if bound else {"phase": "Pending"},
    }


def put(api: ApiServer, manifest: Json) -> None:
    api.put(f"{CLAIMS}/{manifest['metadata']['name']}", **manifest)


def pod(claim_name: str, server: str | None = "mydev", phase: str = "Running") -> Json:
    labels = {"devservers.io/name": server} if server else {}
    mounted = [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}, {"name": "tmp", "emptyDir": {}}]
    return {"metadata": {"name": "mydev-0", "labels": labels}, "spec": {"volumes": mounted}, "status": {"phase": phase}}


def server(name: str = "mydev", *claims: str, home: str | None = None, **status: Any) -> Json:
    spec: Json = {"volumes": [{"claimName": each, "mountPath": f"/{each}"} for each in claims]}
    return {
        "metadata": {"name": name},
        "spec": spec | ({"persistentHomeSize": home} if home else {}),
        "status": status,
    }


def quota(api: ApiServer, used: str = "90Gi", hard: str = "100Gi", key: str = "requests.storage") -> None:
    api.put(f"{NAMESPACE}/resourcequotas/dev-user", status={"hard": {key: hard}, "used": {key: used}})


# The list


def test_volumes_join_claims_with_servers_and_pods() -> None:
    use = [{"claimName": "data", "usedBytes": 5, "at": "2026-11-29T10:00:00Z"}]
    newer = [{"claimName": "data", "usedBytes": 7, "at": "2026-11-30T10:00:00Z"}, {"claimName": "x", "usedBytes": 1}]
    servers = [server("a", "data", volumes=use), server("b", "data", volumes=newer), server("c")]
    [data, kept] = volumes([claim("kept-home", home_of="kept"), claim()], servers, [pod("data", "a")])
    assert (data.name, data.mounted_by, data.wanted_by, data.used_bytes) == ("data", ("a",), ("a", "b"), 7)
    assert data.last_used == datetime(2026, 11, 30, 10, tzinfo=UTC)
    assert (data.home_of, data.kept, kept.home_of, kept.kept) == (None, False, "kept", True)


def test_volumes_without_report_have_unknown_use() -> None:
    [volume] = volumes([claim()], [server("a", "data", volumes=[{"claimName": "data", "usedBytes": None}])], [])
    assert volume.used_bytes is None
    assert volume.last_used is None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_volumes_of_ended_pods_are_not_mounted(phase: str) -> None:
    [volume] = volumes([claim()], [], [pod("data", phase=phase)])
    assert volume.mounted_by == ()


@pytest.mark.parametrize(
    ("annotation", "stopped", "expected"),
    [
        ("2026-11-20", None, datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20", "2026-11-25T08:00:00Z", datetime(2026, 11, 25, 8, tzinfo=UTC)),
        ("2026-11-28", "2026-11-25T08:00:00Z", datetime(2026, 11, 28, tzinfo=UTC)),
        ("yesterday", None, None),
    ],
)
def test_volumes_last_used_is_the_newest_known_time(annotation: str, stopped: str | None, expected: object) -> None:
    home = claim("mydev-home", home_of="mydev")
    home["metadata"]["annotations"]["devservers.io/last-used"] = annotation
    [volume] = volumes([home], [server("mydev", home="10Gi", lastStop={"at": stopped})], [])
    assert volume.last_used == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0"), (1023, "1023"), (1024, "1.0Ki"), (10 * 1024**3, "10Gi"), (3 * 2**60, "3072Pi")],
)
def test_size_text_keeps_unknown_apart_from_zero(number: int | None, text: str) -> None:
    assert size_text(number) == text


def test_volume_list_shows_use_mounts_and_kept_homes(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim())
    put(storage, claim("new", bound=False))
    put(storage, claim("old-home", home_of="old"))
    uses = [{"claimName": "data", "usedBytes": 3 * 1024**3, "at": "2026-01-01T00:00:00Z"}]
    storage.put(f"{SERVERS}/mydev", **server("mydev", "data", volumes=uses))
    storage.put(f"{SERVERS}/other", **server("other", "data"))
    storage.put(f"{PODS}/mydev-0", **pod("data"))
    header, data, new, old = devctl("volume", "list").stdout.splitlines()
    assert header.split("  ")[0] == "NAME"
    assert re.split(" {3,}", data) == ["data", "10Gi", "3.0Gi", "gp3", "mydev, other (stopped)", "-", "now"]
    assert "(no disk yet)" in new
    assert " - " in new
    assert "old (deleted)" in old
    documents = json.loads(devctl("volume", "list", "-o", "json").stdout)
    assert [(each["name"], each["usedBytes"], each["kept"]) for each in documents] == [
        ("data", 3 * 1024**3, False),
        ("new", None, False),
        ("old-home", None, True),
    ]
    assert devctl("volume", "list", "-o", "name").stdout.split() == [
        "persistentvolumeclaim/data",
        "persistentvolumeclaim/new",
        "persistentvolumeclaim/old-home",
    ]


# Making


def test_volume_create_makes_a_claim_of_the_default_class(storage: ApiServer, devctl: Run) -> None:
    done = devctl("volume", "create", "data", "--size", "10Gi")
    assert storage.objects[f"{CLAIMS}/data"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
    }
    assert "devctl create NAME -v data:/data" in done.stderr


def test_volume_create_shared_takes_the_clusters_shared_class(storage: ApiServer, devctl: Run) -> None:
    storage.put(NAMESPACE, metadata={"annotations": {"devservers.io/shared-class": "efs"}})
    devctl("volume", "create", "team", "--size", "10Gi", "--shared")
    spec = storage.objects[f"{CLAIMS}/team"]["spec"]
    assert (spec["accessModes"], spec["storageClassName"]) == (["ReadWriteMany"], "efs")
    refused = devctl("volume", "create", "b", "--size", "1Gi", "--shared", "--class", "gp3", code=6)
    assert "--shared volumes have class efs" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "--size", "10Gi", "--shared"), "has no storage class for volumes that many servers mount"),
        (("data", "--size", "10Gi", "--class", "fast"), "no storage class 'fast'"),
        (("data", "--size", "10"), "less than one mebibyte"),
        (("data", "--size", "none"), "is no size"),
        (("data", "--size", "big"), "is not a size"),
        (("Data", "--size", "1Gi"), "is not the name of a volume"),
        (("mydev-home", "--size", "1Gi"), "the name of the home of the server mydev"),
        (("home-data-0", "--size", "1Gi"), "home-data-0 is the name of the home of a replica of the server data"),
        (("home-my-data-63", "--size", "1Gi"), "the home of a replica of the server my-data"),
    ],
)
def test_volume_create_bad_input_writes_nothing(
    storage: ApiServer, devctl: Run, words: tuple[str, ...], said: str
) -> None:
    assert said in devctl("volume", "create", *words, code=6).stderr
    assert storage.writes == []


@pytest.mark.parametrize("name", ["home-data", "home-0", "home-data-64", "my-home-data-0"])
def test_volume_create_name_that_no_replicas_home_has_is_taken(storage: ApiServer, devctl: Run, name: str) -> None:
    devctl("volume", "create", name, "--size", "1Gi")
    assert f"{CLAIMS}/{name}" in storage.objects


def test_volume_create_without_default_class_is_refused(storage: ApiServer, devctl: Run) -> None:
    storage.put(f"{CLASSES}/gp3", provisioner="ebs.csi.aws.com")
    refused = devctl("volume", "create", "data", "--size", "1Gi", code=6).stderr
    assert "no default storage class" in refused
    assert "folder, gp3" in refused


def test_volume_create_unreadable_classes_are_left_to_the_api_server(storage: ApiServer, devctl: Run) -> None:
    storage.refuse("GET", CLASSES, (403, "no"))
    devctl("volume", "create", "data", "--size", "1Gi", "--class", "fast")
    assert storage.objects[f"{CLAIMS}/data"]["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize(
    ("key", "listed"),
    [
        ("requests.storage", "old-home 60Gi (kept), data 30Gi"),
        ("gp3.storageclass.storage.k8s.io/requests.storage", "old-home 60Gi (kept))"),
    ],
)
def test_volume_create_over_quota_lists_what_counts_by_size(
    storage: ApiServer, devctl: Run, key: str, listed: str
) -> None:
    quota(storage, key=key)
    put(storage, claim("data", "30Gi", cls="folder"))
    put(storage, claim("old-home", "60Gi", home_of="old"))
    refused = devctl("volume", "create", "more", "--size", "11Gi", code=6).stderr
    assert "90Gi of 100Gi are taken" in refused
    assert listed in refused
    assert storage.writes == []
    devctl("volume", "create", "more", "--size", "10Gi")


def test_volume_create_over_the_limit_of_one_volume_is_refused(storage: ApiServer, devctl: Run) -> None:
    limits = [{"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}}]
    storage.put(f"{NAMESPACE}/limitranges/dev-user", spec={"limits": limits})
    assert "a volume may have 1Ti at most" in devctl("volume", "create", "a", "--size", "2Ti", code=6).stderr


def test_volume_create_name_in_use_is_refused(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim())
    assert "there is a volume data already" in devctl("volume", "create", "data", "--size", "1Gi", code=1).stderr


# Growing


def grown(api: ApiServer, name: str = "data") -> object:
    return api.objects[f"{CLAIMS}/{name}"]["spec"]["resources"]["requests"]["storage"]


def test_volume_grow_requests_the_size_of_the_very_claim_it_read(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim())
    late = devctl("volume", "grow", "data", "--size", "20Gi", code=5).stderr
    assert grown(storage) == "20Gi"
    assert storage.writes[0][2] == {
        "metadata": {"resourceVersion": "1"},
        "spec": {"resources": {"requests": {"storage": "20Gi"}}},
    }
    assert "data has not grown to 20Gi yet" in late


def test_volume_grow_says_when_the_file_system_has_grown(storage: ApiServer, devctl: Run) -> None:
    manifest = claim()
    manifest["status"]["capacity"]["storage"] = "20Gi"
    put(storage, manifest)
    assert "data has 20Gi now, its file system too" in devctl("volume", "grow", "data", "--size", "20Gi").stderr


@pytest.mark.parametrize(
    ("manifest", "size", "said"),
    [
        (claim(), "10Gi", "has 10Gi already"),
        (claim(), "5Gi", "can't be made smaller"),
        (claim(cls="folder"), "20Gi", "volumes of class folder can't grow"),
        (claim(cls="gone"), "20Gi", "volumes of class gone can't grow"),
        (claim(bound=False), "20Gi", "no disk yet"),
        (claim(deletionTimestamp="2026-01-01T00:00:00Z"), "20Gi", "is being deleted"),
        (claim(), "21Gi", "does not fit: 90Gi of 100Gi are taken"),
    ],
)
def test_volume_grow_what_can_not_be_is_refused_before_anything_changes(
    storage: ApiServer, devctl: Run, manifest: Json, size: str, said: str
) -> None:
    quota(storage)
    put(storage, manifest)
    assert said in devctl("volume", "grow", "data", "--size", size, code=6).stderr
    assert storage.writes == []


def test_volume_grow_changed_by_somebody_else_is_left_as_it_is(storage: ApiServer, devctl: Run) -> None:
    """Two at once: the second sent the version that it read, and the API server refuses it."""
    put(storage, claim())
    storage.refuse("PATCH", f"{CLAIMS}/data", (409, "the object has been modified"))
    assert "changed by somebody else" in devctl("volume", "grow", "data", "--size", "20Gi", code=1).stderr
    assert grown(storage) == "10Gi"


def test_volume_grow_home_of_a_server_changes_the_server(storage: ApiServer, devctl: Run) -> None:
    """The server holds the size of its home; a claim beyond it would be a shrink to the operator."""
    put(storage, claim("mydev-home", home_of="mydev"))
    storage.put(f"{SERVERS}/mydev", **server("mydev", home="10Gi"))
    devctl("volume", "grow", "mydev-home", "--size", "20Gi", code=5)
    assert storage.objects[f"{SERVERS}/mydev"]["spec"]["persistentHomeSize"] == "20Gi"
    assert grown(storage, "mydev-home") == "10Gi"


def test_volume_grow_kept_home_changes_the_claim(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim("old-home", home_of="old"))
    devctl("volume", "grow", "old-home", "--size", "20Gi", code=5)
    assert grown(storage, "old-home") == "20Gi"


def resized(capacity: str, *conditions: str) -> Json:
    manifest = claim(size="10Gi")
    listed = [{"type": each, "status": "True", "message": "out of\nspace"} for each in conditions]
    manifest["status"] |= {"capacity": {"storage": capacity}, "conditions": listed}
    return manifest


@pytest.mark.parametrize(
    ("manifest", "mounted", "said"),
    [
        (resized("20Gi"), (), "its file system too"),
        (resized("10Gi"), (), None),
        (resized("10Gi", "Resizing"), ("mydev",), None),
        (resized("10Gi", "FileSystemResizePending"), ("mydev",), None),
        (resized("10Gi", "FileSystemResizePending"), (), "grows when a server that mounts it starts"),
    ],
)
def test_growth_outcome_tells_disk_from_file_system(manifest: Json, mounted: tuple[str, ...], said: str | None) -> None:
    sentence = growth.outcome(manifest, "20Gi", mounted)
    assert sentence is None if said is None else sentence is not None and said in sentence


def test_growth_that_needs_a_restart_names_the_server(storage: ApiServer, devctl: Run) -> None:
    put(storage, resized("10Gi", "FileSystemResizePending", "NodeResizeError"))
    storage.put(f"{PODS}/mydev-0", **pod("data"))
    late = devctl("volume", "grow", "data", "--size", "20Gi", code=5).stderr
    assert "not grown to 20Gi yet: out of space" in late
    assert "devctl restart mydev" in late


# Deleting


def test_volume_delete_deletes_that_very_claim(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim())
    devctl("volume", "delete", "data", "--yes")
    assert f"{CLAIMS}/data" not in storage.objects
    assert storage.writes[0][2] == {"preconditions": {"uid": "uid-data"}, "propagationPolicy": "Background"}


def test_volume_delete_asks_first(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim("old-home", home_of="old"))
    assert "add --yes" in devctl("volume", "delete", "old-home", code=2).stderr
    asked = devctl("volume", "delete", "old-home", code=1, typed="n\n").stderr
    assert "Delete the kept home old-home of the deleted server old" in asked
    assert f"{CLAIMS}/old-home" in storage.objects
    devctl("volume", "delete", "old-home", typed="y\n")
    assert f"{CLAIMS}/old-home" not in storage.objects


@pytest.mark.parametrize(
    ("wanted", "mounted", "said"),
    [
        (None, "mydev", "data is mounted by mydev"),
        (None, None, "data is mounted by pod mydev-0"),
        ("mydev", "", "data is mounted by mydev at the next start"),
    ],
)
def test_volume_delete_in_use_names_the_server(
    storage: ApiServer, devctl: Run, wanted: str | None, mounted: str | None, said: str
) -> None:
    put(storage, claim())
    if wanted:
        storage.put(f"{SERVERS}/{wanted}", **server(wanted, "data"))
    if mounted != "":
        storage.put(f"{PODS}/mydev-0", **pod("data", mounted))
    assert said in devctl("volume", "delete", "data", "--yes", code=6).stderr
    assert storage.writes == []


def test_volume_delete_home_of_a_server_names_purge(storage: ApiServer, devctl: Run) -> None:
    put(storage, claim("mydev-home", home_of="mydev"))
    storage.put(f"{SERVERS}/mydev", **server("mydev", home="10Gi"))
    assert "devctl delete mydev --purge" in devctl("volume", "delete", "mydev-home", "--yes", code=6).stderr
    assert storage.writes == []


@pytest.mark.parametrize("command", [("delete", "dat", "--yes"), ("grow", "dat", "--size", "1Gi")])
def test_volume_unknown_name_suggests_a_similar_one(storage: ApiServer, devctl: Run, command: tuple[str, ...]) -> None:
    put(storage, claim())
    assert "did you mean data?" in devctl("volume", *command, code=3).stderr


# Snapshots


@pytest.fixture
def snapshotting(storage: ApiServer) -> ApiServer:
    """A cluster that takes snapshots of gp3 volumes, with two classes of that driver, and a volume."""
    default = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
    for name, driver, marks in (
        ("a", "ebs.csi.aws.com", {}),
        ("ebs", "ebs.csi.aws.com", default),
        ("other", "x.example", default),
    ):
        storage.put(f"{SNAPSHOT_CLASSES}/{name}", driver=driver, metadata={"annotations": marks})
    put(storage, claim())
    return storage


def taken(api: ApiServer, name: str = "mine", **status: Any) -> None:
    api.put(f"{SNAPSHOTS}/{name}", spec={"source": {"persistentVolumeClaimName": "data"}}, status=status)


READY: Json = {"creationTime": "2026-01-01T00:00:00Z", "readyToUse": True, "restoreSize": "10Gi"}


def test_snapshot_create_takes_the_default_class_of_the_driver(snapshotting: ApiServer, devctl: Run) -> None:
    late = devctl("volume", "snapshot", "create", "data", "--name", "mine", code=5).stderr
    assert snapshotting.objects[f"{SNAPSHOTS}/mine"]["spec"] == {
        "volumeSnapshotClassName": "ebs",
        "source": {"persistentVolumeClaimName": "data"},
    }
    assert "the snapshot mine is not taken yet" in late


def test_snapshot_create_says_what_all_of_them_may_hold(snapshotting: ApiServer, devctl: Run) -> None:
    taken(snapshotting, "first", **(READY | {"restoreSize": "20Gi"}))
    taken(snapshotting, "late")
    snapshotting.after[("POST", SNAPSHOTS)] = lambda: taken(snapshotting, **READY)
    said = devctl("volume", "snapshot", "create", "data", "--name", "mine").stderr
    assert "your 3 snapshots may hold 30Gi in all, and 1 whose size is not known yet; they are paid for" in said


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (["1Gi"], "your only snapshot may hold 1.0Gi in all; they are paid for, and no storage quota counts them"),
        ([None], "how much your only snapshot may hold is not known yet"),
        ([None, "0"], "your 2 snapshots may hold 0 in all, and 1 whose size is not known yet"),
    ],
)
def test_sizes_in_words_never_guesses(sizes: list[str | None], says: str) -> None:
    assert snapshots.sizes_in_words([{"status": {"restoreSize": size}} for size in sizes]).startswith(says)


def test_snapshot_create_name_in_use_is_refused(snapshotting: ApiServer, devctl: Run) -> None:
    taken(snapshotting, **READY)
    refused = devctl("volume", "snapshot", "create", "data", "--name", "mine", code=1).stderr
    assert "there is a snapshot mine already" in refused


def test_snapshot_default_name_has_volume_and_time() -> None:
    assert snapshots.default_name("data", datetime(2027, 1, 31, 14, 25, 1, tzinfo=UTC)) == "data-20270131-142501"
    assert len(snapshots.default_name("d" * 253)) == 253


@pytest.mark.parametrize("command", [("create", "data"), ("list",), ("delete", "mine", "--yes")])
def test_snapshot_commands_on_a_cluster_without_snapshots_say_so(
    storage: ApiServer, devctl: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    put(storage, claim())
    monkeypatch.setattr(storage, "_answer", without_snapshots(storage))
    said = devctl("volume", "snapshot", *command, code=1).stderr
    assert "this cluster can't take snapshots of volumes" in said
    assert "tar czf" in said


def without_snapshots(api: ApiServer) -> Any:
    """Answers as an API server without the kinds does: no details."""
    answer = api._answer

    def answered(method: str, target: str, body: Json | None) -> Any:
        if "snapshot.storage.k8s.io" in target:
            return 404, {"kind": "Status", "message": "the server could not find the requested resource"}
        return answer(method, target, body)

    return answered


def test_snapshot_create_class_without_snapshots_says_so(snapshotting: ApiServer, devctl: Run) -> None:
    put(snapshotting, claim("local", cls="folder"))
    refused = devctl("volume", "snapshot", "create", "local", code=6).stderr
    assert "volumes of class folder can't be snapshotted" in refused
    assert snapshotting.writes == []


def test_snapshot_create_volume_without_disk_is_refused(snapshotting: ApiServer, devctl: Run) -> None:
    put(snapshotting, claim("new", bound=False))
    assert "no disk yet" in devctl("volume", "snapshot", "create", "new", code=6).stderr


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "waiting"),
        ({"creationTime": "x"}, "copying"),
        (READY, "ready"),
        ({"error": {"message": "no"}}, "failed"),
    ],
)
def test_snapshot_list_shows_the_state(snapshotting: ApiServer, devctl: Run, status: Json, state: str) -> None:
    taken(snapshotting, **status)
    assert f"   {state}   " in devctl("volume", "snapshot", "list").stdout


def test_snapshot_delete_asks_and_deletes(snapshotting: ApiServer, devctl: Run) -> None:
    taken(snapshotting, **READY)
    assert "add --yes" in devctl("volume", "snapshot", "delete", "mine", code=2).stderr
    devctl("volume", "snapshot", "delete", "mine", typed="y\n")
    assert f"{SNAPSHOTS}/mine" not in snapshotting.objects
    assert "no snapshot mine" in devctl("volume", "snapshot", "delete", "mine", "--yes", code=3).stderr


def test_restore_makes_a_claim_with_the_snapshot_as_source(snapshotting: ApiServer, devctl: Run) -> None:
    taken(snapshotting, **READY)
    done = devctl("volume", "restore", "mine", "again")
    assert snapshotting.objects[f"{CLAIMS}/again"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "gp3",
        "resources": {"requests": {"storage": "10Gi"}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "mine"},
    }
    assert "-v again:/again" in done.stderr


def test_restore_as_home_is_used_by_the_server_of_that_name(snapshotting: ApiServer, devctl: Run) -> None:
    taken(snapshotting, **READY)
    done = devctl("volume", "restore", "mine", "mydev-home")
    assert snapshotting.objects[f"{CLAIMS}/mydev-home"]["metadata"]["annotations"] == {HOME_OF: "mydev"}
    assert "`devctl create mydev` mounts it" in done.stderr


@pytest.mark.parametrize(
    ("status", "words", "code", "said"),
    [
        (READY, ("data",), 1, "there is a volume data already"),
        (READY, ("again", "--size", "5Gi"), 6, "needs 10Gi"),
        (READY, ("home-data-1",), 6, "home-data-1 is the name of the home of a replica of the server data"),
        (READY, ("again", "--size", "11Gi"), 6, "does not fit"),
        ({}, ("again",), 6, "is waiting"),
        ({"error": {"message": "no"}}, ("again",), 6, "is failed"),
    ],
)
def test_restore_bad_input_writes_nothing(
    snapshotting: ApiServer, devctl: Run, status: Json, words: tuple[str, ...], code: int, said: str
) -> None:
    quota(snapshotting)
    taken(snapshotting, **status)
    assert said in devctl("volume", "restore", "mine", *words, code=code).stderr
    assert snapshotting.writes == []
