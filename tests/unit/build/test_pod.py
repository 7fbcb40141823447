"""Whatever a spec says, the pod passes Pod Security restricted; and it is spelled as the API server stores it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devservers.build.devserver import manifests
from devservers_core.quantity import canonical
from tests.support.operator.build_objects import UID, flavor, main_container, request, server, template, user

ALLOWED_VOLUMES = {
    "configMap",
    "emptyDir",
    "secret",
    "persistentVolumeClaim",
    "projected",
    "downwardAPI",
    "csi",
    "ephemeral",
}
AGENT = ("/opt/devservers/bin/devserver-agent", "run")
FORBIDDEN = {"hostNetwork", "hostPID", "hostIPC", "hostAliases", "hostUsers", "shareProcessNamespace"}

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
names = st.from_regex(r"\A[a-z][a-z0-9-]{0,8}[a-z0-9]\Z")
paths = st.lists(
    st.from_regex(r"\A/(data|mnt|home/dev|srv)(/[a-z0-9]{1,5}){0,2}/?\Z"), max_size=4, unique_by=lambda p: p.rstrip("/")
)
quantities = st.sampled_from(["1", "1000m", "0.5", "512Mi", "1024Mi", "2Gi", "3e3"])


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"flavor": "cpu-small", "enableSSH": draw(st.booleans())}
    if draw(st.booleans()):
        spec["image"] = draw(st.sampled_from(["alpine", "ghcr.io/a/b:1", "x/y@sha256:" + "a" * 64]))
    if draw(st.booleans()):
        spec["command"] = draw(st.lists(words, min_size=1, max_size=3))
        spec["args"] = draw(st.lists(words, max_size=3))
    env = draw(st.dictionaries(st.from_regex(r"\A[A-C_][A-Z0-9_]{0,3}\Z"), words, max_size=3))
    spec["env"] = [{"name": name, "value": value} for name, value in env.items()]
    if draw(st.booleans()):
        spec["sharedVolumeClaimName"] = draw(names)
    mounts = draw(paths)
    if all(path.rstrip("/") != "/home/dev" for path in mounts) and draw(st.booleans()):
        spec["persistentHomeSize"] = draw(quantities)
    spec["volumes"] = [{"claimName": draw(names), "mountPath": p, "readOnly": draw(st.booleans())} for p in mounts]
    return spec


@st.composite
def flavors(draw: st.DrawFn) -> dict[str, Any]:
    limits = draw(st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), quantities, max_size=3))
    keys = sorted(limits)
    requests = {key: limits[key] for key in keys if draw(st.booleans())}
    tolerations = draw(st.sampled_from([[], [{"key": "gpu", "operator": "Exists", "value": ""}]]))
    return {
        "resources": {"requests": requests, "limits": limits},
        "shmSize": draw(quantities),
        "nodeSelector": draw(st.dictionaries(names, names, max_size=2)),
        "tolerations": tolerations,
    }


@settings(max_examples=150, deadline=None)
@given(spec=specs(), shape=flavors())
def test_pod_template_of_any_valid_spec_is_restricted_and_in_stored_spelling(
    spec: dict[str, Any], shape: dict[str, Any]
) -> None:
    wanted = request(server=server(**spec), flavor=flavor(**shape))
    children = manifests(wanted)
    assert children == manifests(wanted)
    pod = children[-1]["spec"]["template"]["spec"]
    assert_restricted(pod)
    assert_consistent(pod)
    for manifest in children:
        assert_nothing_dropped(manifest)


def assert_restricted(pod: dict[str, Any]) -> None:
    assert not FORBIDDEN & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == UID
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("hostPort" not in port for port in container.get("ports", ()))
    for volume in pod["volumes"]:
        assert len(volume.keys() - {"name"}) == 1
        assert volume.keys() - {"name"} <= ALLOWED_VOLUMES


def assert_consistent(pod: dict[str, Any]) -> None:
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes))
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert len(claims) == len(set(claims))
    main = pod["containers"][0]
    mounted = [mount["mountPath"] for mount in main["volumeMounts"]]
    assert len(mounted) == len(set(mounted))
    assert "/home/dev" in mounted
    assert {mount["name"] for mount in main["volumeMounts"]} <= set(volumes)
    variables = [variable["name"] for variable in main["env"]]
    assert len(variables) == len(set(variables))
    for container in [*pod["initContainers"], main]:
        resources = container.get("resources", {})
        for amounts in resources.values():
            assert all(amount == canonical(amount) for amount in amounts.values())
        for key in ("cpu", "memory"):
            assert key not in resources.get("requests", {}) or key in resources["limits"]


def assert_nothing_dropped(value: object, path: str = "") -> None:
    """Nothing the API server would leave out when it stores the object, pointers apart."""
    kept = (
        "emptyDir",
        "podSelector",
        "data",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "allowPrivilegeEscalation",
    )
    if isinstance(value, dict):
        for key, entry in value.items():
            inside_data = path.endswith(".data")
            assert inside_data or key in kept or (entry not in (None, False, "") and entry != [] and entry != {}), (
                f"{path}.{key}"
            )
            assert_nothing_dropped(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            assert_nothing_dropped(entry, f"{path}[{index}]")


@pytest.mark.parametrize(
    ("spec", "command"),
    [
        ({}, [*AGENT, "--ssh", "--grace", "120", "--"]),
        ({"enableSSH": False}, [*AGENT, "--grace", "120", "--"]),
        (
            {"command": ["python", "-m"], "args": ["http.server"]},
            [*AGENT, "--ssh", "--grace", "120", "--", "python", "-m", "http.server"],
        ),
    ],
)
def test_main_container_command_starts_with_the_agent(spec: dict[str, Any], command: list[str]) -> None:
    container = main_container(server=server(**spec))
    assert container["command"] == command
    assert "args" not in container


@pytest.mark.parametrize("typed", ["pa$$word", "$(USER)-x", "$", "$$$(A)", "a$b", "echo pid is $$"])
def test_pod_template_dollar_signs_reach_the_container_unchanged(typed: str) -> None:
    container = main_container(
        user=user(env=[{"name": "A", "value": typed}]),
        server=server(env=[{"name": "B", "value": typed}], command=["sh", "-c", typed], args=[typed]),
    )
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert {expanded(text) for text in (values["A"], values["B"], *container["command"][-2:])} == {typed}


def expanded(text: str) -> str:
    """What Kubernetes makes of a container's word (third_party/forked/golang/expansion), without any variable."""
    return re.sub(r"\$\$|\$\([^)]*\)", lambda found: "$" if found[0] == "$$" else "expanded", text)


def test_pod_template_without_ssh_has_no_ssh_port_and_no_probe() -> None:
    container = main_container(server=server(enableSSH=False))
    assert "lifecycle" not in container
    assert [port["containerPort"] for port in container["ports"]] == [2224]
    assert "lifecycle" in main_container()
    assert [port["containerPort"] for port in main_container()["ports"]] == [2224, 2222]


@pytest.mark.parametrize(("lifecycle", "seconds"), [({}, 120), ({"gracePeriod": "45s"}, 45)])
def test_pod_template_grace_period_is_the_agents(lifecycle: dict[str, str], seconds: int) -> None:
    pod = template(server=server(lifecycle=lifecycle))["spec"]
    command = pod["containers"][0]["command"]
    assert pod["terminationGracePeriodSeconds"] == int(command[command.index("--grace") + 1]) == seconds


@pytest.mark.parametrize(
    ("path", "mounted"),
    [("/data", True), ("/usr/local/bin2", True), ("/usr/local/", False), ("/usr/local/bin/devserver", False)],
)
def test_command_devserver_is_mounted_outside_of_the_servers_volumes(path: str, mounted: bool) -> None:
    container = main_container(server=server(volumes=[{"claimName": "mine", "mountPath": path}]))
    mounts = [mount for mount in container["volumeMounts"] if mount["name"] == "devservers-bin"]
    assert [mount.get("subPath") for mount in mounts] == ([None, "bin/devserver"] if mounted else [None])


def test_termination_message_is_the_end_of_the_log_where_the_agent_was_killed() -> None:
    assert main_container()["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_pull_policy_is_set_for_the_platforms_image_only() -> None:
    assert main_container()["image"] == "registry.example/base:1"
    assert main_container()["imagePullPolicy"] == "IfNotPresent"
    own = main_container(server=server(image="alpine:3"))
    assert own["image"] == "alpine:3"
    assert "imagePullPolicy" not in own


def test_environment_has_the_users_then_the_servers_variables_under_the_platforms() -> None:
    container = main_container(
        user=user(env=[{"name": "A", "value": "user"}, {"name": "B", "value": "user"}]),
        server=server(
            env=[{"name": "B", "value": "server"}, {"name": "HOME", "value": "/"}, {"name": "C", "value": ""}]
        ),
    )
    assert container["env"] == [
        {
            "name": "DEVSERVERS_POD_UID",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}},
        },
        {"name": "DEVSERVERS_NAME", "value": "mydev"},
        {"name": "DEVSERVERS_USER", "value": "ann"},
        {"name": "HOME", "value": "/home/dev"},
        {"name": "LOGNAME", "value": "dev"},
        {"name": "USER", "value": "dev"},
        {"name": "A", "value": "user"},
        {"name": "B", "value": "server"},
        {"name": "C"},
    ]


@pytest.mark.parametrize(
    ("volumes", "measured"),
    [
        ([], None),
        ([{"claimName": "mine", "mountPath": "/home/dev"}], None),
        ([{"claimName": "mine", "mountPath": "/with blank/"}], "/home/dev\n/with blank"),
        ([{"claimName": "a", "mountPath": "/z"}, {"claimName": "a", "mountPath": "/b"}], "/b\n/home/dev\n/z"),
    ],
)
def test_environment_names_the_mounts_of_claims_to_the_agent(
    volumes: list[dict[str, str]], measured: str | None
) -> None:
    environment = main_container(server=server(volumes=volumes))["env"]
    values = {entry["name"]: entry.get("value") for entry in environment}
    assert values.get("DEVSERVERS_VOLUMES") == measured


@pytest.mark.parametrize(("limits", "gpus"), [({"nvidia.com/gpu": "2"}, "2"), ({"cpu": "2"}, None)])
def test_environment_says_how_many_gpus_the_flavor_has(limits: dict[str, str], gpus: str | None) -> None:
    environment = main_container(flavor=flavor(resources={"requests": {}, "limits": limits}))["env"]
    assert {entry["name"]: entry.get("value") for entry in environment}.get("DEVSERVERS_GPUS") == gpus


def test_init_container_requests_no_more_than_the_server_and_no_gpu() -> None:
    resources = {"requests": {"cpu": "4", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    pod = template(flavor=flavor(resources=resources))["spec"]
    assert pod["initContainers"][0]["resources"] == {
        "requests": {"cpu": "4", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "4", "ephemeral-storage": "20Gi"},
    }
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "4", "ephemeral-storage": "1Gi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "4", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "1"},
    }


def test_resources_are_in_canonical_spelling() -> None:
    assert main_container()["resources"] == {
        "requests": {"cpu": "500m", "ephemeral-storage": "1Gi", "memory": "512Mi"},
        "limits": {"cpu": "2", "ephemeral-storage": "20Gi", "memory": "2Gi"},
    }
    shm = next(v for v in template(flavor=flavor(shmSize="2048Mi"))["spec"]["volumes"] if v["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


@pytest.mark.parametrize(
    ("requests", "limits", "expected"),
    [
        ({}, {}, ("1Gi", "20Gi")),
        ({}, {"ephemeral-storage": "8192Mi"}, ("1Gi", "8Gi")),
        ({}, {"ephemeral-storage": "512Mi"}, ("512Mi", "512Mi")),
        ({"ephemeral-storage": "2Gi"}, {}, ("2Gi", "20Gi")),
        ({"ephemeral-storage": "50Gi"}, {}, ("50Gi", "50Gi")),
        ({"ephemeral-storage": "2Gi"}, {"ephemeral-storage": "100Gi"}, ("2Gi", "100Gi")),
    ],
)
def test_resources_always_limit_ephemeral_storage(
    requests: dict[str, str], limits: dict[str, str], expected: tuple[str, str]
) -> None:
    pod = template(flavor=flavor(resources={"requests": requests, "limits": limits}))["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        amounts = container["resources"]
        assert tuple(amounts[each]["ephemeral-storage"] for each in ("requests", "limits")) == expected
    on_disk = [v["emptyDir"] for v in pod["volumes"] if "medium" not in v.get("emptyDir", {"medium": ""})]
    assert {each["sizeLimit"] for each in on_disk} == {expected[1], "64Mi"}


def test_volumes_on_disk_or_in_memory_have_a_size() -> None:
    assert all(v["emptyDir"].get("sizeLimit") for v in template()["spec"]["volumes"] if "emptyDir" in v)


def test_placement_has_the_flavors_tolerations_and_selector() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "value": "", "effect": "NoExecute", "tolerationSeconds": 0}]
    pod = template(flavor=flavor(tolerations=tolerations, nodeSelector={"b": "1", "a": "2"}))["spec"]
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    assert list(pod["nodeSelector"].items()) == [("a", "2"), ("b", "1")]
    assert not {"tolerations", "nodeSelector"} & template()["spec"].keys()


def test_secrets_are_references_and_win_over_variables_of_the_same_name() -> None:
    """No value of a secret is in a pod template, which is kept in an annotation."""
    secrets = [
        {"name": "hf", "env": "HF_TOKEN"},
        {"name": "deploy", "key": "id", "file": "id_ed25519"},
        {"name": "deploy", "key": "known", "file": "known_hosts"},
    ]
    pod = template(server=server(secrets=secrets, env=[{"name": "HF_TOKEN", "value": "old"}]))["spec"]
    (container,) = pod["containers"]
    (token,) = [variable for variable in container["env"] if variable["name"] == "HF_TOKEN"]
    assert token == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "user-secret-hf", "key": "value"}},
    }
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    assert volume["projected"] == {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": "user-secret-deploy", "items": [{"key": "id", "path": "id_ed25519"}]}},
            {"secret": {"name": "user-secret-deploy", "items": [{"key": "known", "path": "known_hosts"}]}},
        ],
    }
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    assert mount == {"name": "secrets", "mountPath": "/etc/devservers/secrets", "readOnly": True}
    plain = template()["spec"]
    assert "secrets" not in [volume["name"] for volume in plain["volumes"]]
