"""Tests where the cluster tests' kinds of volume snapshots come from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from devcluster import gotool
from devservers_core.paths import Paths
from infra.catalog.kubernetes import VERSIONS
from tests.support.cluster import snapshots


def test_pinned_definitions_are_of_the_controller_that_the_stacks_have() -> None:
    pin = (snapshots.PINS / "go.mod").read_text().split()[-1]
    assert {version.addons["snapshot-controller"].partition("-eksbuild")[0] for version in VERSIONS.values()} == {pin}
    assert f"{snapshots.MODULE} {pin} h1:" in (snapshots.PINS / "go.sum").read_text()


def test_definitions_are_downloaded_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, calls = tmp_path / "module.zip", []
    with zipfile.ZipFile(archive, "w") as made:
        for kind in snapshots.KINDS:
            made.writestr(f"{snapshots.MODULE}@v8/config/crd/{snapshots._file(kind)}", f"metadata: {{name: {kind}}}")

    def download(module: str, *_: object) -> tuple[Path, str, str]:
        calls.append(module)
        return archive, "v8", "h1:"

    monkeypatch.setattr(gotool, "module_zip", download)
    monkeypatch.setattr(snapshots, "current", lambda: Paths.of({"HOME": str(tmp_path)}))
    for _ in range(2):
        assert [each["metadata"]["name"] for each in snapshots.definitions()] == list(snapshots.KINDS)
    assert calls == [snapshots.MODULE]


def test_definitions_by_two_processes_at_once_are_those_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, paths = tmp_path / "module.zip", Paths.of({"HOME": str(tmp_path)})
    with zipfile.ZipFile(archive, "w") as made:
        for kind in snapshots.KINDS:
            made.writestr(f"{snapshots.MODULE}@v8/config/crd/{snapshots._file(kind)}", f"metadata: {{name: {kind}}}")
    depth: list[int] = []

    def download(module: str, *_: object) -> tuple[Path, str, str]:
        if not depth:
            depth.append(1)
            assert len(list(snapshots.definitions())) == len(snapshots.KINDS), "the other process"
        return archive, "v8", "h1:"

    monkeypatch.setattr(gotool, "module_zip", download)
    monkeypatch.setattr(snapshots, "current", lambda: paths)
    assert [each["metadata"]["name"] for each in snapshots.definitions()] == list(snapshots.KINDS)
    assert len(list(paths.tools.iterdir())) == 1
