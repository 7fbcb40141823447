"""Rules of the security baseline, each with accepted and refused resources."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from infra import ROOT
from infra.policy.baseline import RULES
from infra.policy.rights_rules import FILE_SYSTEM_POLICY
from infra.policy.rule import Finding, findings
from infra.policy.subject import UNKNOWN, Subject
from infra.policy.workload_rules import unpinned

LOGS = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
TAGS = {"Environment": "prod", "Owner": "platform", "CostCenter": "42"}
ROLE = "arn:aws:iam::111122223333:role/driver"
NO_ACCESS_POINT = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "elasticfilesystem:ClientMount",
    "Condition": {"Null": {"elasticfilesystem:AccessPointArn": "true"}},
}
NODE_TRUST = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}]})
POLICIES = "arn:aws:iam::aws:policy"


class Case(NamedTuple):
    """Resources that a rule takes, and others that it finds fault with, by the words of the finding."""

    rule: str
    good: list[Subject]
    bad: list[Subject]
    words: str


def of(kind: str, inputs: dict[str, Any] | None = None, **more: Any) -> Subject:
    name = more.pop("name", kind.rpartition(":")[2].lower())
    return Subject(kind, name, inputs or {}, urn=f"urn:{name}", **more)


def cluster(**inputs: Any) -> Subject:
    whole: dict[str, Any] = {
        "endpointPrivateAccess": True,
        "endpointPublicAccess": False,
        "encryptionConfigKeyArn": "arn:aws:kms:eu-central-1:1:key/1",
        "enabledClusterLogTypes": LOGS,
        "authenticationMode": "API",
    }
    return of("eks:index:Cluster", whole | inputs)


def inner(vpc: dict[str, Any]) -> Subject:
    """The EKS cluster inside pulumi-eks's, which only the engine shows."""
    return of("aws:eks/cluster:Cluster", {"vpcConfig": {"endpointPrivateAccess": True, **vpc}})


def provider(environment: str = "prod") -> Subject:
    return of("pulumi:providers:aws", {"defaultTags": json.dumps({"tags": TAGS | {"Environment": environment}})})


def template(**inputs: Any) -> Subject:
    whole: dict[str, Any] = {
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true"}}],
        "tagSpecifications": [{"resourceType": kind, "tags": TAGS} for kind in ("instance", "volume")],
    }
    return of("aws:ec2/launchTemplate:LaunchTemplate", whole | inputs)


def attached(policy: str, trust: str = NODE_TRUST) -> list[Subject]:
    role = of("aws:iam/role:Role", {"assumeRolePolicy": trust}, name="node")
    kind = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    return [role, of(kind, {"policyArn": f"{POLICIES}/{policy}", "role": UNKNOWN}, needs=frozenset({role.urn}))]


def allowing(action: object, resource: object, **more: Any) -> Subject:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return of("aws:iam/rolePolicy:RolePolicy", {"policy": json.dumps({"Statement": [statement]})})


def held(action: str, *others: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The inputs of a resource with a policy of its own, where `*` is the resource."""
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return {"policy": json.dumps({"Statement": [statement, *others]})}


def mounting(who: str, *others: dict[str, Any], **condition: Any) -> Subject:
    """The policy of :func:`efs`."""
    inputs = held("elasticfilesystem:ClientMount", *others, Principal={"AWS": who}, Condition=condition)
    return of(FILE_SYSTEM_POLICY, inputs, needs=frozenset({efs().urn}))


def limiting(attach: bool) -> list[Subject]:
    """A permissions boundary, which grants nothing as long as nobody attaches it."""
    statement = {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}
    policy = of("aws:iam/policy:Policy", {"policy": json.dumps({"Statement": [statement]})}, name="boundary")
    role = of("aws:iam/role:Role", {"permissionsBoundary": UNKNOWN}, name="role", needs=frozenset({policy.urn}))
    kind = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    attached = of(kind, {"policyArn": UNKNOWN}, needs=frozenset({role.urn, *([policy.urn] if attach else [])}))
    return [policy, role, attached]


def github(repository: str, **claims: str) -> Subject:
    """A role that a workflow of a repository takes."""
    issuer = "token.actions.githubusercontent.com"
    claims |= {"sub": f"repo:{repository}:environment:dev"}
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::111122223333:oidc-provider/{issuer}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer}:{claim}": value for claim, value in claims.items()}},
    }
    return of("aws:iam/role:Role", {"assumeRolePolicy": json.dumps({"Statement": [trust]})})


def pod(image: str, **spec: Any) -> Subject:
    whole = {"automountServiceAccountToken": False, "containers": [{"name": "a", "image": image}], **spec}
    return of("kubernetes:apps/v1:Deployment", {"spec": {"template": {"spec": whole}}})


def namespace(level: str | None) -> Subject:
    labels = {"pod-security.kubernetes.io/enforce": level} if level else {}
    return of("kubernetes:core/v1:Namespace", {"metadata": {"name": "tools", "labels": labels}})


def policy(**spec: Any) -> Subject:
    return of("kubernetes:networking.k8s.io/v1:NetworkPolicy", {"metadata": {"namespace": "tools"}, "spec": spec})


def world(port: int | None, network: str = "0.0.0.0/0", protocol: str = "tcp") -> Subject:
    inputs = {"cidrIpv4": network, "fromPort": port, "toPort": port, "ipProtocol": protocol}
    return of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", inputs)


def repository(**inputs: Any) -> Subject:
    whole: dict[str, Any] = {
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfigurations": [{"encryptionType": "KMS"}],
    }
    return of("aws:ecr/repository:Repository", whole | inputs)


def entries(**named: dict[str, Any]) -> Subject:
    return cluster(accessEntries=named)


def access(policy_name: str) -> dict[str, Any]:
    return {"accessPolicies": {"it": {"policyArn": f"arn:aws:eks::aws:cluster-access-policy/{policy_name}"}}}


def efs(**inputs: Any) -> Subject:
    return of("aws:efs/fileSystem:FileSystem", {"encrypted": True, "kmsKeyId": "arn", **inputs})


def log_group(**inputs: Any) -> Subject:
    return of("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 90, "kmsKeyId": UNKNOWN, **inputs})


def storage_class(**parameters: str) -> Subject:
    inputs = {"provisioner": "ebs.csi.aws.com", "parameters": parameters}
    return of("kubernetes:storage.k8s.io/v1:StorageClass", inputs)


def rights(kind: str = "ClusterRole", **rule: list[str]) -> Subject:
    whole = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], **rule}
    return of(f"kubernetes:rbac.authorization.k8s.io/v1:{kind}", {"rules": [whole]})


VPC = of("aws:ec2/vpc:Vpc")
FLOW_LOG = of("aws:ec2/flowLog:FlowLog", {"trafficType": "ALL"}, needs=frozenset({VPC.urn}))
LISTENER = of("aws:lb/listener:Listener", {"port": 22})
SUBNET = "aws:ec2/subnet:Subnet"
GROUP = "aws:eks/nodeGroup:NodeGroup"
ADDON = "aws:eks/addon:Addon"


def driver(name: str, **controller: Any) -> Subject:
    """A CSI driver's add-on."""
    return of(ADDON, {"addonName": name, "configurationValues": json.dumps({"controller": controller})})


CNI = {"addonName": "vpc-cni", "addonVersion": "v1"}


def observing(signals: dict[str, Any], enabled: bool) -> Subject:
    """CloudWatch's add-on; ``signals`` are the manager's."""
    said = {"manager": {"applicationSignals": signals}, "applicationSignals": {"enabled": enabled}}
    return of(ADDON, {"addonName": "amazon-cloudwatch-observability", "configurationValues": json.dumps(said)})


ACCOUNT = "kubernetes:core/v1:ServiceAccount"
CHART = "kubernetes:helm.sh/v3:Release"
BINDING = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"
OPEN = {"endpointPublicAccess": True}

CASES = [
    Case("eks-private-endpoint", [cluster()], [cluster(endpointPrivateAccess=False)], "no endpoint of its own"),
    Case("eks-private-endpoint", [inner({})], [inner({"endpointPrivateAccess": False})], "no endpoint of its own"),
    Case("eks-not-open-to-the-world", [cluster()], [cluster(**OPEN)], "whole internet"),
    Case(
        "eks-not-open-to-the-world",
        [cluster(**OPEN, publicAccessCidrs=["203.0.113.0/24"])],
        [cluster(**OPEN, publicAccessCidrs=["203.0.113.0/24", "0.0.0.0/0"])],
        "whole internet",
    ),
    Case(
        "eks-not-open-to-the-world",
        [inner(OPEN | {"publicAccessCidrs": ["203.0.113.0/24"]})],
        [inner(OPEN | {"publicAccessCidrs": ["::/0"]})],
        "whole internet",
    ),
    Case(
        "eks-not-open-to-the-world",
        [cluster(**OPEN, publicAccessCidrs=["9.0.0.0/8", UNKNOWN])],
        [cluster(**OPEN, publicAccessCidrs=["0.0.0.0/1", "128.0.0.0/1"])],
        "whole internet",
    ),
    Case(
        "eks-private-in-prod",
        [provider("dev"), cluster(**OPEN, publicAccessCidrs=["203.0.113.0/24"])],
        [provider(), cluster(**OPEN, publicAccessCidrs=["203.0.113.0/24"])],
        "public endpoint",
    ),
    Case("eks-private-in-prod", [provider(), cluster()], [provider(), inner(OPEN)], "public endpoint"),
    Case("eks-secrets-encrypted", [cluster()], [cluster(encryptionConfigKeyArn=None)], "secrets aren't encrypted"),
    Case(
        "eks-secrets-encrypted",
        [of("aws:eks/cluster:Cluster", {"encryptionConfig": {"provider": {"keyArn": UNKNOWN}}})],
        [of("aws:eks/cluster:Cluster", {"encryptionConfig": {}})],
        "secrets aren't encrypted",
    ),
    Case("eks-logs", [cluster()], [cluster(enabledClusterLogTypes=LOGS[:3])], "controllerManager, scheduler"),
    Case("eks-logs", [cluster(enabledClusterLogTypes=UNKNOWN)], [cluster(enabledClusterLogTypes=None)], "audit"),
    Case("eks-access-entries", [cluster()], [cluster(authenticationMode="CONFIG_MAP")], "CONFIG_MAP"),
    Case(
        "eks-access-entries",
        [entries(admin=access("AmazonEKSClusterAdminPolicy"), preview=access("AmazonEKSViewPolicy"))],
        [entries(preview=access("AmazonEKSClusterAdminPolicy"))],
        "may do more than look",
    ),
    Case(
        "eks-access-entries",
        [of("aws:eks/accessEntry:AccessEntry", {"kubernetesGroups": ["devservers:deployers"]})],
        [of("aws:eks/accessEntry:AccessEntry", {"kubernetesGroups": ["system:masters"]})],
        "system:masters",
    ),
    Case(
        "cni-network-policy",
        [of(ADDON, CNI | {"configurationValues": json.dumps({"enableNetworkPolicy": "true"})})],
        [of(ADDON, CNI | {"configurationValues": "{}"})],
        "NetworkPolicies",
    ),
    Case(
        "no-auto-instrumentation",
        [observing({"autoMonitor": {"monitorAllServices": False}}, enabled=False), of(ADDON, CNI)],
        [observing({"autoMonitor": {"monitorAllServices": True}}, enabled=False)],
        "monitorAllServices is on",
    ),
    Case(
        "no-auto-instrumentation",
        [observing({"autoMonitor": {"monitorAllServices": False}}, enabled=False)],
        [observing({}, enabled=True), of(ADDON, {"addonName": "amazon-cloudwatch-observability"})],
        "applicationSignals.enabled is on",
    ),
    Case(
        "imds-v2-one-hop",
        [template()],
        [template(metadataOptions={"httpTokens": "optional", "httpPutResponseHopLimit": 1})],
        "IMDSv1",
    ),
    Case(
        "imds-v2-one-hop",
        [template(metadataOptions=UNKNOWN)],
        [template(metadataOptions={"httpTokens": "required", "httpPutResponseHopLimit": 2})],
        "hop limit is 2",
    ),
    Case("imds-v2-one-hop", [template()], [template(metadataOptions=None)], "hop limit is not set"),
    Case("node-launch-template", [of(GROUP, {"launchTemplate": {"id": UNKNOWN}})], [of(GROUP)], "no launch template"),
    Case(
        "disks-encrypted",
        [template()],
        [template(blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"encrypted": "false"}}])],
        "/dev/xvda is not encrypted",
    ),
    Case("disks-encrypted", [template()], [template(blockDeviceMappings=[])], "nothing of the root disk"),
    Case("disks-encrypted", [storage_class(encrypted="true")], [storage_class()], "homes of this class"),
    Case(
        "disks-encrypted",
        [of("aws:ebs/volume:Volume", {"encrypted": True})],
        [of("aws:ebs/volume:Volume")],
        "the volume is not encrypted",
    ),
    Case("no-public-addresses", [of(SUBNET)], [of(SUBNET, {"mapPublicIpOnLaunch": True})], "in this subnet"),
    Case(
        "no-public-addresses",
        [template(networkInterfaces=[{"associatePublicIpAddress": "false"}])],
        [template(networkInterfaces=[{"associatePublicIpAddress": "true"}])],
        "public addresses",
    ),
    Case("no-public-addresses", [of(GROUP)], [of(GROUP, {"remoteAccess": {"ec2SshKey": "k"}})], "opens SSH"),
    Case(
        "node-role",
        attached("AmazonEC2ContainerRegistryPullOnly"),
        attached("AmazonEC2ContainerRegistryReadOnly"),
        "AmazonEC2ContainerRegistryReadOnly",
    ),
    Case(
        "node-role",
        attached("AmazonEKS_CNI_Policy", NODE_TRUST.replace("ec2.", "pods.eks.")),
        attached("AmazonEKS_CNI_Policy"),
        "every pod's node has AmazonEKS_CNI_Policy",
    ),
    Case("log-groups", [log_group()], [log_group(retentionInDays=None)], "for ever"),
    Case("log-groups", [log_group()], [log_group(kmsKeyId=None)], "not encrypted"),
    Case("efs-encrypted", [efs()], [efs(encrypted=None)], "file system is not encrypted"),
    Case("efs-encrypted", [efs(kmsKeyId=UNKNOWN)], [efs(kmsKeyId=None)], "key of this account"),
    Case("ecr-immutable-scanned", [repository()], [repository(imageTagMutability="MUTABLE")], "pushed again"),
    Case("github-by-id", [github("a@1/b@2", repository_id="2")], [github("a/b")], "trusts a/b by its name"),
    Case("github-by-id", [], [github("a@1/b@2")], "trusts a@1/b@2 by its name"),
    Case("ecr-immutable-scanned", [repository()], [repository(imageScanningConfiguration=None)], "not scanned"),
    Case("ecr-immutable-scanned", [repository()], [repository(encryptionConfigurations=[])], "not encrypted"),
    Case("kms-rotation", [of("aws:kms/key:Key", {"enableKeyRotation": True})], [of("aws:kms/key:Key")], "rotated"),
    Case("protect-in-prod", [provider("dev"), efs()], [provider(), efs()], "production would lose it"),
    Case(
        "protect-in-prod",
        [provider(), of("aws:kms/key:Key", protect=True), of("eks:index:Cluster", protect=True), inner({})],
        [provider(), inner({})],
        "production would lose it",
    ),
    Case("flow-logs", [VPC, FLOW_LOG], [VPC], "flow logs"),
    Case("flow-logs", [VPC, FLOW_LOG], [VPC, of(FLOW_LOG.type, {"trafficType": "REJECT"})], "REJECT"),
    Case("world-reaches-the-edge-only", [LISTENER, world(22)], [LISTENER, world(6443)], "ports 6443 to 6443"),
    Case("world-reaches-the-edge-only", [world(6443, "10.0.0.0/8")], [LISTENER, world(None, "::/0")], "every port"),
    Case(
        "world-reaches-the-edge-only",
        [of("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"fromPort": 0, "toPort": 0, "self": True}]})],
        [
            of(
                "aws:ec2/securityGroup:SecurityGroup",
                {"ingress": [{"fromPort": 22, "toPort": 22, "protocol": "tcp", "cidrBlocks": ["0.0.0.0/0"]}]},
            )
        ],
        "ports 22 to 22",
    ),
    Case(
        "world-reaches-the-edge-only",
        [world(6443, "9.0.0.0/8"), world(6443, "2001:db8::/32")],
        [world(6443, "0.0.0.0/1"), world(6443, "128.0.0.0/1")],
        "ports 6443 to 6443",
    ),
    Case("world-reaches-the-edge-only", [world(22, UNKNOWN)], [world(22, "8000::/1")], "ports 22 to 22"),
    Case("iam-no-wildcards", [allowing("s3:GetObject", "*")], [allowing(["s3:*"], "*")], "s3:* on everything"),
    Case(
        "iam-no-wildcards",
        [allowing("s3:*", "arn:aws:s3:::one/*")],
        [allowing("s3:Get*", ["arn:aws:s3:::one", "arn:aws:s3:::*"])],
        "s3:Get* on everything",
    ),
    Case("iam-no-wildcards", [allowing("sts:AssumeRole", [])], [allowing("*", "*")], "on everything"),
    Case(
        "iam-no-wildcards",
        [of("aws:iam/role:Role", {"assumeRolePolicy": NODE_TRUST})],
        [of("aws:iam/role:Role", {"assumeRolePolicy": {"Statement": {"Effect": "Allow", "Principal": "*"}}})],
        "lets anybody in",
    ),
    Case("iam-no-wildcards", [allowing([], "x")], [allowing([], "x", NotAction="iam:*")], "all but what it lists"),
    Case("iam-no-wildcards", limiting(attach=False), limiting(attach=True), "all but what it lists"),
    *(
        Case(
            "iam-no-wildcards",
            [of(kind, held("x:*", Principal={"AWS": "arn:aws:iam::111122223333:root"}))],
            [of(kind, held("x:Read", Principal={"AWS": "*"}))],
            "lets anybody in",
        )
        for kind in (
            "aws:kms/key:Key",
            "aws:sns/topic:Topic",
            FILE_SYSTEM_POLICY,
            "aws:ecr/repositoryPolicy:RepositoryPolicy",
        )
    ),
    Case("efs-mounts", [efs(), mounting(ROLE)], [efs()], "it has no policy"),
    Case(
        "efs-mounts",
        [efs(), mounting("*", StringLike={"elasticfilesystem:AccessPointArn": "arn:aws:x"})],
        [efs(), mounting("*", Bool={"elasticfilesystem:AccessedViaMountTarget": "true"})],
        "pods included, mounts all of it",
    ),
    Case(
        "efs-mounts",
        [efs(), mounting("*", StringEquals={"aws:PrincipalArn": ROLE})],
        [efs(), mounting("*", StringNotEquals={"aws:PrincipalArn": ROLE})],
        "pods included, mounts all of it",
    ),
    Case(
        "efs-mounts",
        [efs(), mounting("*", NO_ACCESS_POINT)],
        [efs(), mounting("*", {**NO_ACCESS_POINT, "Principal": {"AWS": ROLE}})],
        "pods included, mounts all of it",
    ),
    Case(
        "iam-no-full-access",
        attached("AmazonEKSWorkerNodePolicy"),
        attached("AmazonRoute53FullAccess"),
        "AmazonRoute53FullAccess",
    ),
    Case("rbac-no-wildcards", [rights()], [rights(verbs=["*"])], "every one of verbs"),
    Case("rbac-no-wildcards", [rights("Role")], [rights("Role", resources=["pods/*"])], "every one of resources"),
    Case(
        "rbac-no-wildcards",
        [of(BINDING, {"roleRef": {"name": "devservers-operator"}})],
        [of(BINDING, {"roleRef": {"name": "cluster-admin"}})],
        "cluster-admin",
    ),
    Case("pod-security", [namespace("restricted")], [namespace(None)], "level is not set"),
    Case("pod-security", [namespace("baseline")], [namespace("privileged")], "level is privileged"),
    Case(
        "default-deny",
        [namespace("restricted"), policy(podSelector={}, policyTypes=["Ingress"])],
        [namespace("restricted"), policy(podSelector={"matchLabels": {"a": "b"}}, policyTypes=["Ingress"])],
        "any pod of the cluster",
    ),
    Case(
        "tokens-off", [of(ACCOUNT, {"automountServiceAccountToken": False})], [of(ACCOUNT)], "every pod that names it"
    ),
    Case("tokens-off", [pod("a:1")], [pod("a:1", automountServiceAccountToken=None)], "doesn't say"),
    Case("images-pinned", [pod("a:1.2")], [pod("a:latest")], "whose tag moves"),
    Case("images-pinned", [pod(UNKNOWN)], [pod("registry:5000/a")], "neither tag nor digest"),
    Case(
        "images-pinned",
        [pod(f"a@sha256:{'0' * 64}")],
        [pod("a:1", initContainers=[{"name": "b", "image": "b:main"}])],
        "container b runs b:main",
    ),
    Case(
        "versions-pinned",
        [of(CHART, {"chart": "kueue", "version": "0.19.2"}), of(CHART, {"chart": "./charts/kueue"})],
        [of(CHART, {"chart": "kueue"})],
        "newest",
    ),
    Case("versions-pinned", [of(ADDON, CNI)], [of(ADDON, {"addonName": "coredns"})], "AWS chooses"),
    Case(
        "tags-of-volumes",
        [driver("aws-ebs-csi-driver", extraVolumeTags=TAGS), driver("aws-efs-csi-driver")],
        [driver("aws-ebs-csi-driver", tags=TAGS)],
        "volumes that it makes have no tag Environment, Owner, CostCenter",
    ),
    Case("tags-of-volumes", [of(ADDON, CNI)], [of(ADDON, {"addonName": "aws-ebs-csi-driver"})], "have no tag"),
    Case("tags", [provider()], [of("pulumi:providers:aws")], "no tag Environment, Owner, CostCenter"),
    Case(
        "tags",
        [template()],
        [template(tagSpecifications=[{"resourceType": "instance", "tags": TAGS}])],
        "its volumes have no tag",
    ),
]


def findings_of(rule: str, subjects: list[Subject]) -> list[Finding]:
    return findings([each for each in RULES if each.id == rule], subjects)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.words}".replace(" ", "_"))
def test_rule_accepts_the_good_case_and_finds_the_bad_one(case: Case) -> None:
    assert findings_of(case.rule, case.good) == []
    found = findings_of(case.rule, case.bad)
    assert found, found
    assert any(case.words in finding.message for finding in found), found


def test_rules_all_have_cases_and_remedies() -> None:
    assert {rule.id for rule in RULES} == {case.rule for case in CASES}
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert bool(rule.check) != bool(rule.check_stack), rule.id
        assert rule.text.endswith(".")
        assert rule.remedy
        assert "\n" not in rule.remedy


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.words}".replace(" ", "_"))
def test_rule_with_unknown_inputs_finds_nothing(case: Case) -> None:
    """In a preview of a new stack nearly everything is unknown: no rule may stop it for that."""
    everything = [Subject(each.type, each.name, dict.fromkeys(each.inputs, UNKNOWN), each.urn) for each in case.good]
    by_dependency = ("flow-logs", "default-deny", "protect-in-prod", "efs-mounts")
    if case.rule not in by_dependency:
        assert findings_of(case.rule, everything) == []


def test_finding_text_names_resource_and_remedy() -> None:
    (finding,) = findings_of("kms-rotation", [of("aws:kms/key:Key", name="data")])
    problem, remedy = str(finding).splitlines()
    assert problem == "mandatory kms-rotation: aws:kms/key:Key data: the key is never rotated"
    assert remedy == "  set enable_key_rotation=True"


def test_findings_are_sorted_mandatory_first() -> None:
    found = findings(RULES, [*attached("AmazonRoute53FullAccess"), of("aws:kms/key:Key")])
    levels = [finding.rule.severity for finding in found]
    assert set(levels) == {"mandatory", "advisory"}
    assert levels == sorted(levels, key=lambda level: level == "advisory")


IMAGES = [
    ("registry.example.com:5000/a/b:1.2.3", True),
    (f"a:latest@sha256:{'a' * 64}", True),
    ("a:sha-0123abc", True),
    ("registry.example.com:5000/a/b", False),
    ("a:Latest", False),
    ("a@sha256:short", False),
    ("", False),
]


@pytest.mark.parametrize(("image", "pinned"), IMAGES)
def test_unpinned_of_an_image_detects_moving_tags(image: str, pinned: bool) -> None:
    assert (unpinned(image) == "") is pinned


def test_rules_import_the_standard_library_only() -> None:
    """The engine runs them in an environment with other versions of everything."""
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, '.'); import infra.policy.baseline; "
        "print(sorted({n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-Sc", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['infra']"
