"""EKS add-ons: versions, configuration, rights and order."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from infra.catalog import VERSIONS
from infra.preview.graph import Graph, Node
from tests.support.infra import iam
from tests.support.infra.environment import NAME, follows, graph, part

BEFORE = ["eks-pod-identity-agent", "kube-proxy", "vpc-cni"]
AFTER = [
    "amazon-cloudwatch-observability", "aws-ebs-csi-driver", "aws-efs-csi-driver", "coredns",
    "eks-node-monitoring-agent", "metrics-server", "snapshot-controller",
]  # fmt: skip
ACCOUNTS = {
    "vpc-cni": ("kube-system", "aws-node", "AmazonEKS_CNI_Policy"),
    "ebs-csi": ("kube-system", "ebs-csi-controller-sa", "AmazonEBSCSIDriverPolicyV2"),
    "efs-csi": ("kube-system", "efs-csi-controller-sa", None),
    "cloudwatch": ("amazon-cloudwatch", "cloudwatch-agent", "CloudWatchAgentServerPolicy"),
}
HOME = {"nodeSelector": {"devservers.io/pool": "system"}}


def addons(made: Graph) -> list[Node]:
    return part(made, "NodeAddons").of("Addon") + part(made, "Addons").of("Addon")


def addon(name: str) -> Node:
    return next(node for node in addons(graph()) if node.name == name)


def configuration(name: str) -> Any:
    return json.loads(addon(name).inputs["configurationValues"])


def test_addons_of_the_default_stack_are_the_expected_ones() -> None:
    assert [node.name for node in part(graph(), "NodeAddons").of("Addon")] == BEFORE
    assert [node.name for node in part(graph(), "Addons").of("Addon")] == AFTER


def test_addons_that_are_switched_off_are_absent() -> None:
    made = graph(storage={"shared": False}, observability={"containerInsights": False})
    assert {node.name for node in addons(made)} == {*BEFORE, *AFTER} - {
        "aws-efs-csi-driver", "amazon-cloudwatch-observability"
    }  # fmt: skip
    roles = {node.name for node in made.of("PodIdentityAssociation")}
    assert not {"efs-csi", "efs-csi-node", "cloudwatch"} & roles


@pytest.mark.parametrize("version", VERSIONS)
def test_addons_have_the_catalogs_versions(version: str) -> None:
    for node in addons(graph(kubernetes={"version": version})):
        assert node.inputs["addonVersion"] == VERSIONS[version].addons[node.inputs["addonName"]]


def test_addons_resolve_conflicts_by_who_configures_them() -> None:
    for node in addons(graph()):
        assert node.inputs["resolveConflictsOnCreate"] == "OVERWRITE"
        ours = "configurationValues" in node.inputs
        assert node.inputs["resolveConflictsOnUpdate"] == ("OVERWRITE" if ours else "PRESERVE")


def test_addons_with_pods_depend_on_the_system_nodes() -> None:
    (system,) = (node for node in part(graph(), "Nodes").of("NodeGroup") if node.name == "system")
    for name in AFTER:
        assert follows(graph(), addon(name), system), name
    for name in BEFORE:
        assert not follows(graph(), addon(name), system), name


def test_vpc_cni_enforces_policies_and_delegates_prefixes() -> None:
    said = configuration("vpc-cni")
    assert said["enableNetworkPolicy"] == "true"
    assert said["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
    assert follows(graph(), addon("vpc-cni"), addon("eks-pod-identity-agent"))


def test_addon_controllers_run_on_system_nodes() -> None:
    assert configuration("coredns") == configuration("metrics-server") == HOME
    assert configuration("amazon-cloudwatch-observability")["manager"]["nodeSelector"] == HOME["nodeSelector"]
    for name in ("aws-efs-csi-driver", "aws-ebs-csi-driver"):
        assert configuration(name)["controller"].items() >= HOME.items()
    assert configuration("aws-ebs-csi-driver")["node"] == {"tolerateAllTaints": True}


def test_dcgm_exporter_selects_every_gpu_node_group() -> None:
    """By the label of our node groups: the add-on's own list of instance types leaves newer ones out."""
    affinity = configuration("amazon-cloudwatch-observability")["dcgmExporter"]["affinity"]["nodeAffinity"]
    ((term,),) = (
        each["matchExpressions"]
        for each in affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    )
    groups = part(graph(), "Nodes").of("NodeGroup")
    chosen = {node.name for node in groups if node.inputs["labels"].get(term["key"]) in term["values"]}
    assert chosen == {node.name for node in groups if node.inputs.get("taints")} != set()


def test_dcgm_server_ingress_from_pods_is_denied() -> None:
    """It asks nobody who they are; its own node, which the CNI always lets in, is all that asks it."""
    policies = {node.name: node for node in part(graph(), "Addons").of("NetworkPolicy")}
    assert policies["kube-system/dcgm-server"].inputs["spec"] == {
        "podSelector": {"matchLabels": {"k8s-app": "dcgm-server"}},
        "policyTypes": ["Ingress"],
    }
    cpu = {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 1}
    assert not part(graph(pools=[cpu]), "Addons").of("NetworkPolicy")


TAGS = {"Project": "devservers", "Stack": "dev", "Environment": "dev"}


def test_ebs_volumes_get_the_stacks_tags() -> None:
    made = part(graph(owner="ML platform", costCenter="team:a b"), "Addons").of("Addon")
    said = {node.name: json.loads(node.inputs.get("configurationValues", "{}")) for node in made}
    (provider,) = (node for node in graph().values() if node.type == "pulumi:providers:aws")
    everything = json.loads(provider.inputs["defaultTags"])["tags"]
    assert said["aws-ebs-csi-driver"]["controller"]["extraVolumeTags"] == TAGS | {
        "Owner": "ML platform",
        "CostCenter": "team:a b",
    }
    assert set(everything) == {*TAGS, "Owner", "CostCenter"}
    # A key that the add-on's schema lacks is refused: it knows no tags.
    assert said["aws-efs-csi-driver"] == {"controller": HOME}


def allows(action: str, resource: str, **context: str) -> bool:
    """Whether the EFS driver's own policy allows something, with what AWS knows of the request."""
    for statement in iam.documents(graph())["RolePolicy efs-csi.policy"]["Statement"]:
        condition = statement.get("Condition", {})
        if (
            action in iam.many(statement["Action"])
            and any(fnmatch.fnmatchcase(resource, each) for each in iam.many(statement["Resource"]))
            and all(context.get(key) == value for key, value in condition.get("StringEquals", {}).items())
            and all(context.get(key) == value for key, value in condition.get("ForAllValues:StringEquals", {}).items())
            and all((key in context) is (value == "false") for key, value in condition.get("Null", {}).items())
        ):
            return True
    return False


FILES = "arn:aws:elasticfilesystem:eu-central-1:111122223333:"
CREATED = {"elasticfilesystem:CreateAction": "CreateAccessPoint"}
MADE = {"aws:RequestTag/efs.csi.aws.com/cluster": "true", "aws:TagKeys": "efs.csi.aws.com/cluster"}
OURS, THEIRS = ({"aws:ResourceTag/Stack": stack} for stack in ("dev", "prod"))


@pytest.mark.parametrize(
    ("action", "resource", "context", "expected"),
    [
        ("CreateAccessPoint", "file-system/fs-1", MADE | OURS, True),
        ("CreateAccessPoint", "file-system/fs-1", MADE | THEIRS, False),
        ("CreateAccessPoint", "file-system/fs-1", OURS, False),
        ("TagResource", "access-point/fsap-1", MADE | CREATED, True),
        ("TagResource", "access-point/fsap-1", MADE, False),
        ("TagResource", "access-point/fsap-1", MADE | CREATED | {"aws:TagKeys": "Stack"}, False),
        ("TagResource", "file-system/fs-1", MADE | CREATED, False),
        ("DeleteAccessPoint", "access-point/fsap-1", {"aws:ResourceTag/efs.csi.aws.com/cluster": "true"}, True),
        ("DeleteAccessPoint", "access-point/fsap-1", OURS, False),
        ("DeleteFileSystem", "file-system/fs-1", OURS, False),
        ("ClientMount", "file-system/fs-1", OURS, False),
    ],
)
def test_efs_driver_policy_covers_this_stacks_file_systems_only(
    action: str, resource: str, context: dict[str, str], expected: bool
) -> None:
    assert allows(f"elasticfilesystem:{action}", FILES + resource, **context) is expected


def test_cloudwatch_addon_injects_nothing_into_pods() -> None:
    """Its default would put init containers into servers' pods that Pod Security refuses: no server would start."""
    said = configuration("amazon-cloudwatch-observability")
    assert said["manager"]["applicationSignals"] == {"autoMonitor": {"monitorAllServices": False}}
    assert said["applicationSignals"] == {"enabled": False}


def test_node_monitoring_agent_tolerates_every_taint() -> None:
    assert configuration("eks-node-monitoring-agent") == {"dcgmAgent": {"tolerations": [{"operator": "Exists"}]}}


def test_file_system_policy_names_the_efs_node_role() -> None:
    (made,) = (node for node in graph().of("PodIdentityAssociation") if node.name == "efs-csi-node")
    assert (made.inputs["namespace"], made.inputs["serviceAccount"]) == ("kube-system", "efs-csi-node-sa")
    (role,) = (node for node in graph().of("Role") if node.name == "efs-csi-node")
    allow = iam.documents(graph())["FileSystemPolicy shared.policy"]["Statement"][0]
    assert allow["Principal"] == {"AWS": f"arn:aws:iam::111122223333:role/{role.inputs['name']}"}
    (policy,) = graph().of("FileSystemPolicy")
    assert follows(graph(), policy, role), "EFS refuses a policy that names a role which isn't there"
    assert follows(graph(), addon("aws-efs-csi-driver"), made)
    assert [node for node in graph().of("RolePolicyAttachment") if node.inputs["role"] == role.inputs["name"]] == []


@pytest.mark.parametrize("name", ACCOUNTS)
class TestRoles:
    def test_addon_role_trusts_one_service_account(self, name: str) -> None:
        namespace, account, _ = ACCOUNTS[name]
        (made,) = (node for node in graph().of("PodIdentityAssociation") if node.name == name)
        assert (made.inputs["namespace"], made.inputs["serviceAccount"]) == (namespace, account)
        (statement,) = iam.documents(graph())[f"Role {name}.assumeRolePolicy"]["Statement"]
        assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {
            "aws:RequestTag/eks-cluster-arn": f"arn:aws:eks:eu-central-1:111122223333:cluster/{NAME}",
            "aws:RequestTag/kubernetes-namespace": namespace,
            "aws:RequestTag/kubernetes-service-account": account,
        }

    def test_addon_role_has_the_aws_managed_policy(self, name: str) -> None:
        attached = [node for node in graph().of("RolePolicyAttachment") if node.inputs["role"] == f"{NAME}-{name}"]
        policy = ACCOUNTS[name][2]
        wanted = [f"arn:aws:iam::aws:policy/{policy}"] if policy else []
        assert [node.inputs["policyArn"] for node in attached] == wanted

    def test_addon_role_rights_precede_the_addon(self, name: str) -> None:
        (made,) = (node for node in graph().of("PodIdentityAssociation") if node.name == name)
        rights = graph().of("RolePolicyAttachment") + graph().of("RolePolicy")
        mine = [node for node in rights if node.inputs["role"] == f"{NAME}-{name}"]
        assert mine
        assert all(follows(graph(), made, each) for each in mine)
        assert any(follows(graph(), node, made) for node in addons(graph()))


def test_ebs_driver_policy_covers_the_data_key_only() -> None:
    use, grant = iam.documents(graph())["RolePolicy ebs-csi.policy"]["Statement"]
    assert use["Resource"] == grant["Resource"]
    assert use["Resource"].endswith(":data")
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


def test_snapshot_controller_is_there_before_the_driver_of_disks() -> None:
    """Its kinds are: the driver takes snapshots where it finds them."""
    assert configuration("snapshot-controller") == HOME
    assert follows(graph(), addon("aws-ebs-csi-driver"), addon("snapshot-controller"))
