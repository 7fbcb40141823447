"""The operator's program: reads the settings, runs one Operator, exits."""

from __future__ import annotations

import asyncio
import logging
import sys

from devservers.runtime import log
from devservers.runtime.operator import Operator
from devservers.runtime.settings import Settings
from devservers_core.errors import CommandError


async def _run(settings: Settings) -> int:
    return await Operator(settings).run()


def main() -> None:
    """Runs until a signal stops it.

    Exit codes: 0 stopped, 1 a part failed, 2 the kubeconfig can't be used, 3 lost the Lease.
    """
    settings = Settings()
    log.setup(settings.log_level)
    try:
        sys.exit(asyncio.run(_run(settings)))
    except CommandError as error:
        logging.getLogger("devservers").error("%s; %s", error.what, error.remedy)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
