"""What is built, what is found, and what a person sees of it. No test here builds anything."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from devcluster import ROOT, gotool, modules, toolchain
from devcluster import progress as progress_module
from devcluster.progress import LOG_EVERY, Progress, duration
from devservers_core.paths import Paths
from tests.support.wait import eventually


class Usage(NamedTuple):
    """What shutil.disk_usage answers, in bytes."""

    total: int
    used: int
    free: int


PINNED = re.compile(r"^\t?(?:require )?(\S+) (v\S+)", re.M)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("DEVSERVERS_TOOLS_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Paths.of({"HOME": str(tmp_path)})


def _pretend_built(module: modules.Module, paths: Paths) -> Path:
    folder = module.folder(paths)
    folder.mkdir(parents=True)
    for program in module.programs:
        (folder / program).touch()
    return folder


def test_on_a_bare_machine_everything_is_missing(paths: Paths) -> None:
    names = modules.ALL
    assert {module.name for module in toolchain.missing(names, paths)} == set(names)


def test_what_is_built_is_found_and_not_missing(paths: Paths) -> None:
    for module in modules.MODULES_BUILT:
        folder = _pretend_built(module, paths)
        assert toolchain.find(module.programs[-1], paths) == folder / module.programs[-1]
    assert toolchain.missing(modules.ALL, paths) == []
    assert toolchain.chart(paths).parent == toolchain.need("kueue", paths).parent


def test_a_build_that_was_cut_off_is_missing(paths: Paths) -> None:
    module = next(m for m in modules.MODULES_BUILT if m.name == "kubernetes")
    folder = _pretend_built(module, paths)
    (folder / "kubelet").unlink()
    assert toolchain.missing(["kubernetes"], paths) == [module]


def test_a_persons_own_pulumi_is_used_when_it_is_whole(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("pulumi", "pulumi-language-python"):
        assert [m.name for m in toolchain.missing(modules.ENGINE, paths)] == list(modules.ENGINE)
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    assert toolchain.missing(modules.ENGINE, paths) == []
    assert toolchain.find("pulumi", paths) == tmp_path / "bin" / "pulumi"


def test_a_missing_program_is_one_line_and_a_remedy(paths: Paths) -> None:
    with pytest.raises(gotool.ToolchainError, match=r"kubelet is not on this machine\n  run `make up`"):
        toolchain.need("kubelet", paths)


def test_too_little_disk_is_said_before_anything_is_built(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "FREE_GIB", 10**9)
    with pytest.raises(gotool.ToolchainError, match="GiB are free where the tools are built"):
        toolchain.ensure(["coredns"], paths, Progress(io.StringIO()))


def test_the_caches_of_earlier_tools_make_room_for_the_next(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = paths.cache / "build" / "go-mod" / "x"
    cache.mkdir(parents=True)
    (cache / "read-only").touch()
    cache.chmod(0o555)  # as Go leaves its module cache

    def usage(path: Path) -> Usage:
        return Usage(0, 0, 2**30 if (paths.cache / "build").exists() else 2**40)

    monkeypatch.setattr("shutil.disk_usage", usage)
    toolchain._make_room(paths, Progress(io.StringIO()))
    assert not (paths.cache / "build").exists()


@pytest.mark.parametrize("module", modules.MODULES_BUILT, ids=lambda module: module.name)
def test_every_module_is_pinned_with_its_sums(module: modules.Module) -> None:
    folder = modules.MODULES / module.source
    required = PINNED.findall((folder / "go.mod").read_text())
    sums = (folder / "go.sum").read_text()
    assert required
    assert sums.count("h1:") > 50


def test_versions_named_in_python_are_those_of_the_modules() -> None:
    kubernetes = (modules.MODULES / "cluster" / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{modules.KUBERNETES}\n" in kubernetes
    assert f"pulumi/sdk/v3 v{modules.PULUMI}" in (modules.MODULES / "pulumi" / "go.mod").read_text()
    assert f"sigs.k8s.io/kueue v{modules.KUEUE} " in (modules.MODULES / "kueue" / "go.mod").read_text()
    provider = (modules.MODULES / "pulumi-resource-kubernetes" / "go.mod").read_text()
    assert f"pulumi-kubernetes/sdk/v4 v{modules.PULUMI_KUBERNETES}" in provider


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0s"), (9.94, "9.9s"), (12.4, "12s"), (185, "3m05s"), (3600, "60m00s")]
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_progress_in_a_log_says_what_where_and_how_it_ended() -> None:
    out = io.StringIO()
    progress = Progress(out)
    with progress.step("building coredns", "tool 2 of 6"):
        pass
    with pytest.raises(ValueError, match="no"), progress.step("loading"):
        raise ValueError("no")
    first, second = out.getvalue().splitlines()
    assert re.fullmatch(r"  ✓ building coredns \(tool 2 of 6\)  0\.\ds", first)
    assert second.startswith("  ✗ loading")


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def test_progress_leaves_the_lines_of_what_prints_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulumi's own lines on a terminal: ours come between them, at most half a minute apart, and rewrite none."""
    assert LOG_EVERY <= 30
    monkeypatch.setattr(progress_module, "LOG_EVERY", 0.02)
    out = Terminal()
    with Progress(out).step("provisioning", prints=True):
        eventually(lambda: out.getvalue().count("  … provisioning") >= 2, "two lines", 10, 0.005, report=out.getvalue)
    assert "\r" not in out.getvalue()
    assert out.getvalue().endswith("\n")


def test_deleting_the_build_caches_is_a_step_with_lines_of_its_own(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was silent for five minutes on a slow disk."""
    monkeypatch.setattr(progress_module, "LOG_EVERY", 0.02)
    out = io.StringIO()
    (paths.cache / "build").mkdir(parents=True)
    remove = shutil.rmtree

    def slow(path: Path, ignore_errors: bool = False) -> None:
        eventually(
            lambda: "  … deleting the build caches" in out.getvalue(), "the line", 10, 0.005, report=out.getvalue
        )
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", slow)
    toolchain._drop_caches(paths, Progress(out))
    assert not (paths.cache / "build").exists()
    assert "  ✓ deleting the build caches" in out.getvalue()


def test_a_cold_start_says_how_long_it_takes_before_it_builds(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "missing", lambda names, paths: list(modules.MODULES_BUILT))
    monkeypatch.setattr(toolchain, "FREE_GIB", 10**9)
    out = io.StringIO()
    with pytest.raises(gotool.ToolchainError):
        toolchain.ensure(modules.ALL, paths, Progress(out))
    assert out.getvalue().splitlines()[0] == toolchain.ALL_TAKES
    assert "25 to 30 minutes" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("kueue", "pulumi"), "building 2 of 7 tools from source, once: about 18 minutes on two idle cores"),
        (("coredns",), "building 1 of 7 tools from source, once: about 2 minutes on two idle cores"),
    ],
)
def test_build_of_some_tools_says_how_long_it_takes_before_it_builds(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], said: str
) -> None:
    todo = [module for module in modules.MODULES_BUILT if module.name in names]
    monkeypatch.setattr(toolchain, "missing", lambda names, paths: todo)
    monkeypatch.setattr(toolchain, "FREE_GIB", 10**9)
    out = io.StringIO()
    with pytest.raises(gotool.ToolchainError):
        toolchain.ensure(modules.ALL, paths, Progress(out))
    assert out.getvalue().splitlines()[0] == f"{said}, longer on busy ones"


def test_every_tool_has_a_time() -> None:
    assert all(len(toolchain.takes([module]).split()) > 5 for module in modules.MODULES_BUILT)
