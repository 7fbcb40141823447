"""Finds the tools of the local stack, and builds those that are missing.

A tool on PATH is used where a person may well have their own (pulumi, kubectl). Everything else is built from the
modules of devcluster/modules.py; one whose pin is unchanged is never built twice. The Go build cache is our own and is
dropped when the last tool is done: it is ten times the size of the tools. An interrupted build goes on where it
stopped, because the cache is only dropped at the end, or when the disk is too small for the next tool.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from devcluster import gotool
from devcluster.gotool import ToolchainError
from devcluster.modules import CHART, MODULES, MODULES_BUILT, Module
from devcluster.progress import Progress
from devservers_core.paths import Paths, current

FREE_GIB = 10
"""Disk that building the largest single tool needs. All of them together fill 14 GiB of build caches, measured."""

ALL_TAKES = "building every tool from source, once: 25 to 30 minutes on two idle cores, longer on busy ones"
_MINUTES = {
    "kubernetes": 4,
    "coredns": 2,
    "kube-router": 2,
    "kueue": 3,
    "pulumi": 15,
    "pulumi-language-python": 2,
    "pulumi-resource-kubernetes": 6,
}
"""About what a tool takes on two idle cores: its share of a build of all of them, rounded up where others of that build
had compiled a part of it before."""


def takes(todo: Sequence[Module]) -> str:
    """What is said before these tools are built: how many, and for how long."""
    if len(todo) == len(MODULES_BUILT):
        return ALL_TAKES
    minutes = sum(_MINUTES[module.name] for module in todo)
    return (
        f"building {len(todo)} of {len(MODULES_BUILT)} tools from source, once: about {minutes} minutes on two idle "
        "cores, longer on busy ones"
    )


def find(program: str, paths: Paths | None = None) -> Path | None:
    """Where a program is, or None.

    Looked for in ``$DEVSERVERS_TOOLS_DIR``, among the built tools, then on PATH.
    """
    override = os.environ.get("DEVSERVERS_TOOLS_DIR")
    if override and (Path(override) / program).exists():
        return Path(override) / program
    for module in MODULES_BUILT:
        if program in module.programs:
            built = module.folder(paths or current()) / program
            if built.exists():
                return built
    path = shutil.which(program)
    return Path(path) if path else None


def need(program: str, paths: Paths | None = None) -> Path:
    """Like :func:`find`, but a missing program is a :class:`ToolchainError`."""
    path = find(program, paths)
    if path is None:
        raise ToolchainError(f"{program} is not on this machine\n  run `make up`, which builds what is missing")
    return path


def chart(paths: Paths | None = None) -> Path:
    """The folder of Kueue's chart. Raises :class:`ToolchainError` when Kueue is not built."""
    return need("kueue", paths).parent / CHART


def find_uv(path: str | None, paths: Paths) -> Path | None:
    """uv, which Pulumi's language host calls: on PATH, beside this Python, or where the project keeps its own."""
    program = shutil.which("uv", path=path)
    places = [Path(program)] if program else []
    places += [Path(sys.executable).parent / "uv", paths.cache / "uv" / "bin" / "uv"]
    return next((place for place in places if place.exists()), None)


def _has_own_pulumi() -> bool:
    """A person's own installation counts only whole: engine and Python language host, able to fetch plugins."""
    return bool(shutil.which("pulumi") and shutil.which("pulumi-language-python"))


def missing(names: Iterable[str], paths: Paths) -> list[Module]:
    """The modules among ``names`` that have to be built."""
    own = _has_own_pulumi()
    modules = [module for module in MODULES_BUILT if module.name in set(names)]
    return [
        module
        for module in modules
        if not (module.on_path and own) and not all((module.folder(paths) / p).exists() for p in module.programs)
    ]


def _build(module: Module, paths: Paths, env: Mapping[str, str]) -> None:
    target = module.folder(paths)
    work = paths.cache / "build" / module.source
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(MODULES / module.source, work, ignore=shutil.ignore_patterns("*-embed.json"))
    if module.prepare:
        module.prepare(work / module.package, env)
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in module.variables)])
    main = module.programs[0] if len(module.programs) == 1 else module.name
    gotool.go(["build", "-ldflags", flags, "-o", str(partial / main), module.package], work, env)
    for program in module.programs:
        if program != main and not module.finish:
            (partial / program).symlink_to(main)
    if module.finish:
        module.finish(work, partial, env)
    shutil.rmtree(target, ignore_errors=True)
    # The folder gets its name only when everything is in it: a build that was cut off is never taken for a tool.
    partial.rename(target)
    shutil.rmtree(work, ignore_errors=True)


def _drop_caches(paths: Paths, progress: Progress) -> None:
    folder = paths.cache / "build"
    with progress.step("deleting the build caches"):  # gigabytes in small files: minutes on a slow disk
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                # Go makes its module cache read-only.
                path = Path(parent) / name
                if not path.is_symlink():
                    path.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)


def _make_room(paths: Paths, progress: Progress) -> None:
    """Drop the caches of the tools before when the next one would not fit beside them."""
    if _free_gib(paths) < FREE_GIB:
        _drop_caches(paths, progress)
    free = _free_gib(paths)
    if free < FREE_GIB:
        raise ToolchainError(
            f"{free:.0f} GiB are free where the tools are built ({paths.cache}), {FREE_GIB} are needed for a while\n"
            "  free some, or set XDG_CACHE_HOME to a larger disk"
        )


def _free_gib(paths: Paths) -> float:
    return shutil.disk_usage(paths.cache).free / 2**30


def ensure(names: Iterable[str], paths: Paths, progress: Progress) -> None:
    """Build what is missing of ``names`` (see :data:`devcluster.modules.ALL`), showing how far it is.

    Raises :class:`ToolchainError` when a tool can't be built or the disk is too small for the build caches.
    """
    todo = missing(names, paths)
    if not todo:
        return
    paths.cache.mkdir(parents=True, exist_ok=True)
    progress.say(takes(todo))
    _make_room(paths, progress)
    env = gotool.environment(paths, progress)
    for number, module in enumerate(todo, 1):
        _make_room(paths, progress)
        with progress.step(f"building {module.name}", f"tool {number} of {len(todo)}"):
            _build(module, paths, env)
    _drop_caches(paths, progress)
