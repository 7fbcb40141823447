"""Lists what destroying a stack leaves in its AWS account.

Invariant: each leftover is named, with the command that removes it.

Pure. What is left costs money (disks, files, images) or waits (keys); it is left because it is somebody's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from infra.deploy.aws.end_servers_plan import UserClaim
from infra.deploy.aws.state import StateResource, of_type
from infra.deploy.leftover import Leftover

KEY = "aws:kms/key:Key"
FILES = "aws:efs/fileSystem:FileSystem"
IMAGES = "aws:ecr/repository:Repository"
ZONE = "aws:route53/zone:Zone"
LOGS = "aws:cloudwatch/logGroup:LogGroup"
CLUSTER = "aws:eks/cluster:Cluster"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"


def protected(resources: Iterable[StateResource]) -> list[StateResource]:
    """What Pulumi will refuse to delete: destroy can't end before these are unprotected."""
    return sorted((each for each in resources if each.protect), key=lambda each: (each.type, each.name))


def unprotect_commands(resources: Sequence[StateResource], region: str) -> list[tuple[str, ...]]:
    """The commands after which AWS itself deletes what Pulumi made with deletion protection: cluster, load balancer."""
    commands = [
        _aws(region, "eks", "update-cluster-config", "--name", each.id, "--no-deletion-protection")
        for each in of_type(resources, CLUSTER)
        if each.inputs.get("deletionProtection")
    ]
    off = ("--attributes", "Key=deletion_protection.enabled,Value=false")
    return commands + [
        _aws(region, "elbv2", "modify-load-balancer-attributes", "--load-balancer-arn", each.id, *off)
        for each in of_type(resources, BALANCER)
        if each.inputs.get("enableDeletionProtection")
    ]


def leftovers(
    before: Sequence[StateResource], after: Sequence[StateResource], claims: Sequence[UserClaim], region: str
) -> list[Leftover]:
    """What is left: ``before`` and ``after`` are the state around destroy."""
    still = {(each.type, each.name) for each in after}
    gone = [each for each in before if (each.type, each.name) not in still]
    kept = [each for each in before if each.retain or (each.type, each.name) in still]
    return [
        *_disks(claims, region),
        *_files(of_type(kept, FILES), region),
        *_images(of_type(kept, IMAGES), region),
        *_zones(of_type(kept, ZONE)),
        *_logs(of_type(gone, LOGS), region),
        *_keys(of_type(gone, KEY), region),
    ]


def _aws(region: str, *arguments: str) -> tuple[str, ...]:
    return ("aws", *arguments, "--region", region)


def _disks(claims: Sequence[UserClaim], region: str) -> Iterator[Leftover]:
    for each in claims:
        if each.handle.startswith("vol-"):
            why = f"the home {each.namespace}/{each.claim}, {each.size}"
            yield Leftover(f"disk {each.handle}", why, _aws(region, "ec2", "delete-volume", "--volume-id", each.handle))


def _files(kept: Iterable[StateResource], region: str) -> Iterator[Leftover]:
    for each in kept:
        command = _aws(region, "efs", "delete-file-system", "--file-system-id", each.id)
        yield Leftover(f"file system {each.id}", "shared volumes; its mount targets must be gone", command)


def _images(kept: Iterable[StateResource], region: str) -> Iterator[Leftover]:
    for each in kept:
        name = str(each.outputs.get("name") or each.id)
        command = _aws(region, "ecr", "delete-repository", "--repository-name", name, "--force")
        yield Leftover(f"repository {name}", "images", command)


def _zones(kept: Iterable[StateResource]) -> Iterator[Leftover]:
    for each in kept:
        command = ("aws", "route53", "delete-hosted-zone", "--id", each.id)
        yield Leftover(f"hosted zone {each.outputs.get('name') or each.id}", "a domain's delegation", command)


def _logs(gone: Iterable[StateResource], region: str) -> Iterator[Leftover]:
    for each in gone:
        # EKS delivers what the control plane wrote last when the cluster, and the group with it, are gone.
        if each.id.startswith("/aws/eks/") and not each.retain:
            why = "EKS may write it anew in the next minutes, without key or end, and the next `up` would stop at it"
            command = _aws(region, "logs", "delete-log-group", "--log-group-name", each.id)
            yield Leftover(f"log group {each.id}", why, command)


def _keys(gone: Iterable[StateResource], region: str) -> Iterator[Leftover]:
    for each in gone:
        if each.retain:
            continue
        days = each.inputs.get("deletionWindowInDays") or 30
        why = f"AWS deletes it in {days:g} days, and what it encrypts can't be read then; this keeps it"
        command = _aws(region, "kms", "cancel-key-deletion", "--key-id", each.id)
        yield Leftover(f"key {each.name} ({each.id})", why, command)
