"""What sshd runs for every session on the bastion, whatever the client asked for.

Invariant: nothing is done before the audit process has answered, and what is done is devctl or kubectl.
"""

from __future__ import annotations

import os
import sys

from bastion.session.audit_client import AuditSession, AuditUnavailableError, BusyError
from bastion.session.command_line import for_audit, parse_command
from bastion.session.environment import connection_source, session_environment
from bastion.session.errors import CommandRefusedError
from bastion.session.exit_codes import BUSY, NOT_ON_RECORD, NOT_POSSIBLE
from devservers_core.names import HOST_CA_ENTRY

SUBSYSTEM = "sftp-server"
"""What sshd gives as the command of the subsystem sftp (bastion.sshd_config)."""


def main(audit_socket: str, broker_socket: str, settings: str) -> int:
    """The exit code of the session.

    The paths of two sockets and of the settings' folder are the launcher's.
    """
    given = dict(os.environ)
    audit = AuditSession(audit_socket)
    text = given.get("SSH_ORIGINAL_COMMAND")
    kubectl = setting(settings, "kubectl") == "true"  # not there when nobody says so
    env = session_environment(given, broker_socket, setting(settings, "address"), setting(settings, HOST_CA_ENTRY))
    try:
        if text is None and os.isatty(0):
            from bastion.session.prompt import run_prompt

            return run_prompt(audit, env, connection_source(given), kubectl)
        argv = _argv(text, kubectl, audit, given)
        if argv is None:
            return NOT_POSSIBLE
        start: dict[str, object] = {"kind": "exec", "argv": argv, **connection_source(given)}
        if os.isatty(0):
            size = os.get_terminal_size(0)
            start |= {"columns": size.columns, "rows": size.lines}
        audit.start(**start)
        if audit.record:
            from bastion.session.recorded import run_recorded

            return run_recorded(audit, lambda: _run(argv, env, audit))
        return _run(argv, env, audit)
    except AuditUnavailableError as refusal:
        print_error(str(refusal))
        return NOT_ON_RECORD


def _run(argv: list[str], env: dict[str, str], audit: AuditSession) -> int:
    from bastion.session.run import run

    try:
        return run(argv, env, audit)
    except BusyError as refusal:
        print_error(str(refusal))
        return BUSY


def _argv(text: str | None, kubectl: bool, audit: AuditSession, given: dict[str, str]) -> list[str] | None:
    try:
        if text is None:
            raise CommandRefusedError("there is no command and no terminal; try `ssh USER@BASTION devctl list`")
        return parse_command(text, kubectl)
    except CommandRefusedError as refusal:
        argv = for_audit(text or "")
        audit.start(kind="denied", argv=argv, **connection_source(given))
        audit.report("denied", kind="denied", argv=argv, reason=str(refusal))
        if text == SUBSYSTEM and not os.isatty(0):
            from bastion.session.sftp import refuse

            refuse(lambda size: os.read(0, size), lambda data: os.write(1, data), str(refusal))
        else:
            print_error(str(refusal))
        return None


def setting(folder: str, name: str) -> str:
    """What the stack says, by a file of a mounted ConfigMap; "" where it says nothing."""
    try:
        with open(f"{folder}/{name}", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would cost more than the rest
            return file.read(4096).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def print_error(text: str) -> None:
    """One line to the person."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
