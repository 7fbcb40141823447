"""Installs the kinds of volume snapshots, as the snapshot controller's own definitions have them.

Go downloads the pinned module and holds it against go.sum (devcluster/tools/snapshots). Its definitions are kept beside
the toolchain, so that a machine that has them needs no network.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from devcluster import gotool
from devcluster.modules import MODULES
from devcluster.progress import Progress
from devservers_core.paths import Paths, current
from devservers_core.types import Json
from tests.support.cluster.client import Client, plural
from tests.support.cluster.kinds import install_kinds, remove_kinds

MODULE = "github.com/kubernetes-csi/external-snapshotter/client/v8"
PINS = MODULES / "snapshots"
GROUP = "snapshot.storage.k8s.io"
VERSION = f"{GROUP}/v1"
KINDS = ("VolumeSnapshot", "VolumeSnapshotClass")


def definitions() -> Iterator[Json]:
    """The CustomResourceDefinitions of KINDS."""
    folder = _folder(current())
    for kind in KINDS:
        yield yaml.safe_load((folder / _file(kind)).read_text())


def install_snapshots(admin: Client) -> None:
    """The kinds, served."""
    install_kinds(admin, definitions(), VERSION, KINDS)


def remove_snapshots(admin: Client) -> None:
    """No such kinds, as on a cluster that never had them; those of another test go too."""
    remove_kinds(admin, (f"{plural(kind)}.{GROUP}" for kind in KINDS), VERSION, KINDS)


def _folder(paths: Paths) -> Path:
    """The folder with the definitions, which this fills the first time. Raises ToolchainError."""
    folder = paths.tools / f"snapshot-kinds-{hashlib.sha256((PINS / 'go.sum').read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        progress = Progress()
        archive, version, _ = gotool.module_zip(MODULE, PINS, gotool.environment(paths, progress))
        paths.tools.mkdir(parents=True, exist_ok=True)
        partly = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=paths.tools))
        with zipfile.ZipFile(archive) as opened:
            for kind in KINDS:
                (partly / _file(kind)).write_bytes(opened.read(f"{MODULE}@{version}/config/crd/{_file(kind)}"))
        try:
            partly.rename(folder)
        except OSError:  # another process of the tests was faster
            shutil.rmtree(partly)
            if not folder.exists():
                raise
    return folder


def _file(kind: str) -> str:
    return f"{GROUP}_{plural(kind)}.yaml"
