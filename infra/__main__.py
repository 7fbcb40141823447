"""The Pulumi program: a stack's settings in, its components called, its outputs out."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Pulumi puts this folder first on the path: our platform would stand in for the standard library's.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.append(str(HERE.parent))

import pulumi  # noqa: E402
import pulumi_kubernetes as kubernetes  # noqa: E402

from devservers.api.flavors import SHIPPED  # noqa: E402
from infra import settings as configuration  # noqa: E402
from infra.local import capacity, context  # noqa: E402
from infra.platform.stack import platform  # noqa: E402


def main() -> None:
    """The graph of the selected stack."""
    prefix = f"{configuration.PROJECT}:"
    values = {
        key.removeprefix(prefix): value
        for key, value in pulumi.runtime.config.CONFIG.get().items()
        if key.startswith(prefix)
    }
    try:
        settings = configuration.load(pulumi.get_stack(), values, os.environ)
        choice = context.choose_here(os.environ)
        has = capacity.read(os.environ) if settings.queueing.enabled else capacity.NOTHING
    except (configuration.SettingsError, context.ContextError) as error:
        # A RunError is shown as its text; anything else would be a traceback.
        raise pulumi.RunError(str(error)) from None
    provider = kubernetes.Provider(
        "cluster",
        kubeconfig=str(choice.kubeconfig),
        context=choice.context,
        # Objects are only ever taken for gone when it is another cluster, not when its address changed.
        cluster_identifier=choice.context or context.EMBEDDED,
    )
    pools, offered = capacity.pools(has, settings), (*SHIPPED, *capacity.flavors(has))
    for name, value in platform(settings, provider, pools, offered).items():
        pulumi.export(name, value)


main()
