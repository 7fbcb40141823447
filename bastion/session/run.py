"""Invariant: every command that is run is on record before its first instruction, and when it has ended with its code
if the audit process is there then.

devctl runs in a copy of this process, which has an interpreter already; kubectl by execve. Neither is given anything
but its words, the terminal and the fixed environment.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic

from bastion.session.audit import Audit, NoAudit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_OURS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2)
"""What a terminal or sshd sends to all of us: the command is to end of it, and we are to say that it did."""
LIMITS = {"RLIMIT_DATA": 256 << 20, "RLIMIT_NOFILE": 256, "RLIMIT_CORE": 0}
"""Of one command, in bytes and files: the memory of the container is everybody's. What kubectl, a Go program, reserves
without writing there does not count.
"""


def run(argv: list[str], env: dict[str, str], audit: Audit) -> int:
    """Runs one command; its exit code, 128+n after a signal. Raises NoAudit before anything was run, never after."""
    audit.tell("command_start", argv=argv)
    began = monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    before = [signal.signal(each, _heard) for each in _OURS]
    try:
        child = os.fork()
        if not child:
            _become(argv, env, audit)
        code = _wait(child)
    finally:
        for each, handler in zip(_OURS, before, strict=True):
            signal.signal(each, handler)
    fields: dict[str, object] = {"exit": code, "duration_ms": int((monotonic() - began) * 1000)}
    if code > 128:
        fields["signal"] = _name(code - 128)
    try:
        audit.tell("command_end", argv=argv, **fields)
    except NoAudit:
        sys.stderr.write("warning: the command has run, but its end is not on record: the audit log does not answer\n")
    return code


def _heard(number: int, frame: FrameType | None) -> None:
    """Nothing: the command was sent the same."""


def _wait(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _become(argv: list[str], env: dict[str, str], audit: Audit) -> None:
    """The copy's part, from which nothing returns."""
    code = 1
    try:
        audit.close()
        limit()
        for each in _OURS:
            signal.signal(each, signal.SIG_DFL)
        # There is nobody here who could go on with a stopped command.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        os.environ.clear()
        os.environ.update(env)
        code = _devctl(argv) if argv[0] == "devctl" else _kubectl(argv, env)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException as error:
        sys.stderr.write(f"error: {type(error).__name__}: {error}\n")
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            code = 141
        os._exit(code & 255)


def limit() -> None:
    """Holds this process, and what it starts, to LIMITS or to what it is held to already."""
    import resource

    for name, most in LIMITS.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def _devctl(argv: list[str]) -> int:
    sys.argv = argv
    from devctl.__main__ import main

    main()
    return 0


def _kubectl(argv: list[str], env: dict[str, str]) -> int:
    import shutil

    from bastion.session.kubectl import kubeconfig
    from devctl import broker
    from devctl.errors import Failure

    program, devctl = (shutil.which(name, path=env["PATH"]) for name in ("kubectl", "devctl"))
    if not program or not devctl:
        sys.stderr.write("error: kubectl is not in this bastion's image\n  try: `devctl --help` lists what there is\n")
        return 127
    try:
        grant = broker.ask(env["DEVCTL_BROKER"], {"want": "token"})
    except Failure as failure:
        sys.stderr.write(f"error: {failure.what}\n  try: {failure.todo}\n")
        return failure.code
    # A file without a name: it is gone with the process.
    handle = os.memfd_create("kubeconfig", 0)
    os.write(handle, kubeconfig(devctl, grant))
    return os.execve(program, argv, {**env, "KUBECONFIG": f"/proc/self/fd/{handle}"})
