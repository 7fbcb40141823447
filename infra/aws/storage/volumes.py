"""StorageClasses for homes and shared volumes, snapshots, and the EFS file system.

Invariant: every volume is encrypted with the environment's own key, and shared files can be mounted in every zone.

Homes are EBS volumes (class `gp3`, the cluster's default); volumes that many servers mount are folders of one EFS file
system (class `efs`), each behind an access point of its own. Only the CSI driver mounts it: a pod that reaches a mount
target, which is every pod on a node, has no identity that may.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_aws import ec2, efs

from devservers_core.client.paths import SNAPSHOT_API_VERSION
from infra.aws.addons.eks_addons import efs_node_role_arn
from infra.aws.cluster.control_plane import Cluster
from infra.aws.component import Component, document, rendered
from infra.aws.kms_keys import Security
from infra.aws.network.security_group_rules import allow_ingress
from infra.aws.network.vpc import Network
from infra.platform.manifest import Manifest
from infra.settings.aws.models import EFS, GP3, Aws
from infra.settings.aws.naming import named

NFS_PORT = 2049
BASE_PATH = "/v"
"""Folder of shared volumes on the file system."""
_STORAGE_CLASS = "storage.k8s.io/v1"


def gp3_class(key_arn: pulumi.Input[str]) -> dict[str, Any]:
    """The StorageClass of homes: made in the zone its first pod runs in, and can grow."""
    return {
        "apiVersion": _STORAGE_CLASS,
        "kind": "StorageClass",
        "metadata": {"name": GP3, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "ebs.csi.aws.com",
        "parameters": {"type": "gp3", "encrypted": "true", "kmsKeyId": key_arn, "csi.storage.k8s.io/fstype": "ext4"},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def snapshot_class() -> dict[str, Any]:
    """The VolumeSnapshotClass of homes: a snapshot goes with its object."""
    return {
        "apiVersion": SNAPSHOT_API_VERSION,
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": "ebs", "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": "ebs.csi.aws.com",
        "deletionPolicy": "Delete",
    }


def efs_class(file_system_id: pulumi.Input[str]) -> dict[str, Any]:
    """The StorageClass of shared volumes, each an EFS access point (at most 1000).

    With its claim an access point goes; the folder stays (the driver's default), since others may still need it.
    """
    return {
        "apiVersion": _STORAGE_CLASS,
        "kind": "StorageClass",
        "metadata": {"name": EFS},
        "provisioner": "efs.csi.aws.com",
        "parameters": {
            "provisioningMode": "efs-ap",
            "fileSystemId": file_system_id,
            # All who mount it write as the access point's one user: nobody is locked out of a colleague's files.
            "directoryPerms": "700",
            # Short, as an access point's whole path has 100 characters at most (EFS API, RootDirectory), and the driver
            # adds 37 of its own to the claim's name. What is left for namespace and claim, admission holds claims to.
            "basePath": BASE_PATH,
            "subPathPattern": "${.PVC.namespace}/${.PVC.name}",
            "ensureUniqueDirectory": "true",
        },
        # With the identity of the driver on the node; without `iam` it would be nobody's.
        "mountOptions": ["tls", "iam"],
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def file_system_policy(arn: pulumi.Input[str], driver: str) -> dict[str, Any]:
    """The file system's policy: only the role ``driver`` mounts, by access points.

    Without a policy everybody on the network has root's rights to the whole of it, without TLS too. An access point
    holds its mount to one folder and one user (EFS User Guide, access points).
    """
    mount = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    client = [*mount, "elasticfilesystem:ClientRootAccess"]

    def never(name: str, **condition: dict[str, str]) -> dict[str, Any]:
        everybody = {"Principal": {"AWS": "*"}, "Resource": arn}
        return {"Sid": f"Never{name}", "Effect": "Deny", "Action": client, **everybody, "Condition": condition}

    return document(
        {
            "Sid": "TheDriver",
            "Effect": "Allow",
            "Principal": {"AWS": driver},
            "Action": mount,
            "Resource": arn,
            "Condition": {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}},
        },
        never("Another", ArnNotEquals={"aws:PrincipalArn": driver}),
        never("TheRoot", Null={"elasticfilesystem:AccessPointArn": "true"}),
        never("WithoutTls", Bool={"aws:SecureTransport": "false"}),
    )


class Storage(Component):
    """The file system with its mount targets, both StorageClasses, and the class of snapshots.

    Made after the CSI add-ons (``opts``).
    """

    file_system_id: pulumi.Output[str] | None = None
    """None where the stack has no shared storage."""

    def __init__(
        self,
        stack: str,
        aws: Aws,
        network: Network,
        cluster: Cluster,
        security: Security,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("storage", opts)
        self._cluster = cluster.resource
        self._class(gp3_class(security.data_key.arn), [])
        self._class(snapshot_class(), [])
        if aws.storage.shared:
            self._shared(stack, aws, network, cluster, security)
        self.register_outputs({"fileSystemId": self.file_system_id})

    def _class(self, manifest: dict[str, Any], after: list[pulumi.Resource]) -> None:
        # A cluster that is gone has taken its classes with it: destroy must not ask it for them.
        Manifest(manifest, self.options(after, within=self._cluster))

    def _shared(self, stack: str, aws: Aws, network: Network, cluster: Cluster, security: Security) -> None:
        keep = aws.production
        system = efs.FileSystem(
            "shared",
            creation_token=named(stack, "shared", limit=64),
            encrypted=True,
            kms_key_id=security.data_key.arn,
            performance_mode="generalPurpose",
            throughput_mode="elastic",
            lifecycle_policies=[
                efs.FileSystemLifecyclePolicyArgs(transition_to_ia="AFTER_30_DAYS"),
                efs.FileSystemLifecyclePolicyArgs(transition_to_archive="AFTER_90_DAYS"),
                efs.FileSystemLifecyclePolicyArgs(transition_to_primary_storage_class="AFTER_1_ACCESS"),
            ],
            tags={"Name": named(stack, "shared")},
            opts=self.options(protect=keep, retain=keep),
        )
        self.file_system_id = system.id
        policy = efs.FileSystemPolicy(
            "shared",
            file_system_id=system.id,
            policy=rendered(file_system_policy(system.arn, efs_node_role_arn(stack, aws))),
            opts=self.options(),
        )
        efs.BackupPolicy(
            "shared",
            file_system_id=system.id,
            backup_policy=efs.BackupPolicyBackupPolicyArgs(status="ENABLED" if aws.storage.backup else "DISABLED"),
            opts=self.options(),
        )
        group = ec2.SecurityGroup(
            "efs",
            name_prefix=f"{named(stack, 'efs')}-",
            description="EFS: NFS from the cluster's nodes",
            vpc_id=network.vpc_id,
            tags={"Name": named(stack, "efs")},
            opts=self.options(),
        )
        # Managed node groups wear the cluster's own group when their launch template names none.
        nodes = cluster.security_group_id
        allow_ingress("efs-nodes", group.id, NFS_PORT, "NFS from nodes", self.options(), source=nodes)
        targets: list[pulumi.Resource] = [
            efs.MountTarget(
                f"shared-{zone}",
                file_system_id=system.id,
                subnet_id=network.private_subnets[zone],
                security_groups=[group.id],
                opts=self.options(),
            )
            for zone in aws.network.zones
        ]
        # A volume before its zone's mount target hangs until the mount times out.
        self._class(efs_class(system.id), [*targets, policy])
