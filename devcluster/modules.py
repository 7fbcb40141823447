"""The tools and the pinned Go modules they are built from.

Invariant: each pinned version is built in its own folder.

The cluster's tools share one module: what they have in common they need in one version and compile once, a third of
their packages. (Pulumi's provider needs an older release of Pulumi's own libraries than its engine does, so those stay
apart.)
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster import ROOT
from devcluster.gotool import module_folder
from devservers_core.paths import Paths

MODULES = ROOT / "devcluster" / "tools"
KUBERNETES = "1.34.4"
PULUMI = "3.259.0"
PULUMI_KUBERNETES = "4.25.0"
KUEUE = "0.18.2"
CHART = "chart"
"""What the folder with Kueue's chart is called, beside the controller."""


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

    def folder(self, paths: Paths) -> Path:
        """Where its programs are when it is built."""
        digest = hashlib.sha256()
        source = MODULES / self.source
        files = [source / "go.mod", source / "go.sum", source / self.package / "main.go"]
        for file in (file for file in files if file.exists()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        digest.update(repr((self.package, self.variables)).encode())
        return paths.tools / f"{self.name}-{digest.hexdigest()[:12]}"


def _embed_schema(folder: Path, env: Mapping[str, str]) -> None:
    """The two files the provider embeds: its schema with the version filled in, and its mapping, without spaces."""
    source = module_folder("github.com/pulumi/pulumi-kubernetes/provider/v4", folder, env)
    source = source / "cmd" / "pulumi-resource-kubernetes"
    schema = json.loads((source / "schema.json").read_text())
    schema["version"] = PULUMI_KUBERNETES
    (folder / "schema-embed.json").write_text(json.dumps(schema, separators=(",", ":")))
    mapping = json.loads((source / "terraform-mapping.json").read_text())
    (folder / "terraform-mapping-embed.json").write_text(json.dumps(mapping, separators=(",", ":")))


def _copy_chart(folder: Path, target: Path, env: Mapping[str, str]) -> None:
    """Kueue's module holds its chart; it lies beside the controller, whose version it is for."""
    source = module_folder("sigs.k8s.io/kueue", folder, env) / "charts" / "kueue"
    # Helm keeps a whole chart in a Secret with each release: what it doesn't render stays out.
    shutil.copytree(source, target / CHART, ignore=shutil.ignore_patterns("tests", "README*", "OWNERS"))
    for path in [target / CHART, *(target / CHART).rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # Go makes its module cache read-only


def _copy_exec(folder: Path, target: Path, env: Mapping[str, str]) -> None:
    """pulumi-language-python-exec is a Python script that the SDK module carries; it lies beside the host."""
    script = module_folder("github.com/pulumi/pulumi/sdk/v3", folder, env)
    name = "pulumi-language-python-exec"
    shutil.copyfile(script / "python" / "cmd" / name, target / name)
    (target / name).chmod(0o755)


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
