"""Build the repository's images and put them where the cluster finds them; what is already there is left alone.

An image's tag is the hash of the files it is built from, so an unchanged checkout builds nothing, a second
``pulumi up`` sees no change, and a changed file is a new image. The base is made with
mmdebstrap from Debian's own archive, so that no registry is needed; a build elsewhere can name another one (BASE).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.local.cluster import Cluster
from infra.local.components import PAUSE_IMAGE
from infra.local.paths import ROOT, Paths
from infra.local.progress import Progress

REPOSITORY = "localhost/devservers"
BASE_SUITE = "trixie"
KEEP_FREE = 20 * 2**30
"""Bytes of free disk below which the build storage, with its layers, is dropped after a build."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class ImageError(RuntimeError):
    """An image can't be built or loaded. The message carries the end of the builder's output."""


@dataclass(frozen=True)
class Image:
    """One image: its name, Dockerfile, build context, and the files in the context that go into it."""

    name: str
    dockerfile: str
    context: str
    files: tuple[str, ...]
    based: bool = True

    def digest(self) -> str:
        """The hash of everything it is built from (12 hexadecimal digits)."""
        state = hashlib.sha256(BASE_SUITE.encode() if self.based else b"")
        for path in sorted(self._paths()):
            state.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
        return state.hexdigest()[:12]

    def _paths(self) -> Iterable[Path]:
        yield ROOT / self.dockerfile
        for name in self.files:
            path = ROOT / self.context / name
            if path.is_dir():
                yield from (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
            else:
                yield path


OPERATOR = Image("operator", "operator/Dockerfile", ".", ("pyproject.toml", "uv.lock", "operator/devservers"))
SSH = Image("ssh", "images/ssh/Dockerfile", "images/ssh", ("user.c", "devserver-init.c", "install.c"))
BASE = Image("base", "images/base/Dockerfile", "images/base", ())
BASTION = Image("bastion", "bastion/Dockerfile", ".", ("pyproject.toml", "uv.lock", "cli/devctl", "bastion"))
PLATFORM = (SSH, BASE, OPERATOR, BASTION)
"""In the order they are built: what changes least comes first."""


@dataclass(frozen=True)
class Built:
    """An image that was built: what a pod names it by, and the OCI archive it lies in."""

    reference: str
    archive: Path


class Builder:
    """Builds images with buildah, without a daemon, in a storage folder of our own."""

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self.paths = paths
        self.progress = progress
        self.storage = paths.cache / "buildah"

    def build(self, images: Iterable[Image]) -> dict[str, Built]:
        """Build what is missing and drop the archives of older versions; what there is now, by image name."""
        wanted = {image: self._built(image) for image in images}
        todo = [image for image, built in wanted.items() if not built.archive.exists()]
        for number, image in enumerate(todo, 1):
            with self.progress.step(f"building image {image.name}", f"image {number} of {len(todo)}"):
                self._build(image, wanted[image])
        if shutil.disk_usage(self.paths.cache).free < KEEP_FREE:
            shutil.rmtree(self.storage, ignore_errors=True)
        return {image.name: built for image, built in wanted.items()}

    def _built(self, image: Image) -> Built:
        # Named once a run: files that are edited while an image is built belong to the next one.
        digest = image.digest()
        return Built(f"{REPOSITORY}/{image.name}:{digest}", self.paths.images / f"{image.name}-{digest}.tar")

    def pause(self) -> Built:
        """The pause image, made from Debian's static catatonit."""
        archive = self.paths.images / "pause-1.tar"
        if not archive.exists():
            with self.progress.step("building image pause"):
                context = self.paths.cache / "pause"
                context.mkdir(parents=True, exist_ok=True)
                shutil.copyfile("/usr/bin/catatonit", context / "catatonit")
                (context / "catatonit").chmod(0o755)
                shutil.copyfile(ROOT / "images/pause/Dockerfile", context / "Dockerfile")
                self._buildah("bud", "--isolation=chroot", "-t", PAUSE_IMAGE, str(context))
                self._push(PAUSE_IMAGE, archive)
                shutil.rmtree(context)
        return Built(PAUSE_IMAGE, archive)

    def _build(self, image: Image, built: Built) -> None:
        arguments = ["bud", "--isolation=chroot", "--layers", "-f", str(ROOT / image.dockerfile)]
        if image.based:
            arguments.append(f"--build-arg=BASE={self._base()}")
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
        for old in self.paths.images.glob(f"{image.name}-*.tar"):
            if old != built.archive:
                old.unlink()

    def _base(self) -> str:
        """The local stand-in for ``debian:trixie-slim``: the same packages, from Debian's own archive."""
        name = f"{REPOSITORY}/debian:{BASE_SUITE}"
        if self._buildah("images", "-q", name, check=False).strip():
            return name
        root = self.paths.images / f"debian-{BASE_SUITE}.tar"
        if not root.exists():
            root.parent.mkdir(parents=True, exist_ok=True)
            partial = root.with_suffix(".partial.tar")
            _run(["mmdebstrap", "--variant=minbase", "--include=ca-certificates", BASE_SUITE, str(partial)])
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
        self._buildah("push", "-q", reference, f"oci-archive:{partial}:{reference}")
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


def load(cluster: Cluster, images: Iterable[Built], progress: Progress) -> None:
    """Import what the embedded cluster does not have."""
    ctr = ("ctr", "-n", "k8s.io", "images")
    present = set(cluster.enter(*ctr, "ls", "-q").stdout.split())
    for image in images:
        if image.reference not in present:
            with progress.step(f"loading image {image.reference.rpartition('/')[2]}"):
                # Through standard input: the archive's folder may not be visible inside the node.
                cluster.enter(*ctr, "import", "-", stdin_file=image.archive)


def load_into_context(context: str, images: Iterable[Built], progress: Progress) -> None:
    """Hand the images to a k3d, kind or minikube cluster with its own command."""
    kind, _, name = context.partition("-")
    commands = {
        "k3d": ["k3d", "image", "import", "--cluster", name],
        "kind": ["kind", "load", "image-archive", "--name", name],
        "minikube": ["minikube", "image", "load"],
    }
    for image in images:
        with progress.step(f"loading image {image.reference.rpartition('/')[2]} into {context}"):
            _run([*commands[kind], str(image.archive)])
