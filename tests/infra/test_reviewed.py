"""Reviews of pinned add-ons and charts: webhooks, DaemonSets and decisions."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from devservers.build.user import manifests
from devservers_core.names import LABEL_POOL
from infra.catalog import CHARTS, FAMILIES, VERSIONS
from infra.platform.kueue import installation
from infra.policy.subject import at
from infra.preview.graph import Graph, Node
from infra.reviewed import matching, render
from infra.reviewed.entry import (
    READ,
    RENDERED,
    Component,
    DaemonSet,
    DaemonSetDecision,
    Webhook,
    components,
    decisions,
    dump,
    load,
)
from infra.reviewed.sources import SOURCES, pinned
from tests.support.infra.environment import POOLS, graph, part
from tests.support.infra.simulated import simulated
from tests.support.operator.build_objects import UID, template, user

OS, ARCH, TYPE = "kubernetes.io/os", "kubernetes.io/arch", "node.kubernetes.io/instance-type"
WORKLOADS = {"pods", "deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "services", "namespaces"}
"""Kinds of which something of ours runs, or is made of, in namespaces of people and of the platform."""


def pins() -> set[tuple[str, str]]:
    """Everything the catalog pins, with the cluster itself."""
    found = {("eks", version) for version in VERSIONS} | {("kueue", installation.VERSION)}
    found |= {(name, version) for each in VERSIONS.values() for name, version in each.addons.items()}
    return found | {(name, chart.version) for name, chart in CHARTS.items()}


def name_of(each: Component | Webhook | DaemonSet) -> str:
    return f"{each.component}-{each.version}" if isinstance(each, Component) else each.name


def webhooks() -> Iterator[tuple[Component, Webhook]]:
    return ((component, hook) for component in components().values() for hook in component.webhooks)


def daemonsets() -> Iterator[tuple[Component, DaemonSet]]:
    return ((component, each) for component in components().values() for each in component.daemonsets)


@functools.cache
def whole() -> Graph:
    """The environment with every kind of pool, and a committed stack's platform on top."""
    return Graph({**graph(), **simulated("prod").graph})


@functools.cache
def values(component: str) -> Mapping[str, Any]:
    """What the program tells a component: an add-on's configuration, a chart's values."""
    for node in whole().values():
        if node.kind == "Addon" and node.inputs["addonName"] == component:
            return dict(json.loads(node.inputs.get("configurationValues") or "{}"))
        if node.kind == "Release" and node.name == component:
            return dict(node.inputs["values"])
    return {}


def leaves(given: Mapping[str, Any], path: str = "") -> list[str]:
    """The paths of a configuration's values."""
    return [
        leaf
        for key, value in given.items()
        for leaf in (leaves(value, f"{path}{key}.") if isinstance(value, Mapping) and value else [f"{path}{key}"])
    ]


def below(path: str, known: str) -> bool:
    return path == known or path.startswith(f"{known}.")


class TestPins:
    def test_pins_all_have_an_entry(self) -> None:
        """A raised pin without a new look fails here: `make reviewed`, or an entry in read.yaml."""
        assert pins() - set(components()) == set()

    def test_entries_are_all_pinned(self) -> None:
        assert set(components()) - pins() == set()

    def test_entries_name_source_and_date(self) -> None:
        for component in components().values():
            assert component.source.startswith("https://"), component.component
            assert component.seen, component.component
            assert component.date.year >= 2026

    def test_entries_of_another_version_say_so(self) -> None:
        """An entry copied under a raised version is no new look: it is `exact`, or says what is not sure."""
        for component in components().values():
            assert component.exact or component.note, (component.component, component.version)

    def test_rendered_entries_name_tag_and_checksum(self) -> None:
        rendered = [each for each in components().values() if " h1:" in each.seen]
        assert {each.component for each in rendered} == {source.component for source in SOURCES}
        assert all(each.exact for each in rendered)
        for source in SOURCES:
            for version in pinned(source):
                found = components()[source.component, version]
                if found in rendered:
                    assert found.seen.startswith(f"{source.module}@{source.tag(version)} h1:")

    def test_configuration_has_only_paths_of_the_schema(self) -> None:
        """EKS refuses a key that an add-on doesn't know, and `pulumi up` with it."""
        checked = set()
        for component in components().values():
            if component.accepts:
                checked.add(component.component)
                told = leaves(values(component.component))
                unknown = [path for path in told if not any(below(path, known) for known in component.accepts)]
                assert told, component.component
                assert unknown == [], component.component
        assert checked == {"amazon-cloudwatch-observability", "eks-node-monitoring-agent"}
        # Nobody could look up the schemas of these: with an account, `aws eks describe-addon-configuration`.
        unseen = {name for version in VERSIONS.values() for name in version.addons if values(name)} - checked
        assert unseen == {
            "aws-ebs-csi-driver",
            "aws-efs-csi-driver",
            "coredns",
            "metrics-server",
            "snapshot-controller",
            "vpc-cni",
        }

    def test_entries_are_unique(self) -> None:
        keys = [(each.component, each.version) for path in (READ, RENDERED) for each in load(path)]
        assert len(keys) == len(set(keys))

    def test_kueue_webhooks_select_the_namespaces_of_the_program(self) -> None:
        (release,) = (node for node in whole().of("Release") if node.name == "kueue")
        said = json.loads(release.inputs["values"]["managerConfig"]["controllerManagerConfigYaml"])
        (pods,) = (hook for hook in components()["kueue", installation.VERSION].webhooks if hook.name == "mpod.kb.io")
        assert pods.namespaces == said["managedJobsNamespaceSelector"]


class TestWebhooks:
    @pytest.mark.parametrize(("component", "hook"), list(webhooks()), ids=name_of)
    def test_webhooks_all_have_a_decision(self, component: Component, hook: Webhook) -> None:
        decision = decisions().of_webhook(component.component, hook.name)
        assert decision, f"{hook.name} of {component.component} {component.version}: say in decisions.yaml what it does"
        if hook.failure == "Fail":
            assert decision.down, f"{hook.name} refuses while it is down: say what that stops"

    def test_decisions_configuration_is_the_programs(self) -> None:
        for decision in decisions().webhooks:
            for path, value in decision.values.items():
                assert at(values(decision.component), path) == value, f"{decision.component}: {path}"

    def test_decisions_all_match_a_webhook(self) -> None:
        for decision in decisions().webhooks:
            for pattern in decision.names:
                assert any(
                    component.component == decision.component and fnmatchcase(hook.name, pattern)
                    for component, hook in webhooks()
                ), f"{decision.component}: nothing is called {pattern}"

    def test_server_pods_are_seen_by_these_webhooks_only(self) -> None:
        """This list grows by a decision only: while one that fails is down, no server starts."""
        asked = {(component.component, hook.name, hook.failure) for component, hook in self._asked(person(), "pods")}
        assert asked == {
            ("kueue", "mpod.kb.io", "Fail"),
            ("kueue", "vpod.kb.io", "Fail"),
            ("eks", "iam-for-pods.amazonaws.com", "Ignore"),
            ("eks", "mpod.vpc.k8s.aws", "Ignore"),
            ("eks", "vpod.vpc.k8s.aws", "Ignore"),
            ("amazon-cloudwatch-observability", "mpod.kb.io", "Ignore"),
        }

    @pytest.mark.parametrize(
        ("namespace", "refusing"),
        [
            ("devservers-system", set()),
            ("kueue-system", set()),
            # On purpose: its pods wait for the load balancer to find them healthy.
            ("devservers-bastion", {("aws-load-balancer-controller", "mpod.elbv2.k8s.aws")}),
        ],
    )
    def test_platform_pods_are_refused_by_these_webhooks_only(
        self, namespace: str, refusing: set[tuple[str, str]]
    ) -> None:
        """The operator and Kueue start whoever is down, the bastion without Kueue."""
        found = {
            (component.component, hook.name)
            for component, hook in self._asked(platform(namespace), *WORKLOADS - {"namespaces", "services"})
            if hook.failure == "Fail"
        }
        assert found == refusing

    def test_services_and_namespaces_are_refused_by_no_webhook(self) -> None:
        for labels in (person(), platform("devservers-system")):
            for component, hook in self._asked(labels, "services", "namespaces"):
                decision = decisions().of_webhook(component.component, hook.name)
                off = decision and decision.values
                assert hook.failure == "Ignore" or off, (component.component, hook.name)

    @staticmethod
    def _asked(namespace: Mapping[str, str], *resources: str) -> Iterator[tuple[Component, Webhook]]:
        labels = template()["metadata"]["labels"]
        for component, hook in webhooks():
            if hook.resources & set(resources) and matching.webhook_matches(hook, namespace, labels):
                yield component, hook


def person() -> dict[str, str]:
    """Labels of a person's namespace, as the operator makes it and the API server labels it."""
    namespace = manifests(user(), UID)[0]["metadata"]
    return {**namespace["labels"], "kubernetes.io/metadata.name": namespace["name"]}


def platform(name: str) -> dict[str, str]:
    """Labels of a namespace of the platform, as the program makes it and the API server labels it."""
    (node,) = (
        each
        for each in simulated("prod").graph.values()
        if each.inputs.get("kind") == "Namespace" and each.inputs["metadata"]["name"] == name
    )
    return {**node.inputs["metadata"]["labels"], "kubernetes.io/metadata.name": name}


@functools.cache
def groups(nodes: str) -> tuple[Node, ...]:
    """The node groups with GPUs, or of those the ones with EFA cards."""
    found = [node for node in part(graph(), "Nodes").of("NodeGroup") if node.inputs.get("taints")]
    if nodes == "efa":
        names = {pool["name"] for pool in POOLS if pool.get("efa")}
        found = [node for node in found if node.inputs["labels"][LABEL_POOL] in names]
    return tuple(found)


def node_labels(group: Node, family: str, size: str) -> dict[str, str]:
    """Labels of a node: the group's, and those that the kubelet gives it."""
    given = {OS: "linux", f"beta.{OS}": "linux", ARCH: FAMILIES[family].architecture, TYPE: f"{family}.{size}"}
    return {**group.inputs["labels"], **given}


def taints(group: Node) -> list[dict[str, str]]:
    """A group's taints by Kubernetes' names."""
    effects = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
    return [{**each, "effect": effects[each["effect"]]} for each in group.inputs["taints"]]


def unreached(component: Component, daemonset: DaemonSet, decision: DaemonSetDecision) -> dict[str, list[str]]:
    """The catalog's GPU instance types without a pod of a DaemonSet, and why."""
    ours = matching.with_values(daemonset, decision, values(component.component))
    found = {}
    for group in groups(decision.nodes):
        for family in (each for each in FAMILIES.values() if each.gpu):
            for name, size in family.sizes.items():
                if decision.nodes == "efa" and not size.efa_cards:
                    continue
                if reasons := matching.scheduling_problems(ours, node_labels(group, family.name, name), taints(group)):
                    found[family.instance_type(name)] = reasons
    return found


class TestDaemonSets:
    def test_gpu_node_groups_have_the_gpu_taint(self) -> None:
        assert {tuple(sorted(each.items())) for group in groups("gpu") for each in taints(group)} == {
            (("effect", "NoSchedule"), ("key", "nvidia.com/gpu"), ("value", "present"))
        }
        assert len(groups("gpu")) == 4
        assert len(groups("efa")) == 2

    @pytest.mark.parametrize(("component", "daemonset"), list(daemonsets()), ids=name_of)
    def test_daemonsets_reach_the_nodes_they_must(self, component: Component, daemonset: DaemonSet) -> None:
        decision = decisions().of_daemonset(component.component, daemonset.name)
        assert decision, f"{daemonset.name} of {component.component}: say in decisions.yaml where it must run"
        if decision.nodes == "elsewhere":
            return
        wrong = {
            kind: reasons
            for kind, reasons in unreached(component, daemonset, decision).items()
            if not any(fnmatchcase(kind, gap) for gap in decision.gaps) or any("tolerate" in each for each in reasons)
        }
        assert wrong == {}

    def test_daemonsets_of_elsewhere_stay_off_gpu_nodes(self) -> None:
        """Each takes room of servers that the allocatable arithmetic does not count."""
        found = set()
        for component, daemonset in daemonsets():
            decision = decisions().of_daemonset(component.component, daemonset.name)
            assert decision
            if decision.nodes == "elsewhere":
                group = groups("gpu")[0]
                if not matching.scheduling_problems(daemonset, node_labels(group, "g6e", "12xlarge"), taints(group)):
                    found.add(daemonset.name)
        assert found == {"node-exporter"}
        assert not at(values("amazon-cloudwatch-observability"), "otelContainerInsights.enabled")

    def test_gaps_are_all_there(self) -> None:
        for component, daemonset in daemonsets():
            decision = decisions().of_daemonset(component.component, daemonset.name)
            assert decision
            if decision.gaps:
                kinds = unreached(component, daemonset, decision)
                for gap in decision.gaps:
                    assert any(fnmatchcase(kind, gap) for kind in kinds), f"{daemonset.name} reaches {gap} now"

    def test_decisions_are_about_all_daemonsets_and_no_others(self) -> None:
        there = {(component.component, each.name) for component, each in daemonsets()}
        assert {(each.component, each.name) for each in decisions().daemonsets} == there


class TestMatching:
    """Kubernetes' own rules, by the cases its documentation names."""

    TAINT: ClassVar = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}

    @pytest.mark.parametrize(
        ("toleration", "lets"),
        [
            ({"operator": "Exists"}, True),
            ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
            ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
            ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"}, True),
            ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, True),
            ({"key": "nvidia.com/gpu", "value": "true"}, False),
            ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
            ({"key": "CriticalAddonsOnly", "operator": "Exists"}, False),
            ({"operator": "Exists", "effect": "NoExecute"}, False),
            ({"value": "present"}, False),
        ],
    )
    def test_toleration_matches_taint(self, toleration: dict[str, str], lets: bool) -> None:
        assert matching.tolerates(self.TAINT, [toleration]) is lets
        assert not matching.tolerates(self.TAINT, [])

    @pytest.mark.parametrize(
        ("selector", "matches"),
        [
            ({}, True),
            ({"matchLabels": {"a": "1"}}, True),
            ({"matchLabels": {"a": "2"}}, False),
            ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
            ({"matchExpressions": [{"key": "b", "operator": "In", "values": ["1"]}]}, False),
            ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
            ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
            ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
            ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ],
    )
    def test_selector_matches_labels(self, selector: dict[str, Any], matches: bool) -> None:
        assert matching.selector_matches(selector, {"a": "1"}) is matches

    def test_selector_with_unknown_operator_raises(self) -> None:
        with pytest.raises(ValueError, match="Gt"):
            matching.selector_matches(
                {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, {"a": "2"}
            )

    def test_node_needs_one_affinity_term_and_the_whole_selector(self) -> None:
        terms = [[{"key": "a", "operator": "Exists"}], [{"key": "b", "operator": "Exists"}]]
        daemonset = DaemonSet(name="d", affinity=terms, node_selector={"c": "1"})
        assert matching.scheduling_problems(daemonset, {"b": "", "c": "1"}, []) == []
        assert matching.scheduling_problems(daemonset, {"c": "2"}, [self.TAINT]) == [
            "does not tolerate nvidia.com/gpu=present:NoSchedule", "wants c=1", "its node affinity leaves the node out"
        ]  # fmt: skip


class TestRendering:
    """What the script takes out of manifests; the sources themselves need a network."""

    def test_webhooks_get_kubernetes_defaults(self) -> None:
        rule = {"apiGroups": ["", "apps"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]}
        hooks = [
            {"name": "b", "rules": [rule], "namespaceSelector": {"matchLabels": {"a": "1"}}, "objectSelector": None},
            {"name": "a", "rules": [rule], "failurePolicy": "Ignore"},
        ]
        first, second = render.webhooks([{"kind": "MutatingWebhookConfiguration", "webhooks": hooks}, {"kind": "Pod"}])
        assert (first.name, first.failure, first.namespaces) == ("a", "Ignore", {})
        # Kubernetes refuses when nothing is said.
        assert (second.name, second.failure, second.namespaces) == ("b", "Fail", {"matchLabels": {"a": "1"}})
        assert second.rules == ["CREATE,UPDATE pods", "CREATE,UPDATE apps/pods"]
        assert second.resources == {"pods"}

    def test_daemonsets_of_plain_manifests(self, tmp_path: Path) -> None:
        pod = {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"a": "1"}}
        daemonset = {"kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"template": {"spec": pod}}}
        (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([daemonset, None, {"kind": "Service"}]))
        (found,) = render.daemonsets(render.manifests(tmp_path, tmp_path / "no-provider", {}))
        assert found == DaemonSet(name="d", tolerations=[{"operator": "Exists"}], node_selector={"a": "1"})

    def test_rendered_file_is_as_written(self) -> None:
        head, _, body = RENDERED.read_text().partition("\n")
        assert head.startswith("# Written by")
        assert dump(load(RENDERED)) == body

    @pytest.mark.parametrize(("version", "tag"), [("v1.22.4-eksbuild.3", "v1.22.4"), ("0.18.2", "v0.18.2")])
    def test_source_tag_leaves_the_build_out(self, version: str, tag: str) -> None:
        assert SOURCES[0].tag(version) == tag
