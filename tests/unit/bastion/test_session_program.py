"""The session program as sshd starts it, against the audit process's real socket."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bastion.audit.server import AuditServer
from bastion.paths import Paths
from bastion.session.launcher import launcher_script
from devctl import __version__
from devservers_core.protocol.audit import encode_request
from tests.support.bastion.accounts import person
from tests.support.bastion.people import PACKAGES, SYSTEM_PYTHON
from tests.support.bastion.sockets import ROOT, SocketPeer, pod

pytestmark = pytest.mark.skipif(
    not (ROOT and SYSTEM_PYTHON.exists()), reason="runs as another user, with an interpreter that this user may read"
)
ANN = 20000
SOURCE = {"src_ip": "192.0.2.1", "src_port": 40022}


def run(command: str | None, known: bool = True, **settings: str) -> tuple[int, str, str, list[dict[str, Any]]]:
    """Exit code, standard output, standard error and audit lines of ann's session."""

    async def main(paths: Paths) -> tuple[int, str, str, list[dict[str, Any]]]:
        out = io.StringIO()
        server = AuditServer(paths, "bastion-0", out=out)
        async with await server.serve():
            supervisor = await SocketPeer.connect(paths.audit_socket)
            if known:
                await supervisor.ask(encode_request("conn_open", {"conn": "c1", "user": "ann", **SOURCE}))
            environ = {"USER": "ann", "SSH_CONNECTION": "192.0.2.1 40022 192.0.2.2 22", "LD_EVIL": "1"}
            if command is not None:
                environ["SSH_ORIGINAL_COMMAND"] = command
            process = await asyncio.create_subprocess_exec(
                str(_launcher(paths, settings)), env=environ, cwd="/", user=ANN, group=ANN, extra_groups=[],
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            shown, errors = await asyncio.wait_for(process.communicate(), 60)
            await supervisor.close()
            await asyncio.wait_for(server.wait_idle(), 10)
        assert process.returncode is not None
        return (
            process.returncode,
            shown.decode(),
            errors.decode(),
            [json.loads(line) for line in out.getvalue().splitlines()],
        )

    with pod([person("ann", ANN)]) as paths:
        return asyncio.run(main(paths))


def _launcher(paths: Paths, settings: dict[str, str]) -> Path:
    paths.session_settings.mkdir(parents=True)
    for name, value in settings.items():
        (paths.session_settings / name).write_text(value)
    launcher = paths.root / "session"
    launcher.write_text(launcher_script(paths, str(SYSTEM_PYTHON.resolve()), PACKAGES))
    launcher.chmod(0o755)
    return launcher


def test_session_runs_devctl_and_reports_it_from_start_to_end() -> None:
    code, shown, errors, lines = run("devctl version")
    assert (code, shown, errors) == (0, f"devctl {__version__}\n", "")
    names = [line["event"] for line in lines if not line["event"].startswith("conn")]
    assert names == ["session_start", "command_start", "command_end", "session_end"]
    assert {line["user"] for line in lines} == {"ann"}
    (start,) = (line for line in lines if line["event"] == "command_start")
    assert start["argv"] == ["devctl", "version"]


@pytest.mark.parametrize("command", ["cat /etc/passwd", "devctl credential", "devctl 'list", "kubectl get pods", ""])
def test_session_of_another_program_is_denied_on_record(command: str) -> None:
    code, shown, errors, lines = run(command)
    assert (code, shown) == (126, "")
    assert errors.count("\n") == 1
    (denied,) = (line for line in lines if line["event"] == "denied")
    assert denied["reason"] == errors.strip()
    assert "command_start" not in {line["event"] for line in lines}


def test_session_without_command_and_terminal_says_what_to_run() -> None:
    code, _, errors, _ = run(None)
    assert code == 126
    assert "there is no command and no terminal" in errors


def test_session_that_the_audit_process_refuses_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion.audit.server.WAIT_FOR_SSHD", 0.05)
    code, shown, errors, lines = run("devctl version", known=False)
    assert (code, shown, lines) == (77, "", [])
    assert "sshd has not told of this connection" in errors


def test_session_with_kubectl_switched_on_takes_its_listed_commands_only() -> None:
    code, _, errors, _ = run("kubectl edit pod x", kubectl="true")
    assert code == 126
    assert "kubectl" in errors
    assert "is not possible on the bastion" in errors
