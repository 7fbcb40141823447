"""The objects of a distributed server: its StatefulSet, network, keys, launchers and variables."""

from __future__ import annotations

import copy
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from devservers.build.devserver import manifests as children
from devservers.build.distributed.layout import Layout, LayoutError
from devservers.build.host_key import host_names
from devservers.build.record import Record, input_hash
from devservers.reconcile.compare import differences, with_applied_hash
from devservers_core.types import Json
from tests.support.operator.build_objects import UID, child, flavor, main_container, request, server, user

GPUS = {"resources": {"requests": {"nvidia.com/gpu": 2}, "limits": {"nvidia.com/gpu": 2}}}
DOMAIN = "mydev-replicas.dev-ann.svc.cluster.local"


def distributed(replicas: int = 2, annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    of_layout = ("nprocsPerNode", "worldSize", "backend", "ncclSettings")
    layout: dict[str, Any] = {"replicas": replicas} | {name: spec.pop(name) for name in of_layout if name in spec}
    return server(annotations, mode="distributed", distributed=layout, **spec)


def stateful_set(**changes: Any) -> Json:
    changes.setdefault("server", distributed())
    return child("StatefulSet", **changes)


def environment(**changes: Any) -> dict[str, str]:
    (container, *_) = stateful_set(**changes)["spec"]["template"]["spec"]["containers"]
    return {
        variable["name"]: variable.get("value", (variable.get("valueFrom") or {}).get("fieldRef", {}).get("fieldPath"))
        for variable in container["env"]
    }


def launch(name: str, **changes: Any) -> str:
    found = [each for each in children(request(server=distributed(), **changes)) if each["kind"] == "ConfigMap"]
    return str(next(each for each in found if each["metadata"]["name"] == "mydev-launch")["data"][name])


def test_manifests_of_a_distributed_server_are_a_stateful_set_and_its_own_network() -> None:
    found = [(each["kind"], each["metadata"]["name"]) for each in children(request(server=distributed()))]
    assert found == [
        ("ConfigMap", "mydev-keys"),
        ("Service", "mydev"),
        ("Service", "mydev-replicas"),
        ("NetworkPolicy", "mydev-replicas"),
        ("ConfigMap", "mydev-launch"),
        ("StatefulSet", "mydev"),
    ]


def test_standalone_server_has_nothing_of_a_distributed_one() -> None:
    assert [each["kind"] for each in children(request())] == ["ConfigMap", "Service", "Deployment"]
    names = {variable["name"] for variable in main_container()["env"]}
    assert not names & {"MASTER_ADDR", "DEVSERVERS_REPLICA", "PET_NNODES"}
    assert input_hash(server(), UID) == input_hash(server(mode="standalone"), UID)


def test_stateful_set_starts_and_stops_all_replicas_at_once_and_keeps_homes() -> None:
    spec = stateful_set(server=distributed(4, persistentHomeSize="20Gi"))["spec"]
    assert (spec["replicas"], spec["serviceName"], spec["podManagementPolicy"]) == (4, "mydev-replicas", "Parallel")
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert stateful_set(running=False)["spec"]["replicas"] == 0
    assert stateful_set(user=user(suspended=True))["spec"]["replicas"] == 0


def test_homes_are_claims_of_each_replica_and_the_template_names_them() -> None:
    made = children(request(server=distributed(3, persistentHomeSize="20Gi")))
    claims = [each for each in made if each["kind"] == "PersistentVolumeClaim"]
    assert [claim["metadata"]["name"] for claim in claims] == ["home-mydev-0", "home-mydev-1", "home-mydev-2"]
    assert {claim["metadata"]["annotations"]["devservers.io/home-of"] for claim in claims} == {"mydev"}
    (template,) = made[-1]["spec"]["volumeClaimTemplates"]
    assert template["metadata"]["name"] == "home"
    assert template["spec"]["resources"]["requests"] == {"storage": "20Gi"}
    pod = made[-1]["spec"]["template"]["spec"]
    assert "home" not in [volume["name"] for volume in pod["volumes"]]
    assert {"name": "home", "mountPath": "/home/dev"} in pod["containers"][0]["volumeMounts"]


def test_claim_template_stays_as_it_is_stored_when_the_home_grows() -> None:
    before = stateful_set(server=distributed(persistentHomeSize="20Gi"))
    after = stateful_set(server=distributed(persistentHomeSize="50Gi"), live_workload=before)
    assert after["spec"]["volumeClaimTemplates"] == before["spec"]["volumeClaimTemplates"]


def test_without_a_persistent_home_each_replica_has_an_empty_one() -> None:
    spec = stateful_set()["spec"]
    assert "volumeClaimTemplates" not in spec
    assert any(each["name"] == "home" and "emptyDir" in each for each in spec["template"]["spec"]["volumes"])


def test_queue_labels_are_on_the_stateful_set_only_and_stay_those_of_its_start() -> None:
    queueing = replace(request().settings, queueing=True)
    made = stateful_set(settings=queueing, flavor=flavor(queue="training"))
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    assert not [name for name in made["spec"]["template"]["metadata"]["labels"] if "kueue" in name]
    kept = stateful_set(settings=queueing, flavor=flavor(queue="interactive"), live_workload=made)
    assert kept["metadata"]["labels"] == made["metadata"]["labels"]


def test_pods_of_a_queued_server_are_held_also_if_kueue_sees_the_pods_only() -> None:
    """Kueue's webhook for StatefulSets is skipped while Kueue is away."""
    queueing = replace(request().settings, queueing=True)

    def annotations(**changes: Any) -> Json:
        return dict(stateful_set(**changes)["spec"]["template"]["metadata"]["annotations"])

    mark = "kueue.x-k8s.io/pod-suspending-parent"
    assert annotations(settings=queueing)[mark] == "statefulset"
    assert mark not in annotations()
    standalone = child("Deployment", settings=queueing)
    assert mark not in standalone["spec"]["template"]["metadata"]["annotations"]


def test_pods_of_a_server_that_an_earlier_version_started_are_not_replaced() -> None:
    """Its record lacks the mark, which Kueue wrote into the stored template alone."""
    mark = "kueue.x-k8s.io/pod-suspending-parent"
    queueing = replace(request().settings, queueing=True)
    inputs = input_hash(distributed(), UID)
    template = stateful_set(settings=queueing)["spec"]["template"]
    template["metadata"]["annotations"].pop(mark, None)
    kept = Record({"devservers.io/input-hash": inputs}, template)
    desired = with_applied_hash(stateful_set(settings=queueing, kept=kept))
    stored = copy.deepcopy(desired)
    stored["spec"]["template"]["metadata"]["annotations"][mark] = "statefulset"
    assert not list(differences(desired, stored))
    assert mark not in desired["spec"]["template"]["metadata"]["annotations"]


def test_same_request_keeps_the_stored_stateful_set() -> None:
    before = stateful_set(server=distributed(persistentHomeSize="20Gi"))
    assert stateful_set(server=distributed(persistentHomeSize="20Gi"), live_workload=before) == before


@pytest.mark.parametrize("change", [{"replicas": 3}, {"nprocsPerNode": 2}, {"backend": "gloo"}, {"ncclSettings": {}}])
def test_input_hash_covers_the_layout(change: dict[str, Any]) -> None:
    same = change == {"ncclSettings": {}}
    assert (input_hash(distributed(), UID) == input_hash(distributed(**change), UID)) == same


def test_services_one_names_all_replicas_before_they_are_ready_and_one_is_the_first() -> None:
    services = {
        each["metadata"]["name"]: each["spec"]
        for each in children(request(server=distributed()))
        if each["kind"] == "Service"
    }
    assert services["mydev"]["selector"] == {"devservers.io/name": "mydev", "apps.kubernetes.io/pod-index": "0"}
    assert services["mydev-replicas"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"devservers.io/name": "mydev"},
    }


def test_network_policy_opens_all_ports_to_the_same_servers_pods_only() -> None:
    own = {"podSelector": {"matchLabels": {"devservers.io/name": "mydev"}}}
    policy = child("NetworkPolicy", server=distributed())["spec"]
    assert policy == {**own, "policyTypes": ["Ingress"], "ingress": [{"from": [own]}]}


def test_variables_of_one_process_a_replica_are_those_of_a_plain_script_too() -> None:
    found = environment()
    assert found["MASTER_ADDR"] == found["PET_MASTER_ADDR"] == f"mydev-0.{DOMAIN}"
    assert found["MASTER_PORT"] == found["PET_MASTER_PORT"] == "29500"
    assert (found["PET_NNODES"], found["PET_NPROC_PER_NODE"], found["NPROC_PER_NODE"]) == ("2", "1", "1")
    assert (found["WORLD_SIZE"], found["LOCAL_RANK"], found["DEVSERVERS_REPLICAS"]) == ("2", "0", "2")
    index = "metadata.labels['apps.kubernetes.io/pod-index']"
    assert {found[name] for name in ("RANK", "PET_NODE_RANK", "DEVSERVERS_REPLICA")} == {index}
    assert found["DEVSERVERS_BACKEND"] == "gloo"


def test_variables_of_several_processes_leave_ranks_to_torchrun() -> None:
    found = environment(flavor=flavor(**GPUS))
    assert (found["PET_NPROC_PER_NODE"], found["DEVSERVERS_BACKEND"]) == ("2", "nccl")
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(found)


def test_variables_of_the_layout_hide_the_persons_own_of_the_same_name() -> None:
    own = [{"name": "MASTER_ADDR", "value": "elsewhere"}, {"name": "RANK", "value": "7"}, {"name": "A", "value": "b"}]
    (container, *_) = stateful_set(server=distributed(env=own))["spec"]["template"]["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))
    assert environment(server=distributed(env=own))["MASTER_ADDR"].startswith("mydev-0.")
    assert environment(server=distributed(env=own))["A"] == "b"


def test_nccl_settings_are_variables_where_the_backend_is_nccl() -> None:
    wanted = distributed(ncclSettings={"NCCL_DEBUG": "INFO", "NCCL_SOCKET_IFNAME": "$x"})
    assert environment(server=wanted, flavor=flavor(**GPUS))["NCCL_SOCKET_IFNAME"] == "$$x"
    assert "NCCL_DEBUG" not in environment(server=wanted)


def test_nccl_without_gpus_becomes_gloo() -> None:
    layout = Layout.of(distributed(backend="nccl"), flavor())
    assert layout is not None
    assert (layout.backend, layout.processes) == ("gloo", 1)
    with_gpus = Layout.of(distributed(backend="gloo"), flavor(**GPUS))
    assert with_gpus is not None
    assert with_gpus.backend == "gloo"


def test_world_size_that_the_flavors_gpus_contradict_is_refused() -> None:
    assert Layout.of(distributed(worldSize=4), flavor(**GPUS))
    with pytest.raises(LayoutError, match="worldSize 3 is not 2 replicas times 2 processes of flavor cpu-small"):
        Layout.of(distributed(worldSize=3), flavor(**GPUS))


def test_pods_mount_the_replica_key_and_launchers_where_the_volume_has_the_folder() -> None:
    pod = stateful_set()["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["/etc/devservers/replica-key"]["readOnly"]
    assert mounts["/opt/devservers/pytorch"]["name"] == "launch"
    assert mounts["/etc/ssh/ssh_config.d/10-devservers.conf"]["subPath"] == "ssh_config"
    (init,) = pod["initContainers"]
    assert "/target/pytorch" in [mount["mountPath"] for mount in init["volumeMounts"]]
    assert "hostname" not in pod
    assert pod["dnsConfig"] == {"searches": [DOMAIN]}


def test_replica_key_is_authorized_unless_the_person_is_suspended() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIreplica"

    def authorized(**changes: Any) -> str:
        return str(child("ConfigMap", server=distributed(), replica_key=key, **changes)["data"]["authorized_keys"])

    assert f"{key}\n" in authorized()
    assert not authorized(user=user(suspended=True))


def test_host_certificate_has_the_names_of_all_replicas() -> None:
    names = host_names(distributed(3), user())
    assert names[0] == "mydev.dev-ann.svc.cluster.local"
    assert names[2:] == tuple(f"mydev-{number}.{DOMAIN}" for number in range(3))
    assert host_names(server(), user()) == names[:2]


def test_ssh_config_asks_nothing_and_trusts_the_host_authority_alone() -> None:
    config = launch("ssh_config", host_ca_public="ssh-ed25519 AAAAhost")
    assert "Host mydev-0 mydev-1\n  HostName %h." in config
    assert "StrictHostKeyChecking yes" in config
    assert "UserKnownHostsFile /dev/null" in config
    assert launch("known_hosts", host_ca_public="ssh-ed25519 AAAAhost") == (
        f"@cert-authority *.{DOMAIN},[*.{DOMAIN}]:2222 ssh-ed25519 AAAAhost\n"
    )
    assert launch("hostfile", flavor=flavor(**GPUS)).splitlines()[1] == f"mydev-1.{DOMAIN} slots=2"


def test_on_all_replicas_runs_a_command_line_everywhere_and_gives_the_first_failure(tmp_path: Any) -> None:
    """Its ssh is a program that runs the command line here, as a shell on the other replica would."""
    script = tmp_path / "on-all-replicas"
    script.write_text(launch("on-all-replicas"))
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nreplica=$4; shift 4; replica="$replica" exec sh -c "$1"\n')
    for program in (script, ssh):
        program.chmod(0o755)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DEVSERVERS_REPLICAS": "2", "DEVSERVERS_NAME": "mydev"}
        return subprocess.run(
            [str(script), *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run("printf", "%s %s\\n", "it's", "a  b")
    assert sorted(done.stdout.splitlines()) == ["[0] it's a  b", "[1] it's a  b"]
    assert done.returncode == 0
    done = run("sh", "-c", 'echo "$replica"; [ "$replica" = mydev-0 ] || exit 7')
    assert sorted(done.stdout.splitlines()) == ["[0] mydev-0", "[1] mydev-1"]
    assert done.returncode == 7
    assert run().returncode == 2
