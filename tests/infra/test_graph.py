"""The resources of stack `local`: types, order, rights and settings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pulumi
import pytest

from devservers_core.names import OPERATOR
from devservers_core.version import __version__
from infra.preview.graph import Graph, Node
from infra.preview.recorder import Run, run

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkeyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0d ann@laptop"
KUBECONFIG = """
current-context: kind-test
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: kind-test, context: {cluster: c}}]
"""
POLICIES = {
    f"{name}.devservers.io"
    for name in (
        "devservers",
        "devservers-bastion",
        "devservers-bastion-tokens",
        "devservers-claim-growth",
        "devservers-claims",
        "devservers-operator",
        "devservers-operator-wishes",
        "devservers-registries",
        "devservers-registry-notes",
        "devservers-snapshots",
    )
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    (folder / "kubeconfig").write_text(KUBECONFIG)
    (folder / "keys").write_text(KEY)
    return {
        "HOME": str(folder),
        "DEVSERVERS_KUBECONFIG": str(folder / "kubeconfig"),
        "DEVSERVERS_LOCAL_USER": "ann",
        "DEVSERVERS_LOCAL_KEYS_FILE": str(folder / "keys"),
        "DEVSERVERS_IMAGE_OPERATOR": "localhost/devservers/operator:1",
        "DEVSERVERS_IMAGE_AGENT": "localhost/devservers/agent:1",
        "DEVSERVERS_IMAGE_BASE": "localhost/devservers/base:1",
        "DEVSERVERS_IMAGE_BASTION": "localhost/devservers/bastion:1",
        "DEVSERVERS_IMAGE_KUEUE": "localhost/devservers/kueue:1",
        "DEVSERVERS_KUEUE_CHART": "/charts/kueue",
        "DEVSERVERS_LOCAL_CAPACITY": '{"cpu": 2000, "memory": 7808}',
        "DEVSERVERS_LOCAL_NETWORK": '{"closed": ["10.244.0.0/24", "172.18.0.2/32"]}',
        **more,
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run({"cluster": "local"}, environment(tmp_path_factory.mktemp("local")))


@pytest.fixture(scope="module")
def graph(local: Run) -> Graph:
    return local.graph


def test_local_stack_registers_the_expected_resources(graph: Graph) -> None:
    assert Counter(node.type for node in graph.values()) == {
        "pulumi:providers:kubernetes": 1,
        "devservers:platform:Crds": 1,
        "devservers:platform:Namespaces": 1,
        "devservers:platform:Operator": 1,
        "devservers:platform:Bastion": 1,
        "devservers:platform:Flavors": 1,
        "devservers:platform:Users": 1,
        "devservers:platform:Queueing": 1,
        "kubernetes:helm.sh/v3:Release": 1,
        "kubernetes:kueue.x-k8s.io/v1beta2:ResourceFlavor": 1,
        "kubernetes:kueue.x-k8s.io/v1beta2:ClusterQueue": 2,
        "kubernetes:kueue.x-k8s.io/v1beta2:WorkloadPriorityClass": 3,
        "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": 3,
        "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy": len(POLICIES),
        "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding": len(POLICIES),
        "kubernetes:core/v1:Namespace": 3,
        "kubernetes:networking.k8s.io/v1:NetworkPolicy": 6,
        "kubernetes:core/v1:ServiceAccount": 2,
        "kubernetes:core/v1:Service": 1,
        "kubernetes:core/v1:ConfigMap": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole": 6,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": 3,
        "kubernetes:rbac.authorization.k8s.io/v1:Role": 4,
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": 4,
        "kubernetes:policy/v1:PodDisruptionBudget": 2,
        "kubernetes:apps/v1:Deployment": 2,
        "kubernetes:devservers.io/v1:DevServerFlavor": 3,
        "kubernetes:devservers.io/v1:DevServerUser": 1,
    }


def test_admission_policies_have_a_denying_binding_each(graph: Graph) -> None:
    """A policy without a binding, or with one that only warns, refuses nothing."""
    assert {node.inputs["metadata"]["name"] for node in graph.of("ValidatingAdmissionPolicy")} == POLICIES
    bindings = [node.inputs for node in graph.of("ValidatingAdmissionPolicyBinding")]
    assert {(each["metadata"]["name"], each["spec"]["policyName"]) for each in bindings} == {
        (name, name) for name in POLICIES
    }
    assert [each["spec"]["validationActions"] for each in bindings] == [["Deny"]] * len(POLICIES)


def test_local_stack_preview_registers_the_same_resources(graph: Graph, tmp_path: Path) -> None:
    again = run({"cluster": "local"}, environment(tmp_path), preview=True).graph
    assert set(again) == set(graph)


def test_local_stack_outputs_name_namespace_image_and_bastion(local: Run) -> None:
    assert local.outputs == {
        "namespace": "devservers-system",
        "operatorImage": "localhost/devservers/operator:1",
        "bastion": "127.0.0.1:32222",
        "users": ["ann"],
        "flavors": ["cpu-small", "cpu-medium", "cpu-large"],
    }


def test_bastion_address_with_another_host_port_follows_it(tmp_path: Path) -> None:
    """The nodes go on listening at the stack's own."""
    made = run({"cluster": "local"}, {**environment(tmp_path), "DEVSERVERS_LOCAL_SSH_PORT": "32444"})
    assert made.outputs["bastion"] == "127.0.0.1:32444"
    told = json.dumps([node.inputs for node in made.graph.of("ConfigMap")])
    assert "127.0.0.1:32444" in told
    assert "127.0.0.1:32222" not in told
    ports = [port.get("nodePort") for node in made.graph.of("Service") for port in node.inputs["spec"]["ports"]]
    assert 32222 in ports
    assert 32444 not in ports


def test_kubernetes_resources_use_the_chosen_contexts_provider(graph: Graph) -> None:
    provider = graph.one("kubernetes")
    assert provider.inputs["context"] == "kind-test"
    assert provider.inputs["clusterIdentifier"] == "kind-test"
    for node in graph.values():
        if node.type.startswith("kubernetes:"):
            assert "providers:kubernetes::cluster::" in node.provider, node.name


def urns(graph: Graph, *kinds: str) -> set[str]:
    return {urn for urn, node in graph.items() if node.kind in kinds}


RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
KINDS = ("CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
QUEUES = ("Release", "ResourceFlavor", "ClusterQueue", "WorkloadPriorityClass")
ORDER = [
    ("Release", ("Queueing",)),
    ("ResourceFlavor", ("Release",)),
    ("WorkloadPriorityClass", ("Release",)),
    ("ClusterQueue", ("Release", "ResourceFlavor")),
    # Destroyed before Kueue: what has pods in a queue, and what the pods of servers go with.
    ("CustomResourceDefinition", QUEUES),
    ("ValidatingAdmissionPolicy", ("CustomResourceDefinition",)),
    ("ValidatingAdmissionPolicyBinding", ("ValidatingAdmissionPolicy",)),
    ("Deployment", (*QUEUES, *KINDS, *RIGHTS, "Namespace")),
    ("DevServerFlavor", KINDS),
    ("DevServerUser", (*QUEUES, *KINDS, *RIGHTS, "Namespace", "Deployment", "DevServerFlavor")),
]


@pytest.mark.parametrize(("kind", "first"), ORDER)
def test_resources_of_a_kind_depend_on_earlier_kinds(graph: Graph, kind: str, first: tuple[str, ...]) -> None:
    """Made after these; destroyed, the other way round, before them. The bastion is a matter of its own."""
    before = {urn for urn in urns(graph, *first) if "Bastion$" not in urn}
    for node in graph.of(kind):
        assert before <= graph.before(node)


def test_bastion_resources_depend_on_the_operator(graph: Graph) -> None:
    before = {urn for urn, node in graph.items() if "Operator$" in urn or node.kind == "Namespace"}
    parts = [node for urn, node in graph.items() if "Bastion$" in urn]
    assert {node.kind for node in parts} == {
        "ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment",
    }  # fmt: skip
    for node in parts:
        assert before - urns(graph, "Namespace") <= graph.before(node)
        assert {urn for urn in before if urn.endswith("::devservers-bastion")} <= graph.before(node)


def called(graph: Graph, kind: str, name: str) -> Node:
    (found,) = (node for node in graph.of(kind) if node.inputs["metadata"]["name"] == name)
    return found


def test_network_policies_and_kueue_depend_on_their_namespace(graph: Graph) -> None:
    namespaces = {node.name: urn for urn, node in graph.items() if node.kind == "Namespace"}
    for policy in graph.of("NetworkPolicy"):
        assert namespaces[policy.inputs["metadata"]["namespace"]] in graph.before(policy)
    assert namespaces["kueue-system"] in graph.before(graph.one("Release"))


def test_kueue_release_uses_the_built_chart_and_image(graph: Graph) -> None:
    release = graph.one("Release").inputs
    assert (release["chart"], release["name"], release["namespace"]) == ("/charts/kueue", "kueue", "kueue-system")
    assert "version" not in release
    manager = release["values"]["controllerManager"]["manager"]
    assert manager["image"] == {"repository": "localhost/devservers/kueue", "tag": "1", "pullPolicy": "IfNotPresent"}
    assert (release["timeout"], release["skipAwait"]) == (180, False)


def test_kueue_release_without_a_folder_uses_the_pinned_registry_chart(tmp_path: Path) -> None:
    graph = run({"cluster": "local"}, environment(tmp_path, DEVSERVERS_KUEUE_CHART="")).graph
    release = graph.one("Release").inputs
    assert (release["chart"], release["version"]) == ("oci://registry.k8s.io/kueue/charts/kueue", "0.18.2")


def test_local_stack_without_queueing_has_no_kueue(tmp_path: Path) -> None:
    env = environment(tmp_path, DEVSERVERS_LOCAL_CAPACITY="")
    graph = run({"cluster": "local", "queueing": {"enabled": False}}, env).graph
    assert not any("kueue" in urn or "ueueing" in urn for urn in graph)
    (container,) = called(graph, "Deployment", OPERATOR).inputs["spec"]["template"]["spec"]["containers"]
    assert "DEVSERVERS_QUEUEING" not in {each["name"] for each in container["env"]}


def test_pretended_gpus_add_a_resource_flavor_and_a_server_flavor(tmp_path: Path) -> None:
    capacity = '{"cpu": 2000, "memory": 7808, "fake_gpus": 4}'
    graph = run({"cluster": "local"}, environment(tmp_path, DEVSERVERS_LOCAL_CAPACITY=capacity)).graph
    assert [node.name for node in graph.of("ResourceFlavor")] == ["gpu-fake", "local"]
    assert "gpu-fake" in [node.name for node in graph.of("DevServerFlavor")]


def test_flavors_with_overcommit_divide_requests(tmp_path: Path) -> None:
    graph = run({"cluster": "local", "overcommit": {"cpu": 2, "memory": 2}}, environment(tmp_path)).graph
    small = next(each for each in graph.of("DevServerFlavor") if each.inputs["metadata"]["name"] == "cpu-small")
    assert small.inputs["spec"]["resources"] == {
        "requests": {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "20Gi"},
    }
    assert small.inputs["metadata"]["annotations"] == {
        "devservers.io/overcommit": "cpu=2,memory=2",
        "devservers.io/version": __version__,
    }


def test_rbac_rules_contain_no_wildcard(graph: Graph) -> None:
    for role in graph.of("ClusterRole") + graph.of("Role"):
        for rule in role.inputs["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}, role.name
            for words in rule.values():
                assert words, (role.name, rule)
                assert not any("*" in word for word in words), (role.name, rule)


def rules(graph: Graph, kind: str, name: str) -> list[dict[str, Any]]:
    found = [node for node in graph.of(kind) if node.inputs["metadata"]["name"] == name]
    return [rule for node in found for rule in node.inputs["rules"]]


def test_operator_role_binds_three_named_roles_only(graph: Graph) -> None:
    for rule in rules(graph, "ClusterRole", "devservers-operator"):
        resources, verbs = set(rule["resources"]), set(rule["verbs"])
        assert not resources & {"secrets", "pods/exec", "pods/portforward", "serviceaccounts/token", "nodes"}
        assert not verbs & {"escalate", "impersonate", "deletecollection"}
        if "clusterroles" in resources:
            named = ["dev-user", "devservers-operator-tenant", "devservers-person-token"]
            assert (verbs, rule["resourceNames"]) == ({"bind"}, named)
    for name in ("devservers-operator-tenant", "dev-user"):
        assert not any("rbac.authorization.k8s.io" in r["apiGroups"] for r in rules(graph, "ClusterRole", name))
    (secrets,) = [rule for rule in rules(graph, "ClusterRole", "dev-user") if "secrets" in rule["resources"]]
    assert secrets["verbs"] == ["create", "update", "delete"]  # of their own kinds, by admission; none gives one back


def test_role_bindings_have_the_expected_subjects(graph: Graph) -> None:
    bound = {
        (node.inputs["roleRef"]["name"], subject["kind"], subject["name"])
        for node in graph.of("ClusterRoleBinding") + graph.of("RoleBinding")
        for subject in node.inputs["subjects"]
    }
    assert bound == {
        ("devservers-operator", "ServiceAccount", "devservers-operator"),
        ("devservers-flavor-reader", "Group", "system:authenticated"),
        ("devservers-bastion", "ServiceAccount", "bastion"),
        ("bastion-info", "Group", "system:authenticated"),
    }


def test_local_stack_without_bastion_has_none_of_its_resources(tmp_path: Path) -> None:
    found = run({"cluster": "local", "bastion": {"enabled": False}}, environment(tmp_path))
    # The operator hands its role for tokens out all the same: to an account that nobody can be.
    assert not [urn for urn in found.graph if "astion" in urn.rpartition("::")[2] and "Admission" not in urn]
    (container,) = found.graph.one("Deployment").inputs["spec"]["template"]["spec"]["containers"]
    assert "DEVSERVERS_BASTION_HOSTS" not in {each["name"] for each in container["env"]}
    assert "bastion" not in found.outputs


class TestOperator:
    """Its Deployment and namespace."""

    @pytest.fixture
    def deployment(self, graph: Graph) -> dict[str, Any]:
        return called(graph, "Deployment", OPERATOR).inputs

    @pytest.fixture
    def pod(self, deployment: dict[str, Any]) -> dict[str, Any]:
        return dict(deployment["spec"]["template"]["spec"])

    def test_operator_namespace_is_restricted_and_denies_ingress(self, graph: Graph) -> None:
        (namespace,) = (node for node in graph.of("Namespace") if node.name == "devservers-system")
        labels = namespace.inputs["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        deny, metrics = (node for node in graph.of("NetworkPolicy") if node.name.startswith("devservers-system/"))
        assert deny.inputs["spec"] == {"policyTypes": ["Ingress"], "podSelector": {}}
        (rule,) = metrics.inputs["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 9090}]
        assert rule["from"]

    def test_operator_pod_has_a_restricted_security_context(self, pod: dict[str, Any]) -> None:
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"requests", "limits"} == set(container["resources"])
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)

    def test_operator_deployment_keeps_one_of_two_replicas_up(self, graph: Graph, deployment: dict[str, Any]) -> None:
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        budget = called(graph, "PodDisruptionBudget", OPERATOR).inputs["spec"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"] == deployment["spec"]["selector"] == {"matchLabels": labels}
        assert (
            "preferredDuringSchedulingIgnoredDuringExecution"
            in (deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"])
        )

    def test_operator_environment_follows_the_stack(self, pod: dict[str, Any]) -> None:
        (container,) = pod["containers"]
        assert {each["name"]: each["value"] for each in container["env"]} == {
            "DEVSERVERS_DEFAULT_IMAGE": "localhost/devservers/base:1",
            "DEVSERVERS_AGENT_IMAGE": "localhost/devservers/agent:1",
            "DEVSERVERS_NAMESPACE": "devservers-system",
            "DEVSERVERS_CLOSED_NETWORKS": "10.244.0.0/24,172.18.0.2/32",
            "DEVSERVERS_QUOTA_STORAGE": "500Gi",
            "DEVSERVERS_QUOTA_SERVERS": "20",
            "DEVSERVERS_QUOTA_SNAPSHOTS": "5",
            "DEVSERVERS_QUOTA_CLAIM": "1Ti",
            "DEVSERVERS_IMAGE_SOURCES": "*,localhost/devservers",
            "DEVSERVERS_METRICS_PORT": "9090",
            "DEVSERVERS_HEALTH_PORT": "8080",
            "DEVSERVERS_WORKERS": "8",
            "DEVSERVERS_LOG_LEVEL": "INFO",
            "DEVSERVERS_QUEUEING": "true",
            "DEVSERVERS_BASTION_HOSTS": "127.0.0.1,localhost",
        }
        assert container["image"] == "localhost/devservers/operator:1"

    def test_operator_deployment_has_a_wait_timeout(self, deployment: dict[str, Any]) -> None:
        assert deployment["metadata"]["annotations"] == {"pulumi.com/timeoutSeconds": "180"}


def test_local_stack_without_await_skips_every_wait(tmp_path: Path) -> None:
    graph = run({"cluster": "local", "await": False}, environment(tmp_path)).graph
    for node in graph.of("Deployment"):
        assert node.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    annotations = graph.one("DevServerUser").inputs["metadata"]["annotations"]
    assert list(annotations) == ["devservers.io/stack"]
    assert graph.one("Release").inputs["skipAwait"] is True
    assert not any("annotations" in node.inputs["metadata"] for node in graph.of("ClusterQueue"))


def test_user_resource_waits_for_phase_active(graph: Graph) -> None:
    user = graph.one("DevServerUser").inputs
    assert user["spec"] == {"username": "ann", "sshPublicKeys": [KEY], "managedBy": "stack"}
    assert user["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.status.phase}=Active"


def test_user_resource_of_a_suspended_user_waits_for_phase_suspended(tmp_path: Path) -> None:
    users = [{"username": "bob", "suspended": True, "quota": {"gpu": 1}}]
    user = run({"cluster": "local", "users": users}, environment(tmp_path)).graph.one("DevServerUser").inputs
    assert user["spec"] == users[0] | {"managedBy": "stack"}
    assert user["metadata"]["annotations"]["pulumi.com/waitFor"].endswith("=Suspended")


@pytest.mark.parametrize(
    ("config", "env", "expected"),
    [
        ({"cluster": "local", "operator": {"replicas": 0}}, {}, "devservers:operator.replicas = 0"),
        ({"cluster": "local"}, {"DEVSERVERS_CONTEXT": "prod"}, "DEVSERVERS_CONTEXT=prod"),
        ({"cluster": "local"}, {"DEVSERVERS_IMAGE_AGENT": "!"}, "devservers:images.agent = !"),
        (
            {"cluster": "local"},
            {"DEVSERVERS_IMAGE_KUEUE": "a/b"},
            "devservers:images.kueue = a/b: this image needs a tag",
        ),
        ({"cluster": "local"}, {"DEVSERVERS_LOCAL_NETWORK": ""}, "the networks of a cluster"),
        ({"cluster": "local"}, {"DEVSERVERS_LOCAL_CAPACITY": "{}"}, "DEVSERVERS_LOCAL_CAPACITY = {}: not what"),
    ],
)
def test_program_with_bad_settings_raises_one_error(
    tmp_path: Path, config: dict[str, Any], env: dict[str, str], expected: str
) -> None:
    with pytest.raises(pulumi.RunError, match=expected.replace(".", r"\.").replace("[", r"\[")):
        run(config, environment(tmp_path, **env))


def test_inputs_contain_no_secret(graph: Graph) -> None:
    """The state is kept under the empty passphrase: see infra/deploy/local/stack.py."""
    assert not graph.of("Secret")
    assert graph.one("kubernetes").inputs["kubeconfig"].startswith("/")


def test_resource_names_equal_object_names(graph: Graph) -> None:
    nodes: list[Node] = [node for node in graph.values() if "apiVersion" in node.inputs]
    assert all(node.name.rpartition("/")[2] == node.inputs["metadata"]["name"] for node in nodes)
