"""Tests devctl's commands on distributed servers: create, list, describe, delete, restore, events."""

from __future__ import annotations

from typing import Any

import pytest

from devctl.commands.servers.describe import description
from devctl.resources.events import concerns
from devctl.resources.server_state import is_replaced
from devservers_core.errors import FORBIDDEN, NOT_FOUND, REFUSED, TIMED_OUT, USAGE
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

TWO = ["--distributed", "--replicas", "2"]
SERVERS = "/apis/devservers.io/v1/namespaces/dev-ann/devservers"
CLAIMS = "/api/v1/namespaces/dev-ann/persistentvolumeclaims"


def put_home(api: ApiServer, name: str, of: str = "train", size: str = "10Gi") -> None:
    metadata = {"name": name, "annotations": {"devservers.io/home-of": of}}
    api.put(f"{CLAIMS}/{name}", metadata=metadata, spec={"resources": {"requests": {"storage": size}}})


def put_server(api: ApiServer, **status: Any) -> dict[str, Any]:
    spec = {
        "flavor": "cpu-small",
        "mode": "distributed",
        "distributed": {"replicas": 2, "nprocsPerNode": 2},
        "persistentHomeSize": "10Gi",
    }
    status = {"phase": "Running", "podName": "train-0", "ready": "2/2", **status}
    found: dict[str, Any] = api.put(
        f"{SERVERS}/train", metadata={"name": "train", "namespace": "dev-ann"}, spec=spec, status=status
    )
    return found


def put_ready(api: ApiServer, *, accepted: str, since: str, ready: bool = True) -> None:
    condition = {"type": "Ready", "status": str(ready), "reason": "Ready", "lastTransitionTime": since}
    timeline = [{"stage": "Accepted", "at": accepted}]
    status = {"conditions": [condition], "timeline": timeline, "ready": "2/2" if ready else "0/2"}
    put_server(api, **status)


def made(api: ApiServer) -> dict[str, Any]:
    ((method, path, body),) = api.writes
    assert (method, path) == ("POST", SERVERS)
    assert body is not None
    return dict(body["spec"])


def test_create_distributed_writes_the_layout_and_says_how_many_homes(api: ApiServer, devctl: Run) -> None:
    done = devctl(
        "create", "train", "cpu-small", "--distributed", "--replicas", "4", "--nprocs-per-node", "2", "--backend",
        "gloo", "--nccl", "NCCL_DEBUG=INFO",
    )  # fmt: skip
    assert made(api) == {
        "flavor": "cpu-small",
        "mode": "distributed",
        "distributed": {
            "replicas": 4,
            "nprocsPerNode": 2,
            "backend": "gloo",
            "ncclSettings": {"NCCL_DEBUG": "INFO"},
        },
        "persistentHomeSize": "10Gi",
    }
    assert "4 replicas, a home of 10Gi for each, kept" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "refusal"),
    [
        (["--replicas", "2"], USAGE, "--replicas is for distributed servers only"),
        (["--nccl", "NCCL_DEBUG=INFO"], USAGE, "--nccl is for distributed servers only"),
        (["--distributed"], USAGE, "needs a number of replicas"),
        (["--distributed", "--replicas", "0"], REFUSED, "--replicas 0 is not possible"),
        (["--distributed", "--replicas", "1000"], REFUSED, "--replicas 1000 is not possible"),
        (
            ["--distributed", "--replicas", "2", "--nprocs-per-node", "0"],
            REFUSED,
            "--nprocs-per-node 0 is not possible",
        ),
        (["--distributed", "--replicas", "2", "--backend", "mpi"], REFUSED, "there is no backend 'mpi'"),
        (["--distributed", "--replicas", "2", "--nccl", "DEBUG=1"], REFUSED, "'DEBUG=1' is no setting of NCCL"),
        (["--distributed", "--replicas", "2", "--nccl", "NCCL_DEBUG"], REFUSED, "'NCCL_DEBUG' is no setting of NCCL"),
        (["--distributed", "--replicas", "2", "--no-ssh"], USAGE, "--no-ssh and --distributed exclude each other"),
    ],
)
def test_create_with_an_impossible_layout_is_refused_before_anything_is_made(
    api: ApiServer, devctl: Run, words: list[str], code: int, refusal: str
) -> None:
    done = devctl("create", "train", "cpu-small", *words, code=code)
    assert refusal in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert not api.writes


@pytest.mark.parametrize(("name", "words"), [("a" * 37, TWO), ("x-replicas", TWO), ("x-replicas", [])])
def test_create_with_a_name_that_the_services_need_is_refused(
    api: ApiServer, devctl: Run, name: str, words: list[str]
) -> None:
    devctl("create", name, "cpu-small", *words, code=REFUSED)
    assert not api.writes


def test_create_with_nccl_and_no_gpu_warns_of_gloo(api: ApiServer, devctl: Run) -> None:
    done = devctl("create", "train", "cpu-small", "--distributed", "--replicas", "2", "--backend", "nccl")
    assert "flavor cpu-small has no GPUs: its processes talk by gloo" in done.stderr
    assert made(api)["distributed"]["backend"] == "nccl"


@pytest.mark.parametrize(
    ("kept", "words"),
    [("train-home", ["--distributed", "--replicas", "2"]), ("home-train-0", [])],
)
def test_create_beside_a_home_of_the_other_mode_asks(api: ApiServer, devctl: Run, kept: str, words: list[str]) -> None:
    put_home(api, kept)
    done = devctl("create", "train", "cpu-small", *words, code=USAGE)
    assert "needs a confirmation" in done.stderr
    assert not api.writes
    done = devctl("create", "train", "cpu-small", *words, "--yes")
    assert done.returncode == 0
    assert f"{kept} of a" in done.stderr


def test_create_uses_the_homes_of_a_former_distributed_server(api: ApiServer, devctl: Run) -> None:
    put_home(api, "home-train-0", size="20Gi")
    devctl("create", "train", "cpu-small", "--distributed", "--replicas", "2")
    assert made(api)["persistentHomeSize"] == "20Gi"


def test_list_has_a_ready_column_where_a_server_is_distributed(api: ApiServer, devctl: Run) -> None:
    api.put(f"{SERVERS}/mydev", metadata={"name": "mydev"}, spec={"flavor": "cpu-small"}, status={"phase": "Running"})
    assert "READY" not in devctl("list").stdout
    put_server(api)
    lines = {line.split()[0]: line.split() for line in devctl("list").stdout.splitlines()}
    assert lines["NAME"][3] == "READY"
    assert (lines["train"][3], lines["mydev"][3]) == ("2/2", "-")


def test_describe_says_how_many_replicas_are_ready(api: ApiServer) -> None:
    lines = description(put_server(api, ready="1/2"))
    assert "Replicas:     1/2 ready, 2 processes in each" in lines
    assert any("home-train-0 (one for each replica)" in line for line in lines)


def test_delete_purge_deletes_the_home_of_every_replica_and_no_other(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    for name in ("home-train-0", "home-train-1", "home-train-2", "train-home"):
        put_home(api, name)
    put_home(api, "home-train-3", of="other")
    done = devctl("delete", "train", "--purge", "--yes")
    assert done.returncode == 0, done.stderr
    deleted = [path.rsplit("/", 1)[1] for method, path, _ in api.writes if method == "DELETE"]
    assert deleted == ["train", "home-train-0", "home-train-1", "home-train-2"]


def test_delete_keeps_the_homes_and_names_them(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api, "home-train-0")
    put_home(api, "home-train-1")
    done = devctl("delete", "train", "--yes")
    assert "its homes home-train-0 and home-train-1 are kept" in done.stderr


def test_delete_purge_without_a_server_deletes_what_it_left(api: ApiServer, devctl: Run) -> None:
    put_home(api, "home-train-0")
    assert "only its home home-train-0" in devctl("delete", "train", "--yes", code=NOT_FOUND).stderr
    assert devctl("delete", "train", "--purge", "--yes").returncode == 0
    assert [method for method, _, _ in api.writes] == ["DELETE"]


@pytest.mark.parametrize(
    "command", [["exec", "train", "--replica", "2", "--", "true"], ["logs", "train", "--replica", "2"]]
)
def test_replica_that_is_not_there_is_refused(api: ApiServer, devctl: Run, command: list[str]) -> None:
    put_server(api)
    done = devctl(*command, code=NOT_FOUND)
    assert "train has no replica 2: it has 2" in done.stderr


def test_exec_in_all_with_a_terminal_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert "--all goes with a command alone" in devctl("exec", "train", "--all", "-i", "--", "true", code=USAGE).stderr


def test_events_of_replicas_concern_their_server() -> None:
    def about(kind: str, name: str) -> bool:
        return concerns({"involvedObject": {"kind": kind, "name": name}}, "train")

    assert about("Pod", "train-1")
    assert about("StatefulSet", "train")
    assert about("PersistentVolumeClaim", "home-train-1")
    assert not about("Pod", "train-1-2")
    assert not about("PersistentVolumeClaim", "home-other-1")


MORNING, NOON = "2026-01-01T08:00:00Z", "2026-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("accepted", "since"),
    [
        (NOON, NOON),
        (NOON, MORNING),
        (MORNING, NOON),  # the operator took the start for the one before: its clock is behind this machine's
    ],
)
@pytest.mark.parametrize(
    "command", [["restart", "train", "--wait", "5s"], ["update", "train", "--image", "a:1", "--wait", "5s"]]
)
def test_wait_for_a_restart_ends_when_the_new_replicas_are_ready(
    api: ApiServer, devctl: Run, command: list[str], accepted: str, since: str
) -> None:
    """The first pod of a distributed server is called train-0 before and after."""
    put_ready(api, accepted=MORNING, since=MORNING)
    api.after[("PATCH", f"{SERVERS}/train")] = lambda: put_ready(api, accepted=accepted, since=since)
    assert "train is ready after " in devctl(*command, "--yes").stderr


def test_wait_for_a_restart_goes_on_while_the_former_replicas_are_ready(api: ApiServer, devctl: Run) -> None:
    put_ready(api, accepted=MORNING, since=MORNING)
    done = devctl("restart", "train", "--wait", "1s", code=TIMED_OUT)
    assert "is ready after" not in done.stderr


@pytest.mark.parametrize(("accepted", "over"), [(MORNING, False), (NOON, True)])
def test_restart_of_a_server_that_was_not_ready_counts_from_its_new_start(
    api: ApiServer, accepted: str, over: bool
) -> None:
    put_ready(api, accepted=MORNING, since=MORNING, ready=False)
    before = api.objects[f"{SERVERS}/train"]
    put_ready(api, accepted=accepted, since=NOON)
    assert is_replaced(api.objects[f"{SERVERS}/train"], before) is over


GPUS = "nvidia.com/gpu"


def put_gpu_flavor(api: ApiServer, name: str, gpus: int) -> None:
    amounts = {"cpu": "1", "memory": "1Gi", GPUS: str(gpus)}
    spec = {"resources": {"requests": amounts, "limits": amounts}, "nodeSelector": {"devservers.io/pool": "l4"}}
    api.put(f"/apis/devservers.io/v1/devserverflavors/{name}", spec=spec)


def put_quota(api: ApiServer, gpus: int, used: int) -> None:
    key = f"requests.{GPUS}"
    api.put(
        "/api/v1/namespaces/dev-ann/resourcequotas/dev-user",
        spec={"hard": {key: str(gpus)}}, status={"used": {key: str(used)}},
    )  # fmt: skip


def put_queue(api: ApiServer, gpus: int, used: int) -> None:
    api.put(
        "/apis/kueue.x-k8s.io/v1beta2/clusterqueues/interactives",
        metadata={"name": "interactive"},
        spec={
            "resourceGroups": [{"flavors": [{"name": "l4", "resources": [{"name": GPUS, "nominalQuota": str(gpus)}]}]}]
        },
        status={"flavorsReservation": [{"name": "l4", "resources": [{"name": GPUS, "total": str(used)}]}]},
    )


@pytest.mark.parametrize(
    ("quota", "used", "code"),
    [
        (3, 2, REFUSED),  # two replicas of two are four
        (4, 2, 1),  # the two that it has come back, and the question is answered by no
        (5, 4, REFUSED),  # another server has two
    ],
)
def test_update_flavor_counts_all_replicas_in_the_quota(
    api: ApiServer, devctl: Run, quota: int, used: int, code: int
) -> None:
    put_gpu_flavor(api, "gpu-one", 1)
    put_gpu_flavor(api, "gpu-two", 2)
    put_server(api)
    api.objects[f"{SERVERS}/train"]["spec"]["flavor"] = "gpu-one"
    put_quota(api, quota, used)
    done = devctl("update", "train", "--flavor", "gpu-two", code=code, typed="n\n")
    assert ("2 replicas of flavor gpu-two ask for 4 GPUs, and your quota has 3 GPUs left" in done.stderr) is (code != 1)
    assert not api.writes


def test_update_flavor_that_the_whole_queue_has_too_little_of_is_refused(api: ApiServer, devctl: Run) -> None:
    put_gpu_flavor(api, "gpu-two", 2)
    put_server(api)
    put_queue(api, 3, 0)
    done = devctl("update", "train", "--flavor", "gpu-two", "--yes", "--wait", "1s", code=REFUSED)
    assert "2 replicas of flavor gpu-two can never start: they ask for 4 GPUs" in done.stderr
    assert not api.writes


@pytest.mark.parametrize(("used", "waits"), [(0, False), (1, True)])
def test_update_flavor_says_that_it_waits_where_not_all_replicas_fit_now(
    api: ApiServer, devctl: Run, used: int, waits: bool
) -> None:
    put_gpu_flavor(api, "gpu-two", 2)
    put_server(api)
    put_queue(api, 4, used)
    done = devctl("update", "train", "--flavor", "gpu-two", typed="n\n", code=1)
    said = "flavor gpu-two has no room for 2 replicas now: it waits in the queue interactive"
    assert (said in done.stderr) is waits


AGAIN = "--distributed --replicas"


def test_delete_says_how_a_distributed_server_gets_its_homes_back(api: ApiServer, devctl: Run) -> None:
    """It had three replicas once, and has two now."""
    put_server(api)
    for number in range(3):
        put_home(api, f"home-train-{number}")
    done = devctl("delete", "train", "--yes")
    assert f"`devctl create train cpu-small {AGAIN} 2` uses them again" in done.stderr


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (["train-home"], "`devctl create train` uses it again"),
        (["home-train-0"], f"`devctl create train FLAVOR {AGAIN} 2` uses it again"),
        (["home-train-0", "home-train-3"], f"`devctl create train FLAVOR {AGAIN} 4` uses them again"),
        (
            ["train-home", "home-train-0", "home-train-1"],
            f"`devctl create train` uses train-home again, `devctl create train FLAVOR {AGAIN} 2` the others",
        ),
    ],
)
def test_delete_of_kept_homes_alone_names_the_server_that_uses_them(
    api: ApiServer, devctl: Run, kept: list[str], said: str
) -> None:
    for name in kept:
        put_home(api, name)
    assert said in devctl("delete", "train", "--yes", code=NOT_FOUND).stderr


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (3, f"10Gi kept on volume claim home-train-0; `devctl create train gpu-l4 {AGAIN} 3` brings the homes back"),
        (0, "none is kept; it was on a volume that is deleted"),
    ],
)
def test_describe_deleted_server_says_how_its_homes_come_back(
    api: ApiServer, devctl: Run, kept: int, said: str
) -> None:
    put_record(api)
    for number in range(kept):
        put_home(api, f"home-train-{number}")
    assert said in devctl("describe", "train").stdout


def test_describe_deleted_server_whose_claims_may_not_be_read_leaves_the_number_open(
    api: ApiServer, devctl: Run
) -> None:
    put_record(api)
    api.refuse("GET", CLAIMS, (403, "no"))
    api.refuse("GET", f"{CLAIMS}/home-train-0", (403, "no"))
    assert f"`devctl create train gpu-l4 {AGAIN} N` makes the server again" in devctl("describe", "train").stdout


def put_record(api: ApiServer) -> None:
    labels = {"devservers.io/ended": "true", "devservers.io/name": "train"}
    data = {"reason": "stopped", "at": "2026-05-01T10:00:00Z", "flavor": "gpu-l4", "home": "home-train-0"}
    api.put(
        "/api/v1/namespaces/dev-ann/configmaps/train-ended",
        metadata={"labels": labels}, data=data | {"deleted": "true"},
    )  # fmt: skip


def test_server_being_deleted_says_how_it_is_made_again(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    api.objects[f"{SERVERS}/train"]["metadata"]["deletionTimestamp"] = NOON
    done = devctl("update", "train", "--image", "a:1", code=1)
    assert f"`devctl create train cpu-small {AGAIN} 2` makes a new one once it is gone" in done.stderr


def put_volume(api: ApiServer, name: str, *modes: str) -> None:
    spec = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Gi"}}}
    api.put(f"{CLAIMS}/{name}", spec=spec)


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
@pytest.mark.parametrize("words", [["-v", "data:/data"], ["-v", "data:/data:ro"], ["--shared-volume", "data"]])
def test_create_with_a_volume_of_one_machine_is_refused(
    api: ApiServer, devctl: Run, words: list[str], mode: str
) -> None:
    put_volume(api, "data", mode)
    done = devctl("create", "train", "cpu-small", *TWO, *words, code=REFUSED)
    assert f"the volume data ({mode}) can be mounted on one machine only, and 2 replicas need it" in done.stderr
    assert "--shared" in done.stderr.strip().splitlines()[1]
    assert len(done.stderr.strip().splitlines()) == 2
    assert not api.writes


def test_create_with_a_volume_of_one_machine_that_is_allowed_warns(api: ApiServer, devctl: Run) -> None:
    put_volume(api, "data", "ReadWriteOnce")
    done = devctl("create", "train", "cpu-small", *TWO, "-v", "data:/data", "--allow-missing")
    assert "warning: the volume data (ReadWriteOnce) can be mounted on one machine only" in done.stderr
    assert made(api)["volumes"] == [{"claimName": "data", "mountPath": "/data"}]


@pytest.mark.parametrize(
    ("modes", "words"),
    [
        (["ReadWriteMany"], TWO),
        (["ReadOnlyMany"], TWO),
        (["ReadWriteOnce", "ReadWriteMany"], TWO),
        (["ReadWriteOnce"], []),
    ],
)
def test_create_with_a_volume_that_all_its_pods_can_mount_is_made(
    api: ApiServer, devctl: Run, modes: list[str], words: list[str]
) -> None:
    put_volume(api, "data", *modes)
    done = devctl("create", "train", "cpu-small", *words, "-v", "data:/data")
    assert "one machine only" not in done.stderr
    assert made(api)["volumes"] == [{"claimName": "data", "mountPath": "/data"}]


@pytest.mark.parametrize("gone", [f"{SERVERS}/train", f"{CLAIMS}/home-train-0"])
def test_delete_purge_goes_on_where_something_is_gone_already(api: ApiServer, devctl: Run, gone: str) -> None:
    put_server(api)
    for number in range(2):
        put_home(api, f"home-train-{number}")
    api.refuse("DELETE", gone, (404, "not found"))
    devctl("delete", "train", "--purge", "--yes")
    deleted = [path.rsplit("/", 1)[1] for method, path, _ in api.writes if method == "DELETE"]
    assert deleted == ["train", "home-train-0", "home-train-1"]


def test_delete_purge_that_is_refused_says_so(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api, "home-train-0")
    api.refuse("DELETE", f"{CLAIMS}/home-train-0", (403, "forbidden: because"))
    assert "are deleted" not in devctl("delete", "train", "--purge", "--yes", code=FORBIDDEN).stderr


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["--backend", "gloo", "--nccl", "NCCL_DEBUG=INFO"], True),
        (["--backend", "gloo"], False),
        (["--backend", "nccl", "--nccl", "NCCL_DEBUG=INFO"], False),
        (["--nccl", "NCCL_DEBUG=INFO"], False),
    ],
)
def test_create_with_gloo_and_settings_of_nccl_on_gpus_warns(
    api: ApiServer, devctl: Run, words: list[str], warned: bool
) -> None:
    put_gpu_flavor(api, "gpu-one", 1)
    done = devctl("create", "train", "gpu-one", *TWO, *words)
    assert ("warning: its processes talk by gloo, and NCCL's settings do nothing" in done.stderr) is warned
