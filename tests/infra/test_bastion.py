"""The bastion's pod, network policies, service and settings in a stack."""

from __future__ import annotations

from typing import Any

import pytest

from devctl.commands.platform import admin
from devservers_core import names
from devservers_core.names import LABEL_SCRAPE
from infra.platform.bastion import component as bastion
from infra.platform.bastion import pod as bastion_pod
from infra.platform.bastion import target_group_binding
from infra.policy.workload_rules import LEVELS
from infra.settings.aws.subnets import plan_subnets
from infra.settings.loading import load
from infra.settings.problems import SettingsError
from infra.settings.stack import Settings
from tests.support.infra.environments import raw as aws_raw
from tests.support.infra.local_settings import raw

BASELINE = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
"""Capabilities that Pod Security's level `baseline` lets a container add (Pod Security Standards)."""


def local(**said: Any) -> Settings:
    return load("local", raw(bastion=said), {})


@pytest.fixture
def pod() -> dict[str, Any]:
    return bastion_pod.pod(local())


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}


def test_sshd_container_mounts_no_token(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    mounts = {name: {each["name"] for each in one["volumeMounts"]} for name, one in containers(pod).items()}
    assert {name for name, names in mounts.items() if "token" in names} == {"keysync", "broker"}
    assert {name for name, names in mounts.items() if "host-key" in names} == {"sshd"}
    sources = next(each for each in pod["volumes"] if each["name"] == "token")["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["expirationSeconds"] <= 3600


def test_sshd_container_alone_is_root_with_minimal_capabilities(pod: dict[str, Any]) -> None:
    for name, each in containers(pod).items():
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        if name == "sshd":
            assert context["runAsUser"] == 0
            assert set(context["capabilities"]["add"]) == set(bastion_pod.CAPABILITIES) <= BASELINE
        else:
            assert context["runAsNonRoot"]
            assert "add" not in context["capabilities"]
    users = [each["securityContext"]["runAsUser"] for each in containers(pod).values()]
    assert len(set(users)) == 4
    assert max(users) < 20000


def test_sshd_container_mounts_other_containers_files_read_only(pod: dict[str, Any]) -> None:
    mounts = {each["name"]: each for each in containers(pod)["sshd"]["volumeMounts"]}
    assert {name for name, each in mounts.items() if not each.get("readOnly")} == {"sshd", "tmp"}


def test_socket_folders_are_writable_by_their_server_only(pod: dict[str, Any]) -> None:
    writers = {
        each["name"]: [name for name, one in containers(pod).items() for mount in one["volumeMounts"]
                       if mount["name"] == each["name"] and not mount.get("readOnly")]
        for each in pod["volumes"]
        if each["name"].endswith("-socket")
    }  # fmt: skip
    assert writers == {"audit-socket": ["audit"], "broker-socket": ["broker"]}


def test_exempt_networks_become_arguments_of_sshd(pod: dict[str, Any]) -> None:
    assert not [word for word in containers(pod)["sshd"]["args"] if word.startswith("--exempt")]
    exempt = bastion_pod.pod(local(exempt=["203.0.113.0/24", "198.51.100.7/32"]))
    args = containers(exempt)["sshd"]["args"]
    assert args[-2:] == ["--exempt=203.0.113.0/24", "--exempt=198.51.100.7/32"]
    with pytest.raises(SettingsError):
        local(exempt=["office"])


def test_health_port_admits_the_public_subnets_only() -> None:
    settings = load("test", aws_raw(), {})
    assert settings.aws
    (policy,) = [each for each in bastion.policies(settings) if each["metadata"]["name"] == "bastion"]
    scraped, checks = [
        each for each in policy["spec"]["ingress"] if each["ports"][0]["port"] == target_group_binding.HEALTH_PORT
    ]
    assert scraped["from"] == [{"namespaceSelector": {"matchLabels": {LABEL_SCRAPE: "true"}}}]
    plan = plan_subnets(settings.aws.network.cidr, settings.aws.network.zones)
    assert [each["ipBlock"]["cidr"] for each in checks["from"]] == [each.public for each in plan]
    assert not {each["ipBlock"]["cidr"] for each in checks["from"]} & {each.private for each in plan}


def test_audit_container_matches_devctls_selector() -> None:
    selector = dict([admin.SELECTOR.split("=")])
    assert selector == bastion_pod.SELECTOR
    assert names.BASTION_AUDIT_CONTAINER in {each["name"] for each in bastion_pod.pod(local())["initContainers"]}


def test_sidecars_are_restartable_init_containers(pod: dict[str, Any]) -> None:
    assert {each["name"]: each["restartPolicy"] for each in pod["initContainers"]} == dict.fromkeys(
        ("audit", "keysync", "broker"), "Always"
    )


@pytest.mark.parametrize("seconds", [0, 90, 3600])
def test_drain_seconds_sets_grace_period_and_argument(seconds: int) -> None:
    pod = bastion_pod.pod(local(drainSeconds=seconds))
    assert pod["terminationGracePeriodSeconds"] == seconds + 60
    assert f"--drain-seconds={seconds}" in containers(pod)["sshd"]["args"]


def test_drain_seconds_on_aws_come_from_the_edge() -> None:
    settings = load("test", aws_raw(edge={"drainSeconds": 120}), {})
    assert bastion_pod.pod(settings)["terminationGracePeriodSeconds"] == 180
    assert bastion.service(settings)["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize(
    ("said", "remedy"), [({"drainSeconds": 60}, "set edge.drainSeconds"), ({"nodePort": 32222}, "edge.port")]
)
def test_bastion_setting_of_the_edge_on_aws_is_refused(said: dict[str, int], remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load("test", aws_raw(bastion=said), {})
    (problem,) = caught.value.problems
    (key,) = said
    assert problem.key == f"devservers:bastion.{key}"
    assert remedy in problem.remedy


def test_deployment_surges_before_it_removes_a_pod() -> None:
    spec = bastion.deployment(local(replicas=3))["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (3, {"maxSurge": 1, "maxUnavailable": 0})
    assert bastion.disruption_budget()["spec"]["maxUnavailable"] == 1


def test_bastion_namespace_is_baseline_and_denies_by_default() -> None:
    labels = bastion.namespace(local())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline" in LEVELS
    deny, _ = bastion.policies(local())
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("settings", [local(), load("test", aws_raw(), {})], ids=["local", "aws"])
def test_bastion_egress_reaches_servers_dns_and_api_only(settings: Settings) -> None:
    _, policy = bastion.policies(settings)
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {2222, 443, 6443, 53}
    for rule in policy["spec"]["egress"]:
        for peer in rule["to"]:
            if "ipBlock" in peer:
                assert peer["ipBlock"]["except"] == ["169.254.0.0/16"]
            else:
                assert peer["namespaceSelector"]
                assert peer["podSelector"]
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [2222]
    checks = policy["spec"]["ingress"][1:]
    assert len(checks) == 1 + (settings.aws is not None)
    assert all(rule["from"] for rule in checks)


def test_node_port_service_keeps_the_client_address() -> None:
    spec = bastion.service(local(nodePort=30022))["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"], spec["ports"][0]["nodePort"]) == ("NodePort", "Local", 30022)


def test_session_settings_follow_the_stack() -> None:
    said = bastion.session_settings(local(kubectl=False), "ssh.example.com")["data"]
    assert said == {"kubectl": "false", "address": "ssh.example.com"}
    assert "--record" in containers(bastion_pod.pod(local(record=True)))["audit"]["args"]


def test_target_group_binding_matches_the_bastions_service() -> None:
    settings = load("test", aws_raw(), {})
    service, made = bastion.service(settings), target_group_binding.target_group_binding("arn:x")
    where = bastion.namespace(settings)["metadata"]
    assert where["labels"]["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"
    assert where["name"] == service["metadata"]["namespace"] == made["metadata"]["namespace"]
    (port,) = service["spec"]["ports"]
    assert made["spec"]["serviceRef"] == {"name": service["metadata"]["name"], "port": port["port"]}
    assert port["targetPort"] == target_group_binding.SSH_PORT
    assert service["spec"]["selector"] == bastion.deployment(settings)["spec"]["template"]["metadata"]["labels"]
    assert bastion_pod.pod(settings)["nodeSelector"] == settings.node_selector != {}
