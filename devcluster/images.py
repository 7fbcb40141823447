"""Builds container images into archives that a cluster loads.

What an image is made of, and so its tag, is the caller's to say (:class:`Image`). The base is made with mmdebstrap from
Debian's own archive, so that no registry is needed; a build elsewhere can name another one (BASE).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devcluster import ROOT, modules, toolchain
from devcluster.cluster import Cluster
from devcluster.node.components import PAUSE_IMAGE
from devcluster.progress import Progress
from devservers_core.names import LOCAL_IMAGES
from devservers_core.paths import Paths

KEEP_FREE = 20 * 2**30
"""Bytes of free disk below which the build storage, with its layers, is dropped after a build."""
_KEPT_SECONDS = 3600
"""How long the archive of another version stays: another checkout may be loading it into its cluster."""
_LOADS_AT_ONCE = 2
"""Images that the embedded cluster imports at a time; each takes one processor."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Image(Protocol):
    """An image to build, and the hash of the files it is built from."""

    @property
    def name(self) -> str:
        """The last part of its reference."""

    @property
    def dockerfile(self) -> str:
        """The Dockerfile's path in the repository."""

    @property
    def context(self) -> str:
        """The build context's path in the repository."""

    @property
    def suite(self) -> str | None:
        """The Debian suite of its base (build argument BASE), or None when it has no such base."""

    @property
    def parent(self) -> Image | None:
        """The image of this project that it is built from (build argument BASE), or None."""

    def digest(self) -> str:
        """The hash, which is its tag."""


class ImageError(RuntimeError):
    """An image can't be built or loaded. The message carries the end of the builder's output."""


def reference_of(image: Image) -> str:
    """What a pod of a local cluster names an image by, built or not; it changes with the files."""
    return f"{LOCAL_IMAGES}/{image.name}:{image.digest()}"


PAUSE, KUEUE = "pause", "kueue"
"""Images of a program that is not in this repository."""


def kueue_tag(paths: Paths) -> str:
    """Names the controller's build and the Dockerfile: what a changed one of either makes another image."""
    pinned = toolchain.need("kueue", paths).parent.name.encode()
    dockerfile = (ROOT / "images" / KUEUE / "Dockerfile").read_bytes()
    return f"{modules.KUEUE}-{hashlib.sha256(pinned + dockerfile).hexdigest()[:12]}"


@dataclass(frozen=True)
class Built:
    """An image that was built: what a pod names it by, and the OCI archive it lies in."""

    reference: str
    archive: Path

    @property
    def short(self) -> str:
        """NAME:TAG, without the repository."""
        return _short(self.reference)


class Builder:
    """Builds images with buildah, without a daemon, in a storage folder of our own."""

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self.paths = paths
        self.progress = progress
        self.storage = paths.cache / "buildah"

    def build(self, images: Iterable[Image]) -> dict[str, Built]:
        """Build what is missing and drop the archives of older versions; what there is now, by image name.

        An image's parent is among `images`, before it.
        """
        builds = {image: self._built(image) for image in images}
        todo = [image for image, built in builds.items() if not built.archive.exists()]
        for number, image in enumerate(todo, 1):
            with self.progress.step(f"building image {image.name}", f"image {number} of {len(todo)}"):
                self._build(image, builds[image])
        if shutil.disk_usage(self.paths.cache).free < KEEP_FREE and self.storage.exists():
            with self.progress.step("deleting the layers of the image builds"):
                shutil.rmtree(self.storage, ignore_errors=True)
        return {image.name: built for image, built in builds.items()}

    def _built(self, image: Image) -> Built:
        # Named once a run: files that are edited while an image is built belong to the next one.
        reference = reference_of(image)
        return Built(reference, self.paths.images / f"{_short(reference).replace(':', '-')}.tar")

    def pause(self) -> Built:
        """The pause image, made from Debian's static catatonit."""
        return self._wrap(PAUSE, PAUSE_IMAGE.rpartition(":")[2], Path("/usr/bin/catatonit"))

    def kueue(self) -> Built:
        """The image of Kueue's controller, which must have been built."""
        return self._wrap(KUEUE, kueue_tag(self.paths), toolchain.need("kueue", self.paths))

    def _wrap(self, name: str, tag: str, program: Path) -> Built:
        """An image of one static program of this machine, which its Dockerfile knows by its file's name."""
        built = Built(f"{LOCAL_IMAGES}/{name}:{tag}", self.paths.images / f"{name}-{tag}.tar")
        if not built.archive.exists():
            with self.progress.step(f"building image {name}"):
                context = self.paths.cache / name
                context.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(program, context / program.name)
                (context / program.name).chmod(0o755)
                shutil.copyfile(ROOT / "images" / name / "Dockerfile", context / "Dockerfile")
                self._buildah("bud", "--isolation=chroot", "-t", built.reference, str(context))
                self._push(built.reference, built.archive)
                shutil.rmtree(context)
                self._drop_others(name, built)
        return built

    def _build(self, image: Image, built: Built) -> None:
        arguments = ["bud", "--isolation=chroot", "--layers", "-f", str(ROOT / image.dockerfile)]
        if image.parent:
            # The archive outlives the build storage.
            parent = self._built(image.parent)
            arguments.append(f"--build-arg=BASE=oci-archive:{parent.archive}:{parent.reference}")
        elif image.suite:
            arguments.append(f"--build-arg=BASE={self._base(image.suite)}")
        if CERTIFICATES.exists():
            # Mounted for the build, never part of the image.
            arguments += [
                "-v",
                f"{CERTIFICATES}:{CERTIFICATES}:ro",
                f"--build-arg=SSL_CERT_FILE={CERTIFICATES}",
            ]
        arguments += ["-t", built.reference, str(ROOT / image.context)]
        self._buildah(*arguments)
        self._push(built.reference, built.archive)
        self._drop_others(image.name, built)

    def _drop_others(self, name: str, built: Built) -> None:
        """Delete the archives of an image's other versions, but for those made lately."""
        for other in self.paths.images.glob(f"{name}-*.tar"):
            if other != built.archive and other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                other.unlink(missing_ok=True)

    def _base(self, suite: str) -> str:
        """The local stand-in for ``debian:SUITE-slim``: the same packages, from Debian's own archive."""
        name = f"{LOCAL_IMAGES}/debian:{suite}"
        if self._buildah("images", "-q", name, check=False).strip():
            return name
        root = self.paths.images / f"debian-{suite}.tar"
        if not root.exists():
            root.parent.mkdir(parents=True, exist_ok=True)
            partial = root.with_suffix(".partial.tar")
            _run(["mmdebstrap", "--variant=minbase", "--include=ca-certificates", suite, str(partial)])
            partial.rename(root)
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", container, str(root), "/")
        self._buildah(
            "config",
            "--cmd",
            "bash",
            "--env",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            container,
        )
        self._buildah("commit", "--rm", container, name)
        return name

    def _push(self, reference: str, archive: Path) -> None:
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        # zstd packs and unpacks with less processor time than gzip.
        format = ("--compression-format", "zstd")
        self._buildah("push", "-q", *format, reference, f"oci-archive:{partial}:{reference}")
        partial.rename(archive)

    def _buildah(self, *arguments: str, check: bool = True) -> str:
        # A mount namespace of its own: a build that is killed leaves no mount behind.
        folders = [
            f"--root={self.storage / 'root'}",
            f"--runroot={self.storage / 'run'}",
            "--storage-driver=overlay",
        ]
        return _run(["unshare", "--mount", "buildah", *folders, *arguments], check)


def _run(command: list[str], check: bool = True) -> str:
    env = dict(os.environ) | {"TMPDIR": os.environ.get("TMPDIR", "/var/tmp")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=env)
    if check and done.returncode:
        raise ImageError(f"{' '.join(command[:8])} … failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
    return done.stdout


def _short(reference: str) -> str:
    return reference.rpartition("/")[2]


def load(cluster: Cluster, images: Iterable[Built], progress: Progress) -> None:
    """Import what the embedded cluster does not have, two images at a time."""
    ctr = ("ctr", "-n", "k8s.io", "images")
    present = set(cluster.enter(*ctr, "ls", "-q").stdout.split())
    missing = [image for image in images if image.reference not in present]
    if not missing:
        return
    # The largest first: it takes about as long as all others together.
    missing.sort(key=lambda image: image.archive.stat().st_size, reverse=True)

    def load_one(image: Built) -> None:
        # Through standard input: the archive's folder may not be visible inside the node.
        cluster.enter(*ctr, "import", "-", stdin_file=image.archive)

    names = ", ".join(image.short.partition(":")[0] for image in missing)
    with progress.step(f"loading images: {names}"), ThreadPoolExecutor(_LOADS_AT_ONCE) as pool:
        # All end before an error is raised: nothing is imported any more when the command has ended.
        list(pool.map(load_one, missing))


def load_into_context(context: str, images: Iterable[Built], progress: Progress) -> None:
    """Hand the images to a k3d, kind or minikube cluster with its own command."""
    kind, _, name = context.partition("-")
    commands = {
        "k3d": ["k3d", "image", "import", "--cluster", name],
        "kind": ["kind", "load", "image-archive", "--name", name],
        "minikube": ["minikube", "image", "load"],
    }
    for image in images:
        with progress.step(f"loading image {image.short} into {context}"):
            _run([*commands[kind], str(image.archive)])
