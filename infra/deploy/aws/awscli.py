"""Runs the AWS CLI, whose identity is the person's or the workflow's own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from infra.errors import InfraError


class AwsError(InfraError):
    """A command of the AWS CLI failed."""


def run(command: Sequence[str]) -> str:
    """The output of a command whose first word is the AWS CLI's path. Raises :class:`AwsError`."""
    try:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise AwsError("the AWS CLI is not on this machine", "install the AWS CLI, version 2") from None
    if done.returncode:
        name = " ".join(command[1:3])
        raise AwsError(
            f"aws {name} failed: {' '.join(done.stderr.split())[-400:]}", "check `aws sts get-caller-identity`"
        )
    return done.stdout
