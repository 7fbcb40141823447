"""Tests `devctl update`: the one write, what is refused before it, and what is asked first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devctl.resources.lifecycle.fit import volume_zones
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
FLAVORS = "/apis/devservers.io/v1/devserverflavors"
CLAIMS = "/api/v1/namespaces/dev-ann/persistentvolumeclaims"
QUOTA = "/api/v1/namespaces/dev-ann/resourcequotas/dev-user"
AWS = {"name": "aws", "key": "value", "env": "AWS"}
DEPLOY = {"name": "deploy", "key": "key", "file": "id_ed25519"}
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devctl.commands.servers.update.OBSERVED_SECONDS", 0.3)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def variables(**given: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in given.items()]


def put_server(api: ApiServer, *, version: str = "1", stopped: bool = False, **spec: Any) -> None:
    given = {"flavor": "cpu-small", "persistentHomeSize": "10Gi", "running": not stopped, **spec}
    ready = {"type": "Ready", "status": "True", "message": "", "reason": "Ready"}
    api.put(
        SERVER,
        metadata={"uid": "u1", "resourceVersion": version, "creationTimestamp": text(NOW - timedelta(hours=3))},
        spec={key: value for key, value in given.items() if value is not None},
        status={"phase": "Stopped" if stopped else "Running", "podName": "mydev-1", "conditions": [ready]},
    )


def put_flavor(api: ApiServer, name: str, cpu: str = "2", *, gpu: str | None = None, **more: Any) -> None:
    amounts = {"cpu": cpu, "memory": "2Gi"} | ({"nvidia.com/gpu": gpu} if gpu else {})
    annotations = {f"devservers.io/{key}": value for key, value in (more.pop("annotations", None) or {}).items()}
    spec = {"resources": {"requests": amounts, "limits": amounts}, **more}
    api.put(f"{FLAVORS}/{name}", metadata={"annotations": annotations}, spec=spec)


def put_home(api: ApiServer, **spec: Any) -> None:
    api.put(f"{CLAIMS}/mydev-home", spec={"resources": {"requests": {"storage": "10Gi"}}, **spec})


def with_operator(api: ApiServer) -> None:
    """An operator that replaces the pod at once."""

    def replace() -> None:
        api.objects[SERVER]["status"]["podName"] = "mydev-2"

    api.after[("PATCH", SERVER)] = replace


def change(api: ApiServer) -> dict[str, Any]:
    ((method, path, body),) = api.writes
    assert (method, path) == ("PATCH", SERVER)
    assert body is not None
    return body


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        (["--flavor", "cpu-large"], {"flavor": "cpu-large"}),
        (["--image", "debian:13"], {"image": "debian:13"}),
        (["-e", "A=2", "-e", "C=3"], {"env": variables(A="2", B="1", C="3")}),
        (["--unset-env", "A"], {"env": variables(B="1")}),
        (["--unset-env", "A", "--unset-env", "B"], {"env": []}),
        (["--secret", "HF=hf"], {"secrets": [AWS, DEPLOY, {"name": "hf", "env": "HF"}]}),
        (["--secret", "AWS=aws/id"], {"secrets": [{"name": "aws", "key": "id", "env": "AWS"}, DEPLOY]}),
        (["--secret-file", "AWS=aws"], {"secrets": [AWS, DEPLOY, {"name": "aws", "file": "AWS"}]}),
        (["--unset-secret", "id_ed25519", "--unset-secret", "AWS"], {"secrets": []}),
    ],
)
def test_update_running_server_writes_once_and_says_how_long_it_was_away(
    api: ApiServer, devctl: Run, words: list[str], spec: dict[str, Any]
) -> None:
    put_flavor(api, "cpu-large")
    put_server(api, env=variables(A="1", B="1"), secrets=[AWS, DEPLOY])
    with_operator(api)
    done = devctl("update", "mydev", *words, typed="y\n")
    body = change(api)
    assert body["spec"] == spec
    assert (body["metadata"]["uid"], body["metadata"]["resourceVersion"]) == ("u1", "1")
    assert body["metadata"]["annotations"].keys() == {"devservers.io/restarted-at"}
    assert "warning: updating mydev: the programs that run in it end" in done.stderr
    assert "Update mydev? [y/N]" in done.stderr
    assert "mydev was away for " in done.stderr


def test_update_secret_that_does_not_exist_is_warned_of_before_the_question(
    api: ApiServer, devctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devctl.resources.people.server_secrets.INDEX_SECONDS", 0.0)
    put_server(api)
    api.put("/api/v1/namespaces/dev-ann/configmaps/secrets")
    said = devctl("update", "mydev", "--secret", "HF=hf", typed="n\n", code=1).stderr
    warning = "you have no secret hf yet: mydev waits at its next start for it; `devctl secret set hf` makes it"
    assert 0 < said.index(warning) < said.index("Update mydev?")
    assert api.writes == []


@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), (None, 2)])
def test_update_unconfirmed_writes_nothing(api: ApiServer, devctl: Run, typed: str | None, code: int) -> None:
    put_server(api)
    devctl("update", "mydev", "--image", "debian:13", typed=typed, code=code)
    assert api.writes == []


def test_update_names_a_home_that_is_not_persistent(api: ApiServer, devctl: Run) -> None:
    put_server(api, persistentHomeSize=None)
    with_operator(api)
    done = devctl("update", "mydev", "--image", "debian:13", "--yes")
    assert "its home is not persistent and is lost too" in done.stderr


def test_update_stopped_server_asks_nothing_and_waits_for_nothing(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "cpu-large")
    put_server(api, stopped=True)
    done = devctl("update", "mydev", "--flavor", "cpu-large")
    assert change(api) == {
        "metadata": {"uid": "u1", "resourceVersion": "1"}, "spec": {"flavor": "cpu-large"},
    }  # fmt: skip
    assert "from its next start: `devctl start mydev`" in done.stderr


def test_update_home_grows_without_a_restart(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api, storageClassName="gp3")
    api.put("/apis/storage.k8s.io/v1/storageclasses/gp3", allowVolumeExpansion=True)
    done = devctl("update", "mydev", "--home-size", "20Gi")
    assert change(api)["spec"] == {"persistentHomeSize": "20Gi"}
    assert "the home of mydev grows to 20Gi" in done.stderr
    assert "Update mydev?" not in done.stderr


@pytest.mark.parametrize(
    ("words", "lifecycle"),
    [
        (["--time", "8h"], {"timeToLive": "8h", "expirationTime": None, "extendUntil": None}),
        (
            ["--time", "until 2099-12-24T18:00:00Z"],
            {"timeToLive": None, "expirationTime": "2099-12-24T18:00:00Z", "extendUntil": None},
        ),
        (["--time", "none"], {"timeToLive": None, "expirationTime": None, "extendUntil": None}),
        (["--idle-timeout", "2h"], {"idleTimeout": "2h", "autoShutdown": None}),
        (["--idle-timeout", "none"], {"idleTimeout": None, "autoShutdown": False}),
        (["--idle-timeout", "default"], {"idleTimeout": None, "autoShutdown": None}),
        (["--grace", "5m"], {"gracePeriod": "5m"}),
    ],
)
def test_update_time_settings_end_nothing(
    api: ApiServer, devctl: Run, words: list[str], lifecycle: dict[str, Any]
) -> None:
    put_server(api, lifecycle={"timeToLive": "4h", "extendUntil": "2099-01-01T00:00:00Z", "idleTimeout": "30m"})
    done = devctl("update", "mydev", *words)
    assert change(api)["spec"] == {"lifecycle": lifecycle}
    assert "annotations" not in change(api)["metadata"]
    assert "mydev has new time settings" in done.stderr


def test_update_time_setting_that_a_limit_makes_shorter_says_so(api: ApiServer, devctl: Run) -> None:
    put_server(api)

    def limit() -> None:
        limited = {"type": "TimeLimited", "status": "True", "message": "at most 4h by the account"}
        api.objects[SERVER]["status"]["conditions"].append(limited)

    api.after[("PATCH", SERVER)] = limit
    assert "warning: at most 4h by the account" in devctl("update", "mydev", "--time", "8h").stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing of mydev is to change"),
        (["--flavor", "cpu-small"], 6, "mydev has flavor cpu-small already"),
        (["--flavor", "cpu-smal"], 6, "did you mean cpu-small?"),
        (["--flavor", "gpu-other"], 6, "you may not use flavor 'gpu-other'"),
        (["--image", "debian:12"], 6, "mydev has image debian:12 already"),
        (["--image", "Not An Image"], 6, "is not an image reference"),
        (["--home-size", "10Gi"], 6, "the home of mydev has 10Gi already"),
        (["--home-size", "5Gi"], 6, "a volume can't be made smaller"),
        (["--home-size", "none"], 6, "would take the home away"),
        (["--home-size", "20Gi"], 6, "its storage class local-path does not expand volumes"),
        (["-e", "A=1"], 6, "mydev has these variables already"),
        (["-e", "1A=1"], 6, "is not a variable name"),
        (["--unset-env", "ABSENT"], 6, "mydev has no variable 'ABSENT' of its own"),
        (["--unset-env", "A", "-e", "A=2"], 2, "is set and removed at once"),
        (["--secret", "AWS=aws"], 6, "mydev refers to these secrets already"),
        (["--secret", "AWS"], 6, "a --secret doesn't name a secret"),
        (["--secret", "1A=aws"], 6, "'1A' is not a variable name"),
        (["--secret", "HOME=aws"], 6, "HOME can't be set: it is the account's own"),
        (["--secret", "DEVSERVERS_A=aws"], 6, "DEVSERVERS_A is reserved"),
        (["--secret-file", "../passwd=aws"], 6, "'../passwd' is not the name of a file"),
        (["--unset-secret", "ABSENT"], 6, "mydev has no secret as 'ABSENT' of its own"),
        (["--unset-secret", "AWS", "--secret", "AWS=other"], 2, "AWS is set and removed at once"),
        (["--time", "soon"], 6, "neither a duration nor a time"),
        (["--time", "2h"], 6, "it would stop at once"),
        (["--time", "25h"], 6, "a time limit of 1d1h is too long: at most 1d0h is allowed"),
        (["--idle-timeout", "5h"], 6, "take --idle-timeout 4h or less"),
        (["--idle-timeout", "none"], 6, "an idle timeout is in force here"),
        (["--idle-timeout", "1h"], 6, "mydev has these time settings already"),
        (["--grace", "11m"], 6, "at most 10m is allowed"),
        (["--image", "debian:13", "--wait=soon"], 6, "--wait 'soon' is not a duration"),
    ],
)
def test_update_what_cannot_be_is_refused_before_anything_stops(
    api: ApiServer, devctl: Run, words: list[str], code: int, says: str
) -> None:
    api.put("/api/v1/namespaces/dev-ann", metadata={"annotations": {"devservers.io/allowed-flavors": "cpu-small"}})
    put_flavor(api, "cpu-small", lifecycle={"maxTimeToLive": "1d", "maxIdleTimeout": "4h"})
    put_flavor(api, "gpu-other", gpu="1")
    put_home(api, storageClassName="local-path")
    api.put("/apis/storage.k8s.io/v1/storageclasses/local-path", provisioner="rancher.io/local-path")
    put_server(api, image="debian:12", env=variables(A="1"), secrets=[AWS], lifecycle={"idleTimeout": "1h"})
    done = devctl("update", "mydev", *words, code=code)
    assert says in done.stderr
    assert api.writes == []


def test_update_home_of_an_ephemeral_server_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, persistentHomeSize=None)
    assert "has no home that is kept" in devctl("update", "mydev", "--home-size", "20Gi", code=6).stderr


@pytest.mark.parametrize(
    ("zones", "node_selector", "refused"),
    [
        ("eu-central-1b,eu-central-1c", None, True),
        ("eu-central-1b, eu-central-1a", None, False),
        (None, {"topology.kubernetes.io/zone": "eu-central-1b"}, True),
        (None, None, False),
    ],
)
def test_update_flavor_in_another_zone_than_the_home_is_refused(
    api: ApiServer, devctl: Run, zones: str | None, node_selector: dict[str, str] | None, refused: bool
) -> None:
    put_flavor(api, "gpu-l4", annotations={"zones": zones} if zones else {}, nodeSelector=node_selector or {})
    put_server(api)
    put_home(api, volumeName="pvc-1")
    expression = {"key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": ["eu-central-1a"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    api.put("/api/v1/persistentvolumes/pvc-1", spec={"nodeAffinity": affinity})
    with_operator(api)
    done = devctl("update", "mydev", "--flavor", "gpu-l4", "--yes", code=6 if refused else 0)
    assert ("the volume mydev-home lies in zone eu-central-1a" in done.stderr) is refused
    assert bool(api.writes) is not refused


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], None),
        ([{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]}], {"a"}),
        (
            [
                {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]},
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}]},
            ],
            None,
        ),
    ],
)
def test_volume_zones_one_term_without_a_zone_allows_any(terms: list[Any], expected: set[str] | None) -> None:
    assert volume_zones({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}) == expected


@pytest.mark.parametrize(("words", "code"), [([], 6), (["--image", "debian:13"], 0)])
def test_update_flavor_of_another_architecture_needs_another_image(
    api: ApiServer, devctl: Run, words: list[str], code: int
) -> None:
    put_flavor(api, "cpu-small", annotations={"architecture": "amd64"})
    put_flavor(api, "cpu-arm", annotations={"architecture": "arm64"})
    put_server(api)
    with_operator(api)
    done = devctl("update", "mydev", "--flavor", "cpu-arm", *words, "--yes", code=code)
    assert ("flavor cpu-arm has arm64 machines, and mydev runs on amd64" in done.stderr) is (code == 6)


@pytest.mark.parametrize(
    ("stopped", "used", "code"),
    [
        (False, "3", 0),  # 3 of 4, of which this server's 1 comes back: 2 fit
        (False, "4", 6),
        (True, "4", 0),  # it takes nothing now
    ],
)
def test_update_flavor_beyond_the_quota_is_refused(
    api: ApiServer, devctl: Run, stopped: bool, used: str, code: int
) -> None:
    put_flavor(api, "cpu-large", "2")
    put_server(api, stopped=stopped)
    api.put(QUOTA, spec={"hard": {"requests.cpu": "4"}}, status={"used": {"requests.cpu": used}})
    with_operator(api)
    done = devctl("update", "mydev", "--flavor", "cpu-large", "--yes", code=code)
    assert ("your quota has 1 CPU left for it" in done.stderr) is (code == 6)


def test_update_flavor_whose_devices_are_taken_says_the_queue_first(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "gpu-l4", "1", gpu="1", nodeSelector={"devservers.io/pool": "l4"})
    put_server(api)
    resources = [{"name": "nvidia.com/gpu", "nominalQuota": "1"}]
    api.put(
        "/apis/kueue.x-k8s.io/v1beta2/clusterqueues/interactives",
        metadata={"name": "interactive"},
        spec={"resourceGroups": [{"flavors": [{"name": "l4", "resources": resources}]}]},
        status={"flavorsReservation": [{"name": "l4", "resources": [{"name": "nvidia.com/gpu", "total": "1"}]}]},
    )
    done = devctl("update", "mydev", "--flavor", "gpu-l4", typed="n\n", code=1)
    assert "updating mydev: nothing of flavor gpu-l4 is free now: it waits in the queue interactive" in done.stderr


def test_update_by_two_at_once_tells_the_second(api: ApiServer, devctl: Run) -> None:
    put_server(api, stopped=True)
    api.before[("PATCH", SERVER)] = [lambda: put_server(api, stopped=True, version="2", image="debian:11")]
    done = devctl("update", "mydev", "--image", "debian:13", code=1)
    assert "somebody else changed image of mydev at the same time; your change was not made" in done.stderr
    assert len(api.writes) == 1


def test_update_other_change_meanwhile_is_kept(api: ApiServer, devctl: Run) -> None:
    put_server(api, stopped=True)
    api.before[("PATCH", SERVER)] = [lambda: put_server(api, stopped=True, version="2", flavor="other")]
    devctl("update", "mydev", "--image", "debian:13")
    assert (api.objects[SERVER]["spec"]["flavor"], api.objects[SERVER]["spec"]["image"]) == ("other", "debian:13")
