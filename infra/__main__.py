"""The Pulumi program: reads a stack's settings and makes its components."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Pulumi puts this folder first on the path: our platform would stand in for the standard library's.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.append(str(HERE.parent))

import pulumi  # noqa: E402

from devservers.api.shipped_flavors import SHIPPED  # noqa: E402
from infra import PROJECT  # noqa: E402
from infra.local import capacity, context, networks  # noqa: E402
from infra.local.provider import provider  # noqa: E402
from infra.platform.stack import loopback, platform  # noqa: E402
from infra.settings.loading import load  # noqa: E402
from infra.settings.platform.bastion import PORT_VARIABLE  # noqa: E402
from infra.settings.problems import SettingsError  # noqa: E402
from infra.settings.stack import AWS  # noqa: E402


def main() -> None:
    """The graph of the selected stack."""
    prefix = f"{PROJECT}:"
    values = {
        key.removeprefix(prefix): value
        for key, value in pulumi.runtime.get_config_env().items()
        if key.startswith(prefix)
    }
    try:
        settings = load(pulumi.get_stack(), values, os.environ)
        on_aws = settings.cluster == AWS
        choice = None if on_aws else context.choose_here(os.environ)
        if not on_aws:
            settings = networks.read(os.environ).apply_to(settings)
        has = capacity.read(os.environ) if settings.queueing.enabled and not on_aws else capacity.NO_CAPACITY
    except (SettingsError, context.ContextError) as error:
        # A RunError is shown as its text; anything else would be a traceback.
        raise pulumi.RunError(str(error)) from None
    if choice is not None:
        pools = capacity.pools(has, settings)
        offered = [
            settings.overcommit.local(flavor) for flavor in (*SHIPPED, *capacity.flavors(has, settings.images.pytorch))
        ]
        endpoint = loopback(int(os.environ.get(PORT_VARIABLE) or settings.bastion.node_port))
        outputs = platform(settings, provider(choice), pools, offered, endpoint=endpoint)
    else:
        # The AWS SDK takes seconds to import, and the local stack has no use for it.
        from infra.aws.stack import environment
        from infra.cost.estimator import estimate
        from infra.cost.resource_counter import ResourceCounter

        counter = ResourceCounter()
        made = environment(pulumi.get_stack(), settings, [counter.count])
        # When everything of AWS is registered: the state tells what was deployed last would cost.
        kept = settings.fast_starts.headroom
        cost = estimate(pulumi.get_stack(), settings.aws, counter, kept) if settings.aws else None
        outputs = made.outputs | {"cost": cost.record() if cost else None}
        outputs |= platform(settings, made.provider, made.pools, made.offered, made.ready, made.endpoint)
    for name, value in outputs.items():
        pulumi.export(name, value)


main()
