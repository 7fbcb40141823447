"""The audit process: `python -m bastion.audit`. Its stdout is the audit log and nothing else."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bastion.audit.server import replica_name, run
from bastion.logs import setup_logging
from bastion.paths import Paths


def main(arguments: list[str] | None = None) -> int:
    """Runs until it is told to end."""
    parser = argparse.ArgumentParser(prog="bastion.audit", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record what interactive sessions show")
    options = parser.parse_args(arguments)
    setup_logging()
    return asyncio.run(run(Paths.of(), replica_name(), options.record))


if __name__ == "__main__":
    sys.exit(main())
