"""A line at the prompt that is interrupted before its command runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from bastion.session import prompt as prompt_module
from bastion.session.audit_client import AuditSession
from bastion.session.prompt import Prompt
from devctl.command_table import COMMANDS, GROUPS


def test_prompt_interrupted_while_the_audit_process_is_asked_begins_a_new_record(tmp_path: Path) -> None:
    """Its answer comes all the same, and is not the one to the next request."""
    heard: list[list[str]] = []

    def answer(server: socket.socket) -> None:
        for session in range(2):
            peer, _ = server.accept()
            heard.append([])
            with peer, peer.makefile("rwb") as lines:
                for line in lines:
                    event = json.loads(line)["event"]
                    heard[-1].append(event)
                    if session == 0 and event == "command_start":
                        os.kill(os.getpid(), signal.SIGINT)
                    else:
                        lines.write(b'{"ok": true}\n')
                        lines.flush()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "audit"))
        server.listen()
        server.settimeout(30)
        answering = threading.Thread(target=answer, args=(server,))
        answering.start()
        audit = AuditSession(str(tmp_path / "audit"))
        prompt = Prompt(audit, {"PATH": "/usr/bin:/bin", "HOME": "/"}, kubectl=False)
        prompt.start = {"kind": "shell", "argv": []}
        audit.start(**prompt.start)
        assert prompt._run_line("devctl version", 0) == 130
        assert prompt._run_line("devctl version", 0) == 0
        audit.close()
        answering.join(30)
    assert heard == [["session_start", "command_start"], ["session_start", "command_start", "command_end"]]


@pytest.mark.parametrize(
    ("line", "text", "offered"),
    [
        ([], "vers", "version"),
        (["devctl"], "vers", "version"),
        (["keys"], "", "add"),
        (["ssh"], "my", "mydev"),
        (["create"], "", ""),
        (["create", "x"], "", "cpu-small"),
        (["create", "x", "--flavor"], "", "cpu-small"),
        (["create", "x"], "--home", "--home-size"),
        (["list", "-o"], "", "json"),
        (["list"], "--o", "--output"),
        (["kubectl", "get"], "", ""),
    ],
)
def test_prompt_completion_offers_what_may_follow(
    line: list[str], text: str, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"servers": ["mydev"], "flavors": ["cpu-small"]}

    def listed(env: dict[str, str], what: str) -> list[str]:
        return prompt_module._options(what.split()[1]) if what.startswith("options ") else found[what]

    monkeypatch.setattr(prompt_module, "_fetch_names", listed)
    prompt = Prompt(AuditSession("/nowhere"), {}, kubectl=True)
    prompt._commands = {**dict.fromkeys(COMMANDS, ()), **{name: tuple(subs) for name, subs in GROUPS.items()}}
    shown = [word for word in prompt._offered(line, text) if word.startswith(text)]
    assert offered in shown if offered else not shown
