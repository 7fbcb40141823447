"""Checks that AWS offers the instance types of all pools in their zones.

AWS sells few types in all zones of a region, and zones' names differ from account to account, so no table can tell. EKS
makes a node group of such a type and waits twenty minutes for nodes that never come. Pure but for :func:`check`.

``python -m infra.deploy.aws.offerings STACK`` is the same for a workflow, which has an identity in the stack's account.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterable

from infra.aws.cluster.pool_layout import pools_of, system_of
from infra.deploy.aws import awscli
from infra.deploy.aws.awscli import AwsError
from infra.settings.aws.models import Aws
from infra.settings.problems import Problem, SettingsError, problem

Offer = tuple[str, str]
"""An instance type and a zone that has it."""


def list_command(aws: str, settings: Aws) -> list[str]:
    """The command that lists where the types of all pools are offered."""
    types = sorted({system_of(settings).instance_type, *(pool.instance_type for pool in pools_of(settings))})
    arguments = ["ec2", "describe-instance-type-offerings", "--location-type", "availability-zone"]
    query = "InstanceTypeOfferings[].{type:InstanceType,zone:Location}"
    filters = ["--filters", f"Name=instance-type,Values={','.join(types)}"]
    return [aws, *arguments, "--region", settings.region, *filters, "--query", query, "--output", "json"]


def parse(text: str) -> set[Offer]:
    """What :func:`list_command` printed."""
    return {(each["type"], each["zone"]) for each in json.loads(text or "[]") or []}


def problems_of(settings: Aws, offered: Collection[Offer]) -> list[Problem]:
    """A problem for each pool with a zone that doesn't offer its type, and for the platform's own nodes."""
    system = system_of(settings)
    requirements = [("system.size", "network.zones", system.instance_type, system.zones)]
    for place, (entry, pool) in enumerate(zip(settings.pools, pools_of(settings), strict=True)):
        at = f"pools[{place}]"
        requirements.append((f"{at}.size", f"{at}.zones", pool.instance_type, settings.zones_of(entry)))
    return [lack for each in requirements if (lack := _missing(*each, offered))]


def _missing(size: str, zones_key: str, kind: str, zones: Iterable[str], offered: Collection[Offer]) -> Problem | None:
    has = [zone for zone in zones if (kind, zone) in offered]
    lacks = [zone for zone in zones if (kind, zone) not in offered]
    if not lacks:
        return None
    remedy = f"set {zones_key} to {json.dumps(has)}, or take another size" if has else "take another size or family"
    return problem(size, kind.partition(".")[2], f"AWS does not offer {kind} in {', '.join(lacks)}", remedy)


def check(settings: Aws, aws: str, say: Callable[[str], None]) -> None:
    """Ask AWS. Raises SettingsError; where AWS can't be asked it only prints that."""
    try:
        offered = parse(awscli.run(list_command(aws, settings)))
    except AwsError as error:
        why = str(error).splitlines()[0]
        say(f"not checked whether AWS offers the instance types in their zones: {why}")
        return
    problems = problems_of(settings, offered)
    if problems:
        raise SettingsError(problems)


def main() -> int:
    """Print what is missing; 1 with two lines for each problem."""
    from infra.preview.simulation import settings_of
    from infra.preview.stackfile import StackFileError, read

    if len(sys.argv) != 2:
        print("no stack is named\n  python -m infra.deploy.aws.offerings STACK", file=sys.stderr)
        return 2
    try:
        settings = settings_of(read(sys.argv[1])).aws
        if settings is not None:
            check(settings, shutil.which("aws") or "aws", lambda text: print(text, file=sys.stderr))
    except (StackFileError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
