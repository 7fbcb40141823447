"""Finds the estimate to compare costs with: the deployed state's, a revision's or a file's.

Invariant: a comparison says which estimate it used and, if the deployed state can't be read, why not.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra import ROOT
from infra.cost.comparison import Comparison
from infra.cost.estimate import Estimate, EstimateError
from infra.deploy.aws.stack import runner
from infra.deploy.aws.tools import PrerequisiteError, find_tools
from infra.deploy.stack_runner import PulumiError
from infra.errors import InfraError

OUTPUT = "cost"
"""The output of a stack with the record of its estimate (infra/aws/stack.py)."""
TARGETS = ("origin/main", "main")
"""Branches whose estimate is used when no revision is named and the state can't be read; the first that exists."""
PACKAGES = (".", "core", "operator", "cli")
"""Folders with the packages of a checkout."""
FORMER_MODULE = "infra.local"
"""What runs `preview` in revisions that are older than infra/deploy."""


class CostBaseError(InfraError):
    """There is no estimate to compare with."""


@dataclass(frozen=True)
class CostBase:
    """An estimate to compare with, and where it comes from."""

    estimate: Estimate
    label: str


def compare(
    now: Estimate,
    env: Mapping[str, str],
    base: str = "",
    target: str = "",
    root: Path = ROOT,
) -> Comparison:
    """An estimate beside ``base``, a file or a revision.

    Without a base it is the last deployed state; where that can't be read, the revision ``target`` of the repository
    ``root``; and where neither can, there is no comparison and it says why.

    Raises :class:`CostBaseError` for a base that was named and isn't there.
    """
    if base:
        named = (
            estimate_of_file(now.stack, Path(base))
            if Path(base).is_file()
            else estimate_of_revision(now.stack, base, root)
        )
        return Comparison(now, named.estimate, named.label)
    try:
        state = estimate_of_state(now.stack, env)
        return Comparison(now, state.estimate, state.label)
    except CostBaseError as error:
        why = error.what
    try:
        branch = estimate_of_revision(now.stack, target, root)
        return Comparison(now, branch.estimate, branch.label, why_not_deployed=why)
    except CostBaseError as error:
        return Comparison(now, None, why_not_deployed=why, why_no_before=error.what)


def estimate_of_state(stack: str, env: Mapping[str, str]) -> CostBase:
    """The estimate that the last update wrote into the state, read by Pulumi. Raises :class:`CostBaseError`."""
    try:
        tools = find_tools(env)
        tools.require("pulumi", plugins=False)
        record = runner(stack, tools, env).outputs().get(OUTPUT)
    except (PrerequisiteError, PulumiError) as error:
        raise CostBaseError(error.what, error.remedy) from None
    except ValueError:
        raise CostBaseError(
            f"Pulumi's outputs of stack {stack} are no JSON", "see `pulumi stack output --json`"
        ) from None
    if record is None:
        raise CostBaseError(
            f"the state of stack {stack} holds no estimate: nothing was deployed, or by an older version",
            "the next `pulumi up` writes one",
        )
    return CostBase(_estimate(record, stack, f"the state of stack {stack}"), f"the last deployed state of {stack}")


def estimate_of_revision(stack: str, ref: str = "", root: Path = ROOT) -> CostBase:
    """What a revision's own program and stack file estimate, run on mocks in a process of its own.

    By default it is the target branch's, checked out by git into a temporary folder.

    Raises :class:`CostBaseError`.
    """
    name, commit = _resolved(root, [ref] if ref else list(TARGETS))
    with tempfile.TemporaryDirectory(prefix="devservers-cost-") as folder:
        content = _git(root, "archive", "--format=zip", commit)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        path = os.pathsep.join(str((Path(folder) / each).resolve()) for each in PACKAGES)
        module = "infra.deploy" if (Path(folder) / "infra" / "deploy").is_dir() else FORMER_MODULE
        run = [sys.executable, "-m", module, "preview", "--stack", stack, "--simulated", "-o", "json"]
        done = subprocess.run(
            run, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
    try:
        record = json.loads(done.stdout)["cost"]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1].strip()
        raise CostBaseError(
            f"{name} has no estimate of stack {stack}; it says: {said}", "name another revision"
        ) from None
    return CostBase(_estimate(record, stack, name), f"the estimate of {name} ({commit[:12]})")


def estimate_of_file(stack: str, path: Path) -> CostBase:
    """An estimate from a file: what `make cost OUTPUT=json` or `pulumi stack output cost --json` printed.

    Raises :class:`CostBaseError`.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CostBaseError(f"{path} can't be read: {error}", "make it with `make cost OUTPUT=json`") from None
    return CostBase(_estimate(record, stack, str(path)), str(path))


def _estimate(record: object, stack: str, where: str) -> Estimate:
    try:
        estimate = Estimate.from_record(record)
    except EstimateError as error:
        raise CostBaseError(f"{where} holds {error}", "compare with another one (BASE=)") from None
    if estimate.stack != stack:
        raise CostBaseError(
            f"{where} holds an estimate of stack {estimate.stack}", f"compare with one of {stack} (BASE=)"
        )
    return estimate


def _resolved(root: Path, refs: list[str]) -> tuple[str, str]:
    """The first revision that there is, and its commit."""
    for ref in refs:
        try:
            commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
            return ref, commit.decode().strip()
        except CostBaseError:
            continue
    raise CostBaseError(f"the repository has no revision {' or '.join(refs)}", "fetch it (git fetch), or name another")


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise CostBaseError(
            "git is not on this machine", "install it, or compare with a file (BASE=FILE.json)"
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise CostBaseError(f"git {arguments[0]} failed: {said}", "fix what the message names, or compare with a file")
    return done.stdout
