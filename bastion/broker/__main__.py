"""The broker container: `python -m bastion.broker`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from bastion.broker.server import LOG, BrokerServer
from bastion.broker.token_service import TokenService, utcnow
from bastion.logs import setup_logging
from bastion.paths import Paths
from devservers_core import names
from devservers_core.client import kubeconfig
from devservers_core.errors import CommandError


def main(arguments: list[str] | None = None) -> int:
    """Runs until a signal stops it; 2 when there is no cluster to ask."""
    parser = argparse.ArgumentParser(prog="bastion.broker", description=__doc__)
    parser.add_argument("--kubeconfig", help="a kubeconfig file instead of the pod's service account")
    parser.add_argument("--system-namespace", default=names.SYSTEM_NAMESPACE, help="where the user CA is")
    options = parser.parse_args(arguments)
    setup_logging()
    try:
        target = kubeconfig.load(options.kubeconfig, None, os.environ)
        asyncio.run(_run(TokenService(target, options.system_namespace, utcnow)))
    except (CommandError, OSError) as error:
        LOG.error("%s", error)
        return 2
    return 0


async def _run(service: TokenService) -> None:
    loop, terminated = asyncio.get_running_loop(), asyncio.Event()
    for number in (2, 15):
        loop.add_signal_handler(number, terminated.set)
    listening = await BrokerServer(Paths.of(), service).serve()
    await terminated.wait()
    listening.close()


if __name__ == "__main__":
    sys.exit(main())
