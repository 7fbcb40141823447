"""The audit process: `python -m bastion.audit`. Its stdout is the audit log and nothing else."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys

from bastion.audit.server import STOPPED, AuditServer
from bastion.logs import setup_logging
from bastion.paths import Paths

LOG = logging.getLogger("bastion.audit")


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bastion.audit", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record what interactive sessions show")
    options = parser.parse_args(arguments)
    setup_logging()
    return asyncio.run(run(Paths.of(), replica_name(), options.record))


async def run(paths: Paths, replica: str, record: bool) -> int:
    """Serves until SIGTERM and then until nobody is connected.

    A drain takes as long as its sessions. Returns 1 when it can't write: then the container starts anew.
    """
    loop = asyncio.get_running_loop()
    server = AuditServer(paths, replica, record)
    terminated = asyncio.Event()
    for number in (2, 15):
        loop.add_signal_handler(number, terminated.set)

    async def ended() -> None:
        await terminated.wait()
        await server.wait_idle()

    listening = await server.serve()
    waits = [asyncio.ensure_future(each) for each in (ended(), server.failed.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
    listening.close()
    if server.failed.is_set():
        LOG.error("%s; new sessions are refused until it can", STOPPED)
        return 1
    return 0


def replica_name() -> str:
    """The pod's name."""
    return os.environ.get("POD_NAME") or socket.gethostname()


if __name__ == "__main__":
    sys.exit(main())
