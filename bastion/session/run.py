"""Runs one devctl or kubectl command under limits and reports it.

Invariant: every command that is run is on record before its first instruction, and when it has ended with its code
if the audit process is there then.

devctl runs in a copy of this process, which has an interpreter already; kubectl by execve. Neither is given anything
but its words, the terminal and the fixed environment.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic

from bastion.session.audit_client import AuditSession, AuditUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_OURS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2)
"""What a terminal or sshd sends to the whole process group: the command should end on this signal, and this process
must then report that."""
CPU_SECONDS = 600
"""Processor time of one command: enough to pass some ten GiB through `devctl exec`."""
LIMITS = {
    "RLIMIT_DATA": (160 << 20, 160 << 20),
    "RLIMIT_NOFILE": (256, 256),
    "RLIMIT_CORE": (0, 0),
    # SIGXCPU first, which Go programs ignore, and then SIGKILL.
    "RLIMIT_CPU": (CPU_SECONDS, CPU_SECONDS + 2),
}
"""Of one command, in bytes, files and seconds: memory and processors of the container are everybody's. What kubectl,
a Go program, reserves without writing there does not count. A person has at most four commands at once
(bastion.audit.command_slots), so that they take at most 640 MiB before the supervisor looks at them.
"""
GO_MEMORY = "96MiB"
"""Heap size from which kubectl gives memory back to the system (Go runtime, GOMEMLIMIT)."""
NICE = 10
"""Below logins and everybody's prompts."""
MAX_STDIN_BYTES = 4 << 20
"""Bytes that kubectl is given on standard input for `-f -`; it holds many times as much, and no object is larger."""


def run(argv: list[str], env: dict[str, str], audit: AuditSession) -> int:
    """Runs one command; its exit code, 128+n after a signal.

    Raises AuditUnavailableError before anything was run, never after.
    """
    audit.report("command_start", argv=argv)
    began = monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    before = [signal.signal(each, _ignore_signal) for each in _OURS]
    try:
        child = os.fork()
        if not child:
            _run_in_child(argv, env, audit)
        code, used = _wait_child(child)
    finally:
        for each, handler in zip(_OURS, before, strict=True):
            signal.signal(each, handler)
    if code == 128 + signal.SIGXCPU or (code == 128 + signal.SIGKILL and used >= CPU_SECONDS):
        sys.stderr.write(
            f"error: the command used {CPU_SECONDS} seconds of processor time here, which is the limit, and was ended\n"
            "  try: run it in a server, or ask for less at once; copy large files with scp or rsync\n"
        )
    fields: dict[str, object] = {"exit": code, "duration_ms": int((monotonic() - began) * 1000)}
    if code > 128:
        fields["signal"] = _signal_name(code - 128)
    try:
        audit.report("command_end", argv=argv, **fields)
    except AuditUnavailableError:
        sys.stderr.write("warning: the command has run, but its end is not on record: the audit log does not answer\n")
    return code


def _ignore_signal(number: int, frame: FrameType | None) -> None:
    """Does nothing: the command got the same signal."""


def _wait_child(child: int) -> tuple[int, float]:
    """The exit code and the seconds of processor time."""
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code, used.ru_utime + used.ru_stime


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _run_in_child(argv: list[str], env: dict[str, str], audit: AuditSession) -> None:
    """The part of the child process; it never returns."""
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
    """Sets LIMITS and NICE for this process and what it starts; limits that are lower already stay."""
    import resource

    for name, bound in LIMITS.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        soft, most = (each if hard == resource.RLIM_INFINITY else min(each, hard) for each in bound)
        resource.setrlimit(which, (soft, most))
    os.nice(max(0, NICE - os.nice(0)))


def _devctl(argv: list[str]) -> int:
    from devctl.__main__ import main

    main(argv[1:])
    return 0


def _kubectl(argv: list[str], env: dict[str, str]) -> int:
    import shutil

    from bastion.session.kubectl import kubeconfig
    from devctl import broker_client
    from devservers_core.errors import REFUSED, CommandError
    from devservers_core.protocol.broker import TokenRequest

    if not _bounded_stdin(argv):
        sys.stderr.write(
            f"error: kubectl takes at most {MAX_STDIN_BYTES >> 20} MiB on standard input here; no object is larger\n"
            "  try: send the objects in several commands; copy files to a server with scp\n"
        )
        return REFUSED
    program, devctl = (shutil.which(name, path=env["PATH"]) for name in ("kubectl", "devctl"))
    if not program or not devctl:
        sys.stderr.write("error: kubectl is not in this bastion's image\n  try: `devctl --help` lists what there is\n")
        return 127
    try:
        grant = broker_client.send_request(env["DEVCTL_BROKER"], TokenRequest())
    except CommandError as failure:
        sys.stderr.write(f"error: {failure.what}\n  try: {failure.remedy}\n")
        return failure.code
    # A file without a name: it is gone with the process.
    handle = os.memfd_create("kubeconfig", 0)
    os.write(handle, kubeconfig(devctl, grant))
    return os.execve(program, argv, {**env, "KUBECONFIG": f"/proc/self/fd/{handle}", "GOMEMLIMIT": GO_MEMORY})


def _bounded_stdin(argv: list[str]) -> bool:
    """Gives kubectl what it may read; False when that is more than MAX_STDIN_BYTES.

    exec passes it on to the pod in small pieces. No other command reads it but for `-f -`, or to ask a person.
    """
    from bastion.session.kubectl import reads_objects

    if argv[1:2] == ["exec"]:
        return True
    if not reads_objects(argv):
        if not os.isatty(0):
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return True
    file = os.memfd_create("stdin")
    size = 0
    while data := os.read(0, 65536):
        size += len(data)
        if size > MAX_STDIN_BYTES:
            return False
        os.write(file, data)
    os.lseek(file, 0, os.SEEK_SET)
    os.dup2(file, 0)
    return True
