"""Runs torchrun within this process and ends with the exit code of the process that failed first."""

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

try:
    main(sys.argv[1:])
except ChildFailedError as error:
    rank, failure = error.get_first_failure()
    code = failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    print(f"devservers: rank {rank} failed first, with exit code {code}\n{error}", file=sys.stderr, flush=True)
    sys.exit(code)
except SignalException as error:
    sys.exit(128 + error.sigval)
