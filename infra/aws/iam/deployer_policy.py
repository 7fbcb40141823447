"""IAM policies of the deployer, which runs `pulumi up` in CI.

Invariant: who deploys an environment can change that one, can't change another, and can't make itself more.

Pure. Things are the environment's own by their names (`devservers-STACK...`), or, where AWS gives the names, by the tag
Stack that the provider puts on everything. Roles it makes carry the boundary (infra/aws/iam/boundary.py), and it can't
touch its own role, CI's others, or the boundary: for that an administrator runs `pulumi up`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from infra.aws import arns
from infra.aws.component import document
from infra.aws.iam import boundary
from infra.aws.iam.boundary import CI
from infra.aws.iam.previewer_policy import budget, own
from infra.settings.aws import ecr_images
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_LOAD_BALANCER_NAME, MAX_ROLE_NAME, MAX_VAULT_NAME, named

_EC2_MAKE = (
    "AllocateAddress CreateFlowLogs CreateInternetGateway CreateLaunchTemplate CreateLaunchTemplateVersion"
    " CreateNatGateway CreatePlacementGroup CreateRouteTable CreateSecurityGroup CreateSubnet CreateVpc"
    " CreateVpcEndpoint RunInstances"
)
"""RunInstances: EKS tries a launch template with the rights of who makes the node group."""
_EC2_CHANGE = (
    "AssociateAddress AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress"
    " AuthorizeSecurityGroupIngress CreateRoute DeleteFlowLogs DeleteInternetGateway DeleteLaunchTemplate"
    " DeleteLaunchTemplateVersions DeleteNatGateway DeletePlacementGroup DeleteRoute DeleteRouteTable"
    " DeleteSecurityGroup DeleteSubnet DeleteVpc DeleteVpcEndpoints DetachInternetGateway DisassociateAddress"
    " DisassociateRouteTable ModifyLaunchTemplate ModifySecurityGroupRules ModifySubnetAttribute ModifyVpcAttribute"
    " ModifyVpcEndpoint ReleaseAddress ReplaceRoute RevokeSecurityGroupEgress RevokeSecurityGroupIngress"
    " UpdateSecurityGroupRuleDescriptionsEgress UpdateSecurityGroupRuleDescriptionsIngress"
)
_EC2_RULES = "AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress CreateTags"
_EC2_CLUSTER_GROUP = "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress"
_BALANCER = (
    "AddTags CreateListener CreateLoadBalancer CreateTargetGroup DeleteListener DeleteLoadBalancer DeleteTargetGroup"
    " ModifyListener ModifyListenerAttributes ModifyLoadBalancerAttributes ModifyTargetGroup"
    " ModifyTargetGroupAttributes RemoveTags SetSecurityGroups SetSubnets"
)
_CLUSTER = (
    "AssociateAccessPolicy AssociateEncryptionConfig CreateAccessEntry CreateAddon CreateCluster CreateNodegroup"
    " CreatePodIdentityAssociation DeleteAccessEntry DeleteAddon DeleteCluster DeleteNodegroup"
    " DeletePodIdentityAssociation DisassociateAccessPolicy TagResource UntagResource UpdateAccessEntry UpdateAddon"
    " UpdateClusterConfig UpdateClusterVersion UpdateNodegroupConfig UpdateNodegroupVersion"
    " UpdatePodIdentityAssociation"
)
_IMAGES = (
    "BatchCheckLayerAvailability BatchDeleteImage BatchGetImage CompleteLayerUpload CreateRepository"
    " DeleteLifecyclePolicy DeleteRepository GetDownloadUrlForLayer InitiateLayerUpload PutImage"
    " PutImageScanningConfiguration PutImageTagMutability PutLifecyclePolicy TagResource UntagResource UploadLayerPart"
)
_FILES = (
    "CreateMountTarget DeleteFileSystem DeleteFileSystemPolicy DeleteMountTarget ModifyMountTargetSecurityGroups"
    " PutBackupPolicy PutFileSystemPolicy PutLifecycleConfiguration TagResource UntagResource UpdateFileSystem"
)
_PLAN = "CreateBackupSelection DeleteBackupPlan DeleteBackupSelection TagResource UntagResource UpdateBackupPlan"
_KEY_CHANGE = (
    "CancelKeyDeletion CreateAlias DeleteAlias DisableKeyRotation EnableKeyRotation PutKeyPolicy RotateKeyOnDemand"
    " ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription"
)
_LOG_GROUPS = (
    "AssociateKmsKey CreateLogGroup DeleteLogGroup DeleteRetentionPolicy PutRetentionPolicy TagResource UntagResource"
)
_TOPIC = (
    "CreateTopic DeleteTopic SetSubscriptionAttributes SetTopicAttributes Subscribe TagResource Unsubscribe"
    " UntagResource"
)
_ROLE_RIGHTS = "AttachRolePolicy CreateRole DeleteRolePolicy DetachRolePolicy PutRolePolicy"
"""The five that IAM can hold to a boundary (condition iam:PermissionsBoundary)."""
_ROLE_REST = "DeleteRole TagRole UntagRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription"
_POLICY = "CreatePolicy CreatePolicyVersion DeletePolicy DeletePolicyVersion TagPolicy UntagPolicy"
_NEVER_ITSELF = "DeleteRolePermissionsBoundary PassRole PutRolePermissionsBoundary SetDefaultPolicyVersion"
_PASSED_TO = (
    "backup.amazonaws.com", "ec2.amazonaws.com", "eks.amazonaws.com", "pods.eks.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)  # fmt: skip
_LINKED = (
    "autoscaling.amazonaws.com", "backup.amazonaws.com", "eks-nodegroup.amazonaws.com", "eks.amazonaws.com",
    "elasticfilesystem.amazonaws.com", "elasticloadbalancing.amazonaws.com", "spot.amazonaws.com",
)  # fmt: skip
"""Services whose own roles come into being with their first resource in an account."""
MODIFY_BUDGET = "budgets:ModifyBudget"
"""No operation: IAM's name for the right to all writing operations of AWS Budgets (Service Authorization Reference)."""


def _allow(sid: str, actions: Iterable[str], resource: str | list[str], **condition: Any) -> dict[str, Any]:  # noqa: ANN401
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def _of(prefix: str, actions: str) -> list[str]:
    return [f"{prefix}:{action}" for action in actions.split()]


def network(stack: str, aws: Aws) -> dict[str, Any]:
    """The VPC, launch templates, load balancer and Auto Scaling's tags.

    What exists is changed only where its tag says it is this environment's; tags are given only to what is being made
    or is its own already, so nothing of another's can be taken over by a tag.
    """
    ours = {"aws:ResourceTag/Stack": stack}
    everything = arns.arn(aws, "ec2", "*")
    interfaces = arns.arn(aws, "ec2", "network-interface/*")
    # Asked by a service on the deployer's behalf: by itself it can't.
    for_service = {"aws:ViaAWSService": "true"}
    of_cluster = {"aws:ResourceTag/aws:eks:cluster-name": named(stack)}
    balancers = [
        arns.arn(aws, "elasticloadbalancing", f"{kind}/{name}")
        for kind, name in (
            ("loadbalancer/net", f"{named(stack, 'edge', limit=MAX_LOAD_BALANCER_NAME)}/*"),
            ("listener/net", f"{named(stack, 'edge', limit=MAX_LOAD_BALANCER_NAME)}/*"),
            ("targetgroup", f"{named(stack, 'ssh', limit=MAX_LOAD_BALANCER_NAME)}/*"),
        )
    ]
    return document(
        _allow("Make", _of("ec2", _EC2_MAKE), [everything, f"arn:aws:ec2:{aws.region}::image/*"]),
        _allow("Change", _of("ec2", _EC2_CHANGE), everything, StringEquals=ours),
        _allow("TagNew", ["ec2:CreateTags"], everything, StringEquals={"ec2:CreateAction": _EC2_MAKE.split()}),
        # A rule is made and tagged by the call that allows it, which isn't one that ec2:CreateAction tells (EC2 User
        # Guide, "Tag resources during creation"); its security group is held to its own tag all the same.
        _allow(
            "Rules",
            _of("ec2", _EC2_RULES),
            arns.arn(aws, "ec2", "security-group-rule/*"),
            StringEquals={"aws:RequestTag/Stack": stack},
            Null={"aws:ResourceTag/Stack": "true"},
        ),
        # EFS makes a mount target's interface, without a tag of ours, with the rights of who asks for the target.
        _allow("TargetNew", ["ec2:CreateNetworkInterface"], interfaces, Bool=for_service),
        _allow(
            "TargetPlace",
            ["ec2:CreateNetworkInterface"],
            [arns.arn(aws, "ec2", f"{kind}/*") for kind in ("security-group", "subnet")],
            StringEquals=ours,
        ),
        _allow(
            "Targets",
            _of("ec2", "DeleteNetworkInterface ModifyNetworkInterfaceAttribute"),
            interfaces,
            Bool=for_service,
            Null={"aws:ResourceTag/Stack": "true"},
        ),
        _allow(
            "TargetGroups",
            ["ec2:ModifyNetworkInterfaceAttribute"],
            arns.arn(aws, "ec2", "security-group/*"),
            StringEquals=ours,
        ),
        # An endpoint's private name is a zone of AWS's, whose id nobody knows before.
        _allow(
            "EndpointNames", ["route53:AssociateVPCWithHostedZone"], "arn:aws:route53:::hostedzone/*", Bool=for_service
        ),
        _allow("TagOwn", _of("ec2", "CreateTags DeleteTags"), everything, StringEquals=ours),
        # The one group of the cluster's that EKS makes carries EKS's tags only.
        _allow(
            "ClusterGroup",
            _of("ec2", _EC2_CLUSTER_GROUP),
            arns.arn(aws, "ec2", "security-group/*"),
            StringEquals=of_cluster,
        ),
        _allow("LoadBalancer", _of("elasticloadbalancing", _BALANCER), balancers),
        _allow(
            "ScaleFromZero",
            _of("autoscaling", "CreateOrUpdateTags DeleteTags"),
            arns.arn(aws, "autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*"),
            StringEquals={"aws:ResourceTag/eks:cluster-name": named(stack)},
        ),
    )


def services(stack: str, aws: Aws) -> dict[str, Any]:
    """Cluster, files, images, keys, logs, names, alarms and the budget."""
    name = named(stack)
    cluster = [
        arns.arn(aws, "eks", f"{kind}/{name}{rest}")
        for kind, rest in (
            ("cluster", ""), ("nodegroup", "/*"), ("addon", "/*"), ("access-entry", "/*"),
            ("podidentityassociation", "/*"),
        )
    ]  # fmt: skip
    ours = {"aws:ResourceTag/Stack": stack}
    # What is made now has no tag yet; what is another's has another.
    as_new = {"StringEquals": {"aws:RequestTag/Stack": stack}, "StringEqualsIfExists": ours}
    logs = arns.own_log_groups(aws, name)
    keys, files = arns.arn(aws, "kms", "key/*"), "elasticfilesystem"
    volumes = [arns.arn(aws, files, "file-system/*"), arns.arn(aws, files, "access-point/*")]
    statements = [
        _allow("Cluster", _of("eks", _CLUSTER), cluster),
        _allow("Images", _of("ecr", _IMAGES), arns.arn(aws, "ecr", f"repository/{ecr_images.namespace(stack)}/*")),
        _allow("Login", ["ecr:GetAuthorizationToken"], "*"),
        _allow("FilesNew", [f"{files}:CreateFileSystem", f"{files}:TagResource"], volumes, **as_new),
        _allow("Files", _of(files, _FILES), volumes, StringEquals=ours),
        _allow("KeysNew", ["kms:CreateKey", "kms:TagResource"], "*", **as_new),
        _allow("Keys", _of("kms", _KEY_CHANGE), keys, StringEquals=ours),
        _allow("Aliases", _of("kms", "CreateAlias DeleteAlias UpdateAlias"),
               arns.arn(aws, "kms", f"alias/{name}-*")),
        _allow("KeysOfServices", ["kms:CreateGrant"], keys, StringEquals=ours,
               Bool={"kms:GrantIsForAWSResource": "true"}),
        _allow("KeysUsed", _of("kms", "Decrypt DescribeKey GenerateDataKeyWithoutPlaintext RetireGrant"), keys,
               StringEquals=ours, StringLike={"kms:ViaService": f"*.{aws.region}.amazonaws.com"}),
        _allow("Logs", _of("logs", _LOG_GROUPS), [logs, f"{logs}:*"]),
        _allow("Alarms", _of("cloudwatch", "DeleteAlarms PutMetricAlarm TagResource UntagResource"),
               arns.arn(aws, "cloudwatch", f"alarm:{name}-*")),
        _allow("Topic", _of("sns", _TOPIC), arns.arn(aws, "sns", f"{name}-*")),
        _allow("Budget", [MODIFY_BUDGET, "budgets:TagResource", "budgets:UntagResource"], budget(stack, aws)),
        *_names(stack, aws),
    ]  # fmt: skip
    if aws.production:
        statements.append(boundary.deny_irreversible())
    return document(*statements)


def _names(stack: str, aws: Aws) -> list[dict[str, Any]]:
    """Rights on the stack's DNS name, and on its zone where the zone is made."""
    hosted, hostname = aws.edge.hosted_zone, aws.edge.hostname
    if hosted is None:
        return []
    zone = f"arn:aws:route53:::hostedzone/{hosted.id or '*'}"
    normalized = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": [hostname or hosted.name]}
    name = _allow("Name", ["route53:ChangeResourceRecordSets"], zone, **{"ForAllValues:StringEquals": normalized})
    # The zone's id isn't known; the Null test is there since ForAllValues is true of nothing at all.
    name["Condition"]["Null"] = {next(iter(normalized)): "false"}
    if hosted.id:
        return [name]
    made = "ChangeTagsForResource DeleteHostedZone UpdateHostedZoneComment"
    return [
        name,
        _allow("NewZone", ["route53:CreateHostedZone"], "*"),
        _allow("Zone", _of("route53", made), zone, StringEquals={"aws:ResourceTag/Stack": stack}),
    ]


def backups(stack: str, aws: Aws) -> dict[str, Any]:
    """The vault of the homes' copies, and the plan that fills it.

    Also where there are no copies: who switches them off deletes both.
    """
    ours, new = {"aws:ResourceTag/Stack": stack}, {"aws:RequestTag/Stack": stack}
    plans = arns.arn(aws, "backup", "backup-plan:*")
    vault = "CreateBackupVault DeleteBackupVault ListRecoveryPointsByBackupVault TagResource UntagResource"
    name = arns.arn(aws, "backup", f"backup-vault:{named(stack, 'homes', limit=MAX_VAULT_NAME)}")
    return document(
        _allow("Vault", _of("backup", vault), name),
        # A vault's storage has no ARN (Service Authorization Reference, AWS Backup Storage).
        _allow("VaultStorage", ["backup-storage:MountCapsule"], "*"),
        _allow("VaultKey", ["kms:GenerateDataKey"], arns.arn(aws, "kms", "key/*"), StringEquals=ours,
               StringLike={"kms:ViaService": f"backup.{aws.region}.amazonaws.com"}),
        # Down of an environment that isn't production: a vault with copies in it can't be deleted.
        _allow("Copies", ["backup:DeleteRecoveryPoint"], f"arn:aws:ec2:{aws.region}::snapshot/*", StringEquals=ours),
        _allow("PlanNew", ["backup:CreateBackupPlan", "backup:TagResource"], plans, StringEquals=new,
               StringEqualsIfExists=ours),
        _allow("Plan", _of("backup", _PLAN), plans, StringEquals=ours),
    )  # fmt: skip


def roles(stack: str, aws: Aws) -> dict[str, Any]:
    """IAM: roles that carry the boundary, their policies, and whom they are given to."""
    mine = own(aws, stack, "role")
    untouched = [
        *(f"arn:aws:iam::{aws.account_id}:role/{named(stack, who, limit=MAX_ROLE_NAME)}" for who in CI),
        *(f"arn:aws:iam::{aws.account_id}:policy/{named(stack, who, limit=MAX_ROLE_NAME)}*" for who in CI),
        boundary.arn(stack, aws),
    ]
    return document(
        _allow(
            "Rights",
            _of("iam", _ROLE_RIGHTS),
            mine,
            StringEquals={"iam:PermissionsBoundary": boundary.arn(stack, aws)},
        ),
        _allow("Roles", _of("iam", _ROLE_REST), mine),
        _allow("Policies", _of("iam", _POLICY), own(aws, stack, "policy")),
        _allow("Pass", ["iam:PassRole"], mine, StringEquals={"iam:PassedToService": list(_PASSED_TO)}),
        _allow(
            "ServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            f"arn:aws:iam::{aws.account_id}:role/aws-service-role/*",
            StringEquals={"iam:AWSServiceName": list(_LINKED)},
        ),
        {
            "Sid": "NotItself",
            "Effect": "Deny",
            "Action": _of("iam", f"{_ROLE_RIGHTS} {_ROLE_REST} {_POLICY} {_NEVER_ITSELF}"),
            "Resource": untouched,
        },
    )  # fmt: skip
