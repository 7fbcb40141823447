"""Validation of an AWS environment's settings across fields.

Invariant: what AWS would refuse after ten minutes is refused here at once, with key, value, reason and remedy.

Pure: what values must hold together, beyond what each field allows by itself. Addresses are in network_checks.py,
nodes in pool_checks.py, the rest here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from infra.catalog import VERSIONS
from infra.settings.aws import network_checks, pool_checks
from infra.settings.aws.models import Aws
from infra.settings.problems import Problem, duplicates, problem

ENVIRONMENTS = ("dev", "staging", "prod")


def problems_of(stack: str, aws: Aws, today: date | None = None) -> list[Problem]:
    """Everything wrong with an environment whose fields are each all right.

    ``today`` decides which Kubernetes versions have support.
    """
    return [
        *_environment(stack, aws),
        *network_checks.problems_of(aws),
        *_kubernetes(aws, today or date.today()),
        *pool_checks.problems_of(aws),
        *_edge(aws),
        *_duplicates(aws),
        *_github(aws),
        *_alerts(aws),
    ]


def _environment(stack: str, aws: Aws) -> Iterator[Problem]:
    if not re.fullmatch("[a-z][a-z0-9-]{0,30}", stack):
        yield Problem(
            "the stack's name",
            stack,
            "it is part of the names of load balancers, roles and node groups, and some of these don't allow it",
            "pulumi stack rename, to up to 31 lower-case letters, digits and dashes, a letter first",
        )
    # `pulumi up -s prod` on an environment that thinks it is dev would protect nothing.
    if stack in ENVIRONMENTS and stack != aws.environment:
        yield problem(
            "environment",
            aws.environment,
            f"the stack is called {stack}, and another environment's rules would hold for it",
            f"set it to {stack}, or give the stack a name that is no environment's",
        )


def _kubernetes(aws: Aws, today: date) -> Iterator[Problem]:
    key, version = "kubernetes.version", aws.kubernetes.version
    known = VERSIONS.get(version)
    supported = [name for name, each in VERSIONS.items() if today < each.standard_until]
    newest = f"set it to {' or '.join(reversed(supported))}" if supported else "add newer ones to infra/catalog"
    if known is None:
        reason = f"not a version whose add-ons are known; there are {', '.join(VERSIONS)}"
        yield problem(key, version, reason, newest)
    elif today >= known.extended_until:
        yield problem(key, version, f"EKS ended its support on {known.extended_until}", newest)
    elif today >= known.standard_until and aws.kubernetes.support == "STANDARD":
        yield problem(
            key,
            version,
            f"its standard support ended on {known.standard_until}",
            f"{newest}, or set kubernetes.support to EXTENDED, which costs six times as much",
        )


def _edge(aws: Aws) -> Iterator[Problem]:
    hostname, zone = aws.edge.hostname, aws.edge.hosted_zone
    if hostname and zone is None:
        yield problem(
            "edge.hostname",
            hostname,
            "there is no hosted zone to make it in",
            "set edge.hostedZone with the zone's name (and its id, if it exists), or remove the hostname",
        )
    elif zone is not None and hostname and hostname != zone.name and not hostname.endswith(f".{zone.name}"):
        yield problem(
            "edge.hostname",
            hostname,
            f"not in the hosted zone {zone.name}",
            f"take a name that ends in .{zone.name}, or set edge.hostedZone.name to the zone it is in",
        )
    elif zone is not None and not hostname:
        yield problem(
            "edge.hostedZone.name",
            zone.name,
            "nothing is named in it",
            f"set edge.hostname, to ssh.{zone.name} for example, or remove the hosted zone",
        )


def _duplicates(aws: Aws) -> Iterator[Problem]:
    yield from duplicates("access.administrators", aws.access.administrators)
    yield from duplicates("observability.emails", aws.observability.emails)


def _github(aws: Aws) -> Iterator[Problem]:
    """GitHub's ids and the state's key.

    With neither id the settings are valid; the policy rule `github-by-id` (infra/policy/rights_rules.py) advises to
    set them.
    """
    github = aws.access.github
    if github and bool(github.owner_id) != bool(github.repository_id):
        missing, given = ("ownerId", "repositoryId") if github.repository_id else ("repositoryId", "ownerId")
        yield problem(
            f"access.github.{missing}",
            0,
            f"GitHub names owner and repository by both ids or by none, and {given} is set",
            f"set it too: gh api repos/{github.repository} --jq '.owner.id,.id' prints ownerId, then repositoryId",
        )
    if github and aws.access.state_bucket and not aws.access.state_key:
        yield problem(
            "access.stateKey",
            "",
            "CI's roles could not decrypt the stack's secrets: with a bucket of your own a KMS key encrypts them",
            "set it to the key's ARN (docs/guides/aws.md, step 2), or remove access.stateBucket or access.github",
        )


def _alerts(aws: Aws) -> Iterator[Problem]:
    if aws.observability.monthly_budget and not aws.observability.emails:
        yield problem(
            "observability.monthlyBudget",
            aws.observability.monthly_budget,
            "nobody would be told when it is used up",
            "set observability.emails to who should be",
        )
