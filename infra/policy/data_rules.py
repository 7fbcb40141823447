"""Policy rules about stored data: encryption, retention, protection.

Invariant: what is written is encrypted, kept as long as it should be, and not deleted by a slip in production.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.policy.cluster_rules import CLUSTER, COMPONENT
from infra.policy.rights_rules import FILE_SYSTEM_POLICY, everybody, statements
from infra.policy.rule import Rule
from infra.policy.subject import Stack, Subject, Unknown, at, items, on

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
REPOSITORY = "aws:ecr/repository:Repository"
KEY = "aws:kms/key:Key"
ZONE = "aws:route53/zone:Zone"
_ACCESS_POINT = "elasticfilesystem:AccessPointArn"
PROTECTED = (KEY, FILE_SYSTEM, REPOSITORY, ZONE, COMPONENT)
"""Gone, they don't come back: keys and what they encrypt, files, images, a domain's delegation, the cluster."""


def _log_groups(subject: Subject) -> Iterator[str]:
    if subject.type == LOG_GROUP:
        if not subject.at("retentionInDays"):
            yield "its logs are kept for ever"
        if not subject.at("kmsKeyId"):
            yield "its logs are not encrypted with a key of this account"


def _files(subject: Subject) -> Iterator[str]:
    if subject.type == FILE_SYSTEM:
        if not on(subject.at("encrypted")):
            yield "the file system is not encrypted"
        elif not subject.at("kmsKeyId"):
            yield "the file system is not encrypted with a key of this account"


def _mounts(stack: Stack) -> Iterator[tuple[Subject, str]]:
    limited = stack.needed_by(FILE_SYSTEM_POLICY)
    for system in stack.of(FILE_SYSTEM):
        if system.urn not in limited:
            yield system, "it has no policy: whoever reaches a mount target is root in all of it"
    for policy in stack.of(FILE_SYSTEM_POLICY):
        said = list(statements(policy))
        if any(map(_anonymous, said)) and not any(map(_held_to_access_points, said)):
            yield policy, "whoever reaches a mount target, pods included, mounts all of it"


def _keys_of(statement: Mapping[str, Any], *operators: str) -> set[str]:
    found = [at(statement.get("Condition"), operator) for operator in operators]
    return {key for each in found if isinstance(each, Mapping) for key in each}


def _anonymous(statement: Mapping[str, Any]) -> bool:
    """Whether a statement allows access to the whole without an identity."""
    who = _keys_of(statement, "StringEquals", "StringLike", "ArnEquals", "ArnLike")
    return statement.get("Effect") == "Allow" and everybody(statement) and not who & {"aws:PrincipalArn", _ACCESS_POINT}


def _held_to_access_points(statement: Mapping[str, Any]) -> bool:
    """Whether it denies everybody to mount without an access point."""
    without = statement.get("Effect") == "Deny" and everybody(statement)
    return without and on(at(statement, f"Condition.Null.{_ACCESS_POINT}"))


def _images(subject: Subject) -> Iterator[str]:
    if subject.type != REPOSITORY:
        return
    tags = subject.at("imageTagMutability")
    if not str(tags or "").startswith("IMMUTABLE") and not isinstance(tags, Unknown):
        yield "a tag can be pushed again with another image"
    if not on(subject.at("imageScanningConfiguration.scanOnPush")):
        yield "images are not scanned when they are pushed"
    encryptions = subject.at("encryptionConfigurations")
    kinds = [at(each, "encryptionType") for each in items(encryptions)] or [encryptions]
    if not any(isinstance(kind, Unknown) or str(kind).startswith("KMS") for kind in kinds):
        yield "images are not encrypted with a key of this account"


def _keys(subject: Subject) -> Iterator[str]:
    if subject.type == KEY and not on(subject.at("enableKeyRotation")):
        yield "the key is never rotated"


def _protected(stack: Stack) -> Iterator[tuple[Subject, str]]:
    if stack.production:
        # The cluster inside pulumi-eks's component has its protection.
        inside = stack.of(CLUSTER) if not any(stack.of(COMPONENT)) else ()
        for subject in [*stack.of(*PROTECTED), *inside]:
            if not subject.protect:
                yield subject, "production would lose it to one wrong edit"


RULES = (
    Rule(
        "log-groups",
        "Log groups have a retention and are encrypted with a key of ours.",
        "set retention_in_days and kms_key_id",
        check=_log_groups,
    ),
    Rule(
        "efs-encrypted",
        "File systems are encrypted with a key of ours.",
        "set encrypted=True and kms_key_id; a file system can't be encrypted later",
        check=_files,
    ),
    Rule(
        "efs-mounts",
        "Nobody mounts a file system without an access point or an identity.",
        "give it an aws.efs.FileSystemPolicy that names the role that mounts, or denies all without an access point",
        check_stack=_mounts,
    ),
    Rule(
        "ecr-immutable-scanned",
        "A tag names one image for ever; images are scanned and encrypted.",
        'set image_tag_mutability "IMMUTABLE", scan_on_push, and encryption_type "KMS"',
        check=_images,
    ),
    Rule("kms-rotation", "Keys are rotated.", "set enable_key_rotation=True", check=_keys),
    Rule(
        "protect-in-prod",
        "What holds data is protected in production.",
        "make it with protect=True",
        check_stack=_protected,
    ),
)
