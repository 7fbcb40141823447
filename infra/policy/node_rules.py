"""Policy rules about nodes: metadata, disks, addresses and roles.

Invariant: a pod on a node gets nothing of the node: no credentials, no disk in the clear, no address outside.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.rule import Rule
from infra.policy.subject import Stack, Subject, Unknown, at, items, on

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
ROLE = "aws:iam/role:Role"
NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKSWorkerNodeMinimalPolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)
"""All that a node's own role may have: whatever runs on it has a role of its own (EKS Pod Identity)."""


def _imds(subject: Subject) -> Iterator[str]:
    if subject.type not in (TEMPLATE, INSTANCE):
        return
    tokens = subject.at("metadataOptions.httpTokens")
    hops = subject.at("metadataOptions.httpPutResponseHopLimit")
    if tokens != "required" and not isinstance(tokens, Unknown):
        yield "the instance metadata service answers without a token (IMDSv1)"
    if hops != 1 and not isinstance(hops, Unknown):
        yield f"its tokens reach pods: the hop limit is {hops if hops is not None else 'not set'}"


def _has_template(subject: Subject) -> Iterator[str]:
    if subject.type == NODE_GROUP and not subject.at("launchTemplate"):
        yield "it has no launch template, so its disks and its metadata service are AWS's defaults"


def _disks(subject: Subject) -> Iterator[str]:
    if subject.type == TEMPLATE:
        mappings = items(subject.at("blockDeviceMappings"))
        if not mappings and not isinstance(subject.at("blockDeviceMappings"), Unknown):
            yield "it says nothing of the root disk, which is then not encrypted unless the account says so"
        for mapping in mappings:
            if at(mapping, "ebs") and not on(at(mapping, "ebs.encrypted")):
                yield f"disk {at(mapping, 'deviceName')} is not encrypted"
    if subject.type == "aws:ebs/volume:Volume" and not on(subject.at("encrypted")):
        yield "the volume is not encrypted"
    homes = subject.kind == "StorageClass" and subject.at("provisioner") == "ebs.csi.aws.com"
    if homes and not on(subject.at("parameters.encrypted")):
        yield "homes of this class are not encrypted"


def _public_addresses(subject: Subject) -> Iterator[str]:
    if subject.type == TEMPLATE:
        for interface in items(subject.at("networkInterfaces")):
            if on(at(interface, "associatePublicIpAddress")) and at(interface, "associatePublicIpAddress"):
                yield "its nodes get public addresses"
    if subject.type == INSTANCE and on(subject.at("associatePublicIpAddress")):
        yield "the instance gets a public address"
    if subject.type == "aws:ec2/subnet:Subnet" and on(subject.at("mapPublicIpOnLaunch")):
        yield "whatever starts in this subnet gets a public address"
    if subject.type == NODE_GROUP and subject.at("remoteAccess"):
        yield "it opens SSH to its nodes"


def _node_role(stack: Stack) -> Iterator[tuple[Subject, str]]:
    nodes = {role.urn for role in stack.of(ROLE) if "ec2.amazonaws.com" in str(role.at("assumeRolePolicy"))}
    for attachment in stack.of(ATTACHMENT):
        policy = str(attachment.at("policyArn") or "").rpartition("/")[2]
        if attachment.needs & nodes and policy not in NODE_POLICIES:
            yield attachment, f"every pod's node has {policy}"
    for role in stack.of(ROLE):
        for arn in items(role.at("managedPolicyArns")) if role.urn in nodes else ():
            if str(arn).rpartition("/")[2] not in NODE_POLICIES:
                yield role, f"every pod's node has {str(arn).rpartition('/')[2]}"
    for policy_ in stack.of("aws:iam/rolePolicy:RolePolicy"):
        if policy_.needs & nodes:
            yield policy_, "it gives nodes rights of their own"


RULES = (
    Rule(
        "imds-v2-one-hop",
        "The metadata service wants a token, and its answers go no further than the node.",
        'set metadata_options to http_tokens "required" and http_put_response_hop_limit 1',
        check=_imds,
    ),
    Rule(
        "node-launch-template",
        "Every node group has a launch template of ours.",
        "give the node group launch_template",
        check=_has_template,
    ),
    Rule(
        "disks-encrypted",
        "Root disks and homes are encrypted.",
        "set encrypted on every block device, and parameters.encrypted on classes of ebs.csi.aws.com",
        check=_disks,
    ),
    Rule(
        "no-public-addresses",
        "No node has a public address.",
        "leave out map_public_ip_on_launch, associate_public_ip_address and remote_access",
        check=_public_addresses,
    ),
    Rule(
        "node-role",
        "A node's role can join the cluster, pull images and be reached by Session Manager, and nothing else.",
        f"attach {', '.join(NODE_POLICIES)} only; give what runs on the node its own role by Pod Identity",
        check_stack=_node_role,
    ),
)
