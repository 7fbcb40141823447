"""The bastion of a stack: who in its pods may what, where they may connect to, and how long one drains."""

from __future__ import annotations

from typing import Any

import pytest

from devctl import recordings
from devservers_core import names
from devservers_core.names import LABEL_SCRAPE
from infra.aws import binding, cidrs
from infra.platform import bastion, bastion_pod
from infra.policy.workload_rules import LEVELS
from infra.problems import SettingsError
from infra.settings import Settings, load
from tests.infra.test_settings import raw
from tests.support.infra.environments import raw as aws_raw

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


def test_sessions_have_no_token_within_reach(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    mounts = {name: {each["name"] for each in one["volumeMounts"]} for name, one in containers(pod).items()}
    assert {name for name, names in mounts.items() if "token" in names} == {"keysync", "broker"}
    assert {name for name, names in mounts.items() if "host-key" in names} == {"sshd"}
    sources = next(each for each in pod["volumes"] if each["name"] == "token")["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["expirationSeconds"] <= 3600


def test_only_sshd_is_root_and_with_no_more_than_it_needs(pod: dict[str, Any]) -> None:
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


def test_what_others_write_sessions_only_read(pod: dict[str, Any]) -> None:
    mounts = {each["name"]: each for each in containers(pod)["sshd"]["volumeMounts"]}
    assert {name for name, each in mounts.items() if not each.get("readOnly")} == {"sshd", "tmp"}


def test_who_serves_one_socket_cannot_stand_in_for_the_other(pod: dict[str, Any]) -> None:
    writers = {
        each["name"]: [name for name, one in containers(pod).items() for mount in one["volumeMounts"]
                       if mount["name"] == each["name"] and not mount.get("readOnly")]
        for each in pod["volumes"]
        if each["name"].endswith("-socket")
    }  # fmt: skip
    assert writers == {"audit-socket": ["audit"], "broker-socket": ["broker"]}


def test_networks_that_are_never_made_to_wait(pod: dict[str, Any]) -> None:
    assert not [word for word in containers(pod)["sshd"]["args"] if word.startswith("--exempt")]
    exempt = bastion_pod.pod(local(exempt=["203.0.113.0/24", "198.51.100.7/32"]))
    args = containers(exempt)["sshd"]["args"]
    assert args[-2:] == ["--exempt=203.0.113.0/24", "--exempt=198.51.100.7/32"]
    with pytest.raises(SettingsError):
        local(exempt=["office"])


def test_health_is_asked_from_where_the_load_balancer_is() -> None:
    settings = load("test", aws_raw(), {})
    assert settings.aws
    (policy,) = [each for each in bastion.policies(settings) if each["metadata"]["name"] == "bastion"]
    scraped, checks = [each for each in policy["spec"]["ingress"] if each["ports"][0]["port"] == binding.HEALTH_PORT]
    assert scraped["from"] == [{"namespaceSelector": {"matchLabels": {LABEL_SCRAPE: "true"}}}]
    plan = cidrs.plan(settings.aws.network.cidr, settings.aws.network.zones)
    assert [each["ipBlock"]["cidr"] for each in checks["from"]] == [each.public for each in plan]
    assert not {each["ipBlock"]["cidr"] for each in checks["from"]} & {each.private for each in plan}


def test_devctl_finds_the_recorders_pods() -> None:
    selector = dict([recordings.SELECTOR.split("=")])
    assert selector == bastion_pod.SELECTOR
    assert names.BASTION_AUDIT_CONTAINER in {each["name"] for each in bastion_pod.pod(local())["initContainers"]}


def test_what_runs_beside_sshd_ends_after_it(pod: dict[str, Any]) -> None:
    assert {each["name"]: each["restartPolicy"] for each in pod["initContainers"]} == dict.fromkeys(
        ("audit", "keysync", "broker"), "Always"
    )


@pytest.mark.parametrize("seconds", [0, 90, 3600])
def test_how_long_one_drains_is_one_number(seconds: int) -> None:
    pod = bastion_pod.pod(local(drainSeconds=seconds))
    assert pod["terminationGracePeriodSeconds"] == seconds + 60
    assert f"--drain-seconds={seconds}" in containers(pod)["sshd"]["args"]


def test_on_aws_the_number_is_the_load_balancer_s() -> None:
    settings = load("test", aws_raw(edge={"drainSeconds": 120}), {})
    assert bastion_pod.pod(settings)["terminationGracePeriodSeconds"] == 180
    assert bastion.service(settings)["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize(
    ("said", "remedy"), [({"drainSeconds": 60}, "set edge.drainSeconds"), ({"nodePort": 32222}, "edge.port")]
)
def test_on_aws_what_the_edge_says_is_not_said_twice(said: dict[str, int], remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load("test", aws_raw(bastion=said), {})
    (problem,) = caught.value.problems
    (key,) = said
    assert problem.key == f"devservers:bastion.{key}"
    assert remedy in problem.remedy


def test_a_new_pod_is_there_before_an_old_one_goes() -> None:
    spec = bastion.deployment(local(replicas=3))["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (3, {"maxSurge": 1, "maxUnavailable": 0})
    assert bastion.disruption_budget()["spec"]["maxUnavailable"] == 1


def test_its_namespace_is_baseline_and_closed_both_ways() -> None:
    labels = bastion.namespace(local())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline" in LEVELS
    deny, _ = bastion.policies(local())
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("settings", [local(), load("test", aws_raw(), {})], ids=["local", "aws"])
def test_it_reaches_servers_names_and_the_api_and_never_metadata(settings: Settings) -> None:
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


def test_nodes_listen_where_the_stack_says_and_keep_the_client_s_address() -> None:
    spec = bastion.service(local(nodePort=30022))["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"], spec["ports"][0]["nodePort"]) == ("NodePort", "Local", 30022)


def test_sessions_are_told_what_the_stack_allows() -> None:
    said = bastion.session_settings(local(kubectl=False), "ssh.example.com")["data"]
    assert said == {"kubectl": "false", "address": "ssh.example.com"}
    assert "--record" in containers(bastion_pod.pod(local(record=True)))["audit"]["args"]


def test_on_aws_the_binding_registers_the_pods_behind_the_service_of_its_namespace() -> None:
    settings = load("test", aws_raw(), {})
    service, made = bastion.service(settings), binding.target_group_binding("arn:x")
    where = bastion.namespace(settings)["metadata"]
    assert where["labels"]["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"
    assert where["name"] == service["metadata"]["namespace"] == made["metadata"]["namespace"]
    (port,) = service["spec"]["ports"]
    assert made["spec"]["serviceRef"] == {"name": service["metadata"]["name"], "port": port["port"]}
    assert port["targetPort"] == binding.SSH_PORT
    assert service["spec"]["selector"] == bastion.deployment(settings)["spec"]["template"]["metadata"]["labels"]
    assert bastion_pod.pod(settings)["nodeSelector"] == settings.node_selector != {}
