"""An IAM role for one service account, by EKS Pod Identity.

Invariant: a role is one service account's, in one cluster, and nobody else can take it.

By EKS Pod Identity: the agent on the node hands a pod its role's credentials. The session's tags say which cluster,
namespace and account it is for, and the trust policy asks for just those (EKS User Guide, pod-id-role).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws

from infra.aws import arns
from infra.aws.cluster.control_plane import Cluster
from infra.aws.component import Component, document, rendered
from infra.settings.aws.naming import MAX_ROLE_NAME, named


def pod_role(
    component: Component,
    stack: str,
    cluster: Cluster,
    name: str,
    *,
    namespace: str,
    account: str,
    managed: Sequence[str] = (),
    statements: Sequence[Mapping[str, Any]] = (),
) -> pulumi.Resource:
    """A role for a service account; what its pods must wait for comes back.

    ``managed`` are names of AWS's own policies, ``statements`` are those of a policy of ours, whose parts may be
    outputs. The service account need not exist yet.
    """
    said = {
        "aws:RequestTag/eks-cluster-arn": cluster.arn,
        "aws:RequestTag/kubernetes-namespace": namespace,
        "aws:RequestTag/kubernetes-service-account": account,
    }
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": said},
    }
    role = pulumi_aws.iam.Role(
        name,
        name=named(stack, name, limit=MAX_ROLE_NAME),
        assume_role_policy=rendered(document(trust)),
        opts=component.options(),
    )
    rights: list[pulumi.Resource] = [
        pulumi_aws.iam.RolePolicyAttachment(
            f"{name}-{policy.rpartition('/')[2]}",
            role=role.name,
            policy_arn=arns.managed(policy),
            opts=component.options(),
        )
        for policy in managed
    ]
    if statements:
        rights.append(
            pulumi_aws.iam.RolePolicy(
                name, role=role.name, policy=rendered(document(*statements)), opts=component.options()
            )
        )
    return pulumi_aws.eks.PodIdentityAssociation(
        name,
        cluster_name=cluster.name,
        namespace=namespace,
        service_account=account,
        role_arn=role.arn,
        opts=component.options([cluster.resource, *rights]),
    )
