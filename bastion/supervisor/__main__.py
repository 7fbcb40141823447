"""The first process of the sshd container: `python -m bastion.supervisor`."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import sys

from bastion.logs import setup_logging
from bastion.paths import Paths
from bastion.sshd_config import MAX_STARTUPS, SshdSettings, UnsupportedSshdError
from bastion.supervisor.listener import Listener, find_sshd
from bastion.supervisor.settings import SupervisorSettings
from bastion.supervisor.supervisor import LOG, Supervisor


def main(arguments: list[str] | None = None) -> int:
    """Runs until a drain is over; 2 when it can't begin."""
    parser = argparse.ArgumentParser(prog="bastion.supervisor", description=__doc__)
    parser.add_argument("--port", type=int, default=SshdSettings.port)
    parser.add_argument("--listen", action="append", help="address to listen on; may be given several times")
    parser.add_argument("--session", default=SshdSettings.session, help="the program of every session")
    parser.add_argument("--exempt", action="append", default=[], help="a network that is never made to wait")
    parser.add_argument("--max-startups", default=MAX_STARTUPS)
    parser.add_argument("--health-host", default=SupervisorSettings.health_host)
    parser.add_argument("--health-port", type=int, default=SupervisorSettings.health_port)
    parser.add_argument("--drain-seconds", type=float, default=SupervisorSettings.drain_seconds)
    parser.add_argument("--deregister-seconds", type=float, default=SupervisorSettings.deregister_seconds)
    parser.add_argument("--max-connections", type=int, default=SupervisorSettings.max_connections)
    parser.add_argument("--max-processes", type=int, default=SupervisorSettings.max_processes)
    given = parser.parse_args(arguments)
    sshd = SshdSettings(
        given.port, given.session, tuple(given.exempt), tuple(given.listen or SshdSettings.listen), given.max_startups
    )
    settings = SupervisorSettings(
        given.drain_seconds,
        given.deregister_seconds,
        given.health_host,
        given.health_port,
        given.max_connections,
        given.max_processes,
    )
    setup_logging()
    _adopt_orphans()
    try:
        return asyncio.run(_run(sshd, settings))
    except (UnsupportedSshdError, OSError) as error:
        LOG.error("sshd cannot be started: %s", error)
        return 2


async def _run(sshd: SshdSettings, settings: SupervisorSettings) -> int:
    paths = Paths.of()
    return await Supervisor(paths, Listener(paths, sshd, find_sshd()), settings).run()


def _adopt_orphans() -> None:
    """What sessions leave behind comes to us, as it does by itself when we are PID 1 (prctl(2))."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
