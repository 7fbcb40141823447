"""What `make up` finds around a cluster, and what the stack makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.node.components import Site
from infra.deploy.local.networks import measure
from infra.local.networks import ClusterNetworks, read
from infra.settings.platform.bastion import Bastion
from infra.settings.platform.egress import Egress
from infra.settings.problems import SettingsError
from infra.settings.stack import Images, Settings

NODE: dict[str, Any] = {
    "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "10.213.0.2"}, {"type": "Hostname", "address": "one"}]},
}
SERVICE: dict[str, Any] = {"spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}}
SLICE: dict[str, Any] = {"endpoints": [{"addresses": ["10.213.0.2"]}]}
IMAGES = Images(operator="localhost/o:1", agent="localhost/a:1", base="localhost/b:1", bastion="localhost/t:1")
SITE = Site("10.213.0.2", "10.213.0.1", 1500, (), "devservers", True)


def test_the_embedded_cluster_is_closed_with_its_cable() -> None:
    found = measure([NODE], [SERVICE], [SLICE], SITE)
    assert found.closed == ("10.96.0.0/16", "10.213.0.0/30", "10.244.0.0/24")
    assert found.dns == ("10.213.0.2/32",)
    assert found.machine == ("10.213.0.0/30",)


def test_the_pods_of_the_embedded_cluster_are_closed_although_its_node_names_no_network_of_theirs() -> None:
    assert measure([{**NODE, "spec": {}}], [SERVICE], [SLICE], SITE) == measure([NODE], [SERVICE], [SLICE], SITE)


def test_another_cluster_is_closed_by_what_it_says_of_itself() -> None:
    both = {"spec": {"podCIDRs": ["10.244.1.0/24", "fd00:10:244::/64"]}, "status": {"addresses": [
        {"type": "InternalIP", "address": "172.18.0.3"}, {"type": "InternalIP", "address": "fc00:f853::3"},
    ]}}  # fmt: skip
    apart = {"endpoints": [{"addresses": ["172.18.0.9"]}]}
    found = measure([NODE, both], [SERVICE], [apart])
    assert found == ClusterNetworks(
        (
            *("10.96.0.1/32", "10.213.0.2/32", "10.244.0.0/23", "172.18.0.3/32", "172.18.0.9/32"),
            *("fc00:f853::3/128", "fd00:10:244::/64"),
        )
    )


def test_the_variable_comes_back_as_it_was_written() -> None:
    found = measure([NODE], [SERVICE], [SLICE], SITE)
    assert read({"DEVSERVERS_LOCAL_NETWORK": str(found)}) == found


@pytest.mark.parametrize("text", ["", "{}", "[]", "no", '{"closed": ["lots"]}', '{"closed": 4}', '{"open": []}'])
def test_without_the_clusters_networks_nothing_is_made(text: str) -> None:
    with pytest.raises(SettingsError, match=r"DEVSERVERS_LOCAL_NETWORK = .*: not the networks of a cluster"):
        read({"DEVSERVERS_LOCAL_NETWORK": text})


def test_what_the_stack_says_stays() -> None:
    egress = Egress(deny=("192.0.2.0/24",), allow=("10.213.0.2/32",))
    own = Settings(cluster="local", images=IMAGES, egress=egress, bastion=Bastion(exempt=("203.0.113.0/24",)))
    found = measure([NODE], [SERVICE], [SLICE], SITE).apply_to(own)
    assert found.closed_networks == ("192.0.2.0/24", "10.96.0.0/16", "10.213.0.0/30", "10.244.0.0/24")
    assert found.egress.allow == ("10.213.0.2/32",)
    assert found.bastion.exempt == ("203.0.113.0/24", "10.213.0.0/30")
