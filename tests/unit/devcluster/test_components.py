"""The embedded cluster's parts: what they are told, without starting one."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from devcluster.cluster import PROGRAMS
from devcluster.node import machine_setup
from devcluster.node.components import CONTAINERD_SOCKET, Site, components
from devcluster.node.config_files import files

SITE = Site("10.213.0.2", "10.213.0.1", 1400, ("192.0.2.53",), "devservers-test", True)
TOOLS = {name: f"/tools/{name}" for name in PROGRAMS}


def test_every_program_is_started_once_and_can_be_asked_for_its_health() -> None:
    parts = components(SITE, TOOLS)
    assert [part.argv[0] for part in parts] == [f"/tools/{name}" for name in PROGRAMS]
    assert all(part.health for part in parts)


def test_nothing_but_the_api_server_listens_beyond_the_node() -> None:
    listening = [arg for part in components(SITE, TOOLS) for arg in part.argv if "0.0.0.0" in arg]
    assert listening == ["--bind-address=0.0.0.0"]


def test_the_api_server_asks_who_and_whether() -> None:
    argv = next(part.argv for part in components(SITE, TOOLS) if part.name == "kube-apiserver")
    assert "--authorization-mode=Node,RBAC" in argv
    kubelet = json.loads(files(SITE, "/cni")["kubelet.yaml"])
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"]["mode"] == "Webhook"


def test_etcd_lets_nobody_in_without_a_certificate_of_its_own_authority() -> None:
    etcd, api = (next(each for each in components(SITE, TOOLS) if each.name == n) for n in ("etcd", "kube-apiserver"))
    assert [arg for arg in (*etcd.argv, etcd.health) if "http:" in arg] == []
    for kind in ("", "peer-"):
        assert f"--{kind}client-cert-auth" in etcd.argv
        assert f"--{kind}trusted-ca-file=/run/devservers/pki/etcd-ca.crt" in etcd.argv
    assert "--etcd-servers=https://127.0.0.1:2379" in api.argv
    assert "--etcd-cafile=/run/devservers/pki/etcd-ca.crt" in api.argv
    assert "--client-ca-file=/run/devservers/pki/ca.crt" in api.argv  # another one


def test_kubelet_looks_at_every_pod_often_enough_for_a_removed_key() -> None:
    """The documentation says ten seconds; the kubelet adds up to half of its period."""
    kubelet = json.loads(files(SITE, "/cni")["kubelet.yaml"])
    assert 1.5 * float(kubelet["syncFrequency"].removesuffix("s")) < 10


def test_files_parse_and_name_each_other() -> None:
    made = files(SITE, "/cni")
    containerd = tomllib.loads(made["containerd.toml"])
    assert containerd["grpc"]["address"] == CONTAINERD_SOCKET
    assert json.loads(made["kubelet.yaml"])["containerRuntimeEndpoint"] == f"unix://{CONTAINERD_SOCKET}"
    assert json.loads(made["cni/10-bridge.conflist"])["plugins"][0]["mtu"] == SITE.mtu
    assert "forward . 192.0.2.53" in made["Corefile"]


@pytest.mark.parametrize("ipv6", [True, False])
def test_pods_have_no_ipv6_because_the_firewall_has_none(ipv6: bool) -> None:
    network = json.loads(files(replace(SITE, ipv6=ipv6), "/cni")["cni/10-bridge.conflist"])
    sysctls = [plugin.get("sysctl") for plugin in network["plugins"] if plugin["type"] == "tuning"]
    assert sysctls == ([{"net.ipv6.conf.all.disable_ipv6": "1"}] if ipv6 else [])


def test_without_a_resolver_the_cluster_still_names_itself() -> None:
    made = files(Site("10.213.0.2", "10.213.0.1", 1500, (), "c", False), "/cni")
    assert "forward" not in made["Corefile"]
    assert "kubernetes cluster.local" in made["Corefile"]


def test_the_audit_log_never_holds_a_body() -> None:
    policy = yaml.safe_load(files(SITE, "/cni")["audit-policy.yaml"])
    assert {rule["level"] for rule in policy["rules"]} <= {"Metadata", "None"}


@pytest.mark.parametrize("folder", ["/a", "/a/very/long/path/of/somebody/" * 5, "/ü"])
def test_a_link_name_fits_the_kernel_and_is_the_folders_own(folder: str) -> None:
    assert len(machine_setup.link_name(Path(folder)).encode()) <= 15
    assert machine_setup.link_name(Path(folder)) != machine_setup.link_name(Path(folder + "x"))
