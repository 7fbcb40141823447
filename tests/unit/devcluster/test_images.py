"""Images are named by what they are built from."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import pytest

from devcluster import ROOT, modules
from devcluster import images as local_images
from devcluster.cluster import Cluster, ClusterError
from devcluster.progress import Progress
from devservers_core.paths import Paths
from infra.catalog import images


@pytest.mark.parametrize("image", images.PLATFORM, ids=lambda image: image.name)
def test_every_file_that_a_dockerfile_copies_is_part_of_its_name(image: images.Image) -> None:
    lines = [line.split() for line in (ROOT / image.dockerfile).read_text().splitlines()]
    copied = [word for line in lines if line[:1] == ["COPY"] and "--from" not in line[1] for word in line[1:-1]]
    assert set(copied) == set(image.files)


def test_a_changed_file_is_another_image(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("1")
    image = images.Image("x", "Dockerfile", ".", ("tree",))
    first = image.digest(tmp_path)
    assert image.digest(tmp_path) == first
    (tmp_path / "tree" / "a").write_text("2")
    second = image.digest(tmp_path)
    (tmp_path / "tree" / "a").rename(tmp_path / "tree" / "b")
    assert len({first, second, image.digest(tmp_path)}) == 3


@pytest.mark.parametrize("image", images.PLATFORM, ids=lambda image: image.name)
def test_no_image_is_given_a_secret_or_fetches_past_the_packages(image: images.Image) -> None:
    text = (ROOT / image.dockerfile).read_text()
    assert "password" not in text.lower()
    assert "http://" not in text
    assert "https://" not in text


def test_the_operator_does_not_run_as_root() -> None:
    assert "USER 65532:65532" in (ROOT / images.OPERATOR.dockerfile).read_text().splitlines()


@pytest.mark.parametrize(("name", "program"), [(local_images.PAUSE, "catatonit"), (local_images.KUEUE, "kueue")])
def test_an_image_of_one_program_copies_it_and_nothing_else(name: str, program: str) -> None:
    lines = (ROOT / "images" / name / "Dockerfile").read_text().splitlines()
    assert "FROM scratch" in lines
    assert [line.split()[1] for line in lines if line.startswith("COPY")] == [program]


def test_another_build_of_kueue_is_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = []
    for build in ("kueue-1", "kueue-2"):
        (tmp_path / build).mkdir()
        (tmp_path / build / "kueue").touch()
        monkeypatch.setenv("DEVSERVERS_TOOLS_DIR", str(tmp_path / build))
        tags.append(local_images.kueue_tag(Paths.of({"HOME": str(tmp_path)})))
    assert len(set(tags)) == 2
    assert all(tag.startswith(f"{modules.KUEUE}-") for tag in tags)


class FakeCluster(Cluster):
    """A cluster whose node has the image `there`; `imported` is called with the name of each archive."""

    def __init__(self, folder: Path, imported: Callable[[str], None]) -> None:
        super().__init__(folder)
        self._imported = imported

    def enter(self, *argv: str, stdin_file: Path | None = None) -> subprocess.CompletedProcess[str]:
        if stdin_file is not None:
            self._imported(stdin_file.stem)
        return subprocess.CompletedProcess(argv, 0, "localhost/devservers/there:1\n", "")


def _built(folder: Path, name: str, size: int) -> local_images.Built:
    archive = folder / f"{name}.tar"
    archive.write_bytes(b"." * size)
    return local_images.Built(f"localhost/devservers/{name}:1", archive)


def test_load_imports_missing_images_two_at_a_time_the_largest_first(tmp_path: Path) -> None:
    both, imported, said = Barrier(2, timeout=20), [], io.StringIO()

    def note(name: str) -> None:
        imported.append(name)
        both.wait()

    sizes = {"small": 1, "there": 9, "largest": 5, "middle": 3, "less": 2}
    built = [_built(tmp_path, name, size) for name, size in sizes.items()]
    local_images.load(FakeCluster(tmp_path, note), built, Progress(said))
    assert set(imported[:2]) == {"largest", "middle"}
    assert set(imported[2:]) == {"less", "small"}
    assert "loading images: largest, middle, less, small" in said.getvalue()


def test_load_with_every_image_there_says_nothing(tmp_path: Path) -> None:
    said = io.StringIO()
    local_images.load(FakeCluster(tmp_path, pytest.fail), [_built(tmp_path, "there", 1)], Progress(said))
    assert said.getvalue() == ""


def test_load_that_fails_raises_the_clusters_error(tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise ClusterError(f"ctr failed inside the node: {name}")

    with pytest.raises(ClusterError, match="inside the node: broken"):
        local_images.load(FakeCluster(tmp_path, refuse), [_built(tmp_path, "broken", 1)], Progress(io.StringIO()))


def test_build_keeps_the_archive_that_another_checkout_made_lately(tmp_path: Path) -> None:
    builder = local_images.Builder(Paths.of({"HOME": str(tmp_path)}), Progress())
    builder.paths.images.mkdir(parents=True)
    own, lately, before = (builder.paths.images / f"agent-{tag}.tar" for tag in ("own", "lately", "before"))
    for archive in (own, lately, before):
        archive.touch()
    os.utime(before, (0, 0))
    builder._drop_others("agent", local_images.Built("localhost/devservers/agent:own", own))
    assert sorted(builder.paths.images.iterdir()) == [lately, own]
