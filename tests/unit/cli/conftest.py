"""devctl in this process, alone and against an API server in memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devctl import app
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Done, Run


class _Terminal(io.StringIO):
    """A person at the keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs devctl's main() in this process, which saves half a second each time."""
    for name in [n for n in os.environ if n.startswith(("DEVCTL_", "XDG_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "ann")

    def call(*words: str, **env: str) -> Done:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["devctl", *words])
        with pytest.raises(SystemExit) as caught:
            app.main(words)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(caught.value.code or 0), out, err)

    return call


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """An API server with a flavor and nothing else."""
    server = ApiServer()
    server.put("/version", gitVersion="v1.35.0")
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    server.put("/apis/devservers.io/v1/devserverflavors/cpu-small", spec={"resources": resources})
    yield server
    server.close()


@pytest.fixture
def devctl(run: Run, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs devctl as the user ann of that API server; `typed` is what she answers at a terminal."""
    kubeconfig = str(api.kubeconfig(tmp_path))

    def call(*words: str, code: int = 0, typed: str | None = None, **env: str) -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else _Terminal(typed))
        done = run(*words, KUBECONFIG=kubeconfig, DEVCTL_USER="ann", **env)
        assert done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    return call
