"""Policy rules about tags.

Invariant: everything in the account says whose it is and who pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.policy.node_rules import TEMPLATE
from infra.policy.rule import Rule
from infra.policy.subject import ADDON, Subject, Unknown, at, decoded, default_tags, items

TAGS = ("Environment", "Owner", "CostCenter")
EBS_DRIVER, EBS_TAGS = "aws-ebs-csi-driver", "controller.extraVolumeTags"
"""Where the driver's add-on is told the tags of the volumes it makes: a provider's default tags don't reach them."""
COPIED = ("instance", "volume")
"""What EC2 makes from a launch template: a provider's default tags don't reach it."""


def _tagged(subject: Subject) -> Iterator[str]:
    if subject.type == "pulumi:providers:aws" and not isinstance(subject.at("defaultTags"), Unknown):
        missing = _missing(default_tags(subject))
        if missing:
            yield f"what it makes has no tag {', '.join(missing)}"
    if subject.type == TEMPLATE and not isinstance(subject.at("tagSpecifications"), Unknown):
        given = {at(each, "resourceType"): at(each, "tags") for each in items(subject.at("tagSpecifications"))}
        for kind in COPIED:
            tags = given.get(kind)
            missing = _missing(tags if isinstance(tags, Mapping) else {})
            if missing and not isinstance(tags, Unknown):
                yield f"its {kind}s have no tag {', '.join(missing)}"


def _volumes(subject: Subject) -> Iterator[str]:
    if subject.type != ADDON or subject.at("addonName") != EBS_DRIVER:
        return
    configuration = subject.at("configurationValues")
    if not isinstance(configuration, Unknown):
        tags = at(decoded(configuration), EBS_TAGS)
        missing = _missing(tags if isinstance(tags, Mapping) else {})
        if missing:
            yield f"volumes that it makes have no tag {', '.join(missing)}"


def _missing(tags: Mapping[str, object]) -> list[str]:
    return [tag for tag in TAGS if not tags.get(tag)]


RULES = (
    Rule(
        "tags-of-volumes",
        f"Volumes that are made for claims are tagged {', '.join(TAGS)}.",
        "set controller.extraVolumeTags of add-on aws-ebs-csi-driver",
        check=_volumes,
    ),
    Rule(
        "tags",
        f"Everything is tagged {', '.join(TAGS)}.",
        "set them in the provider's default_tags, and in tag_specifications of launch templates",
        check=_tagged,
    ),
)
