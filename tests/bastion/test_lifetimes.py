"""Lifetime of bastion sessions: drain, revocation, crashes and resource limits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devservers_core.client import kubeconfig
from tests.support.bastion.bastion import Client, Replica, World, dev_server, read_until, server, user
from tests.support.wait import eventually

REVOKED_SECONDS = 10.0
"""Until a live session of a withdrawn key is over."""
SHELL = "echo ready; cat"


def _two_people(fresh: World, *arguments: str) -> tuple[Client, Replica]:
    client, replica = fresh.client, fresh.replica()
    replica.put([user(client, "ann", 20000), user(client, "bob", 20001)], [server("mydev", "ann")])
    replica.start(*arguments)
    return client, replica


def test_killed_replica_ends_its_own_sessions_only(fresh: World) -> None:
    client, replica = _two_people(fresh)
    other = fresh.replica()
    other.put([user(client, "ann", 20000), user(client, "bob", 20001)])
    other.start()
    with client.start(replica, "ann", SHELL) as lost, client.start(other, "bob", SHELL) as kept:
        for each in (lost, kept):
            read_until(each, "ready")
        replica.kill()
        lost.wait(timeout=5)
        assert client.run(other, "ann", "echo back").stdout == "back\n"
        assert kept.communicate("still here\n", timeout=10)[0] == "still here\n"
    ends = ("conn_close", "session_end")
    eventually(lambda: all(replica.events(each) for each in ends), "the conn_close of the lost connection")
    # The two ends come over two sockets that the kernel closes at once: their order is no rule, what they say is.
    (began,), (session,), (connection,) = (replica.events(each) for each in ("session_start", *reversed(ends)))
    assert (session["session"], session["conn"]) == (began["session"], connection["conn"])
    assert session["user"] == connection["user"] == "ann"
    assert connection["reason"] == "lost"
    assert session["reason"] in ("lost", "closed"), "which of the two ends was seen first"
    assert {each["event"] for each in replica.events()[-2:]} == set(ends)


def test_drain_lets_an_open_shell_and_copy_finish(fresh: World, tmp_path: Path) -> None:
    client, replica = _two_people(fresh, "--drain-seconds", "60")
    (tmp_path / "up").write_bytes(os.urandom(4_000_000))
    with (
        dev_server(fresh),
        client.start(replica, "ann", SHELL) as shell,
        client.start(replica, "bob", "-tt") as terminal,
    ):
        read_until(shell, "ready")
        assert terminal.stdin is not None
        terminal.stdin.write("echo on a terminal\n")
        read_until(terminal, "on a terminal")
        with _copy(client, replica, fresh, tmp_path) as copy:
            eventually(lambda: replica.events("forward_open"), "a tunnel", report=lambda: replica.log)
            os.kill(replica.first_process(), signal.SIGTERM)
            eventually(lambda: replica.ready()[0] == 503, "not ready")
            assert replica.page("/healthz")[0] == 200
            read_until(terminal, "This bastion restarts. Your session goes on until")
            assert client.run(replica, "bob", "id").returncode == 255
            assert copy.wait(timeout=50) == 0
        assert (fresh.folder / "copied").read_bytes() == (tmp_path / "up").read_bytes()
        assert shell.communicate("still here\n", timeout=10)[0] == "still here\n"
        assert terminal.communicate("exit\n", timeout=10)[0].rstrip().endswith("exit")
    assert replica.processes[-1].wait(timeout=20) == 0
    assert not replica.events("revoked")
    assert [each["reason"] for each in replica.events("drain")] == ["begins, at most 60 s", "over"]
    assert len(replica.events("conn_open")) == len(replica.events("conn_close"))


def test_drain_past_its_time_ends_the_session(fresh: World) -> None:
    client, replica = _two_people(fresh, "--drain-seconds", "2")
    with client.start(replica, "ann", SHELL) as shell:
        read_until(shell, "ready")
        os.kill(replica.first_process(), signal.SIGTERM)
        shell.wait(timeout=15)
    assert replica.processes[-1].wait(timeout=20) == 0
    assert [each["reason"] for each in replica.events("session_end")] == ["drain"]


def test_drain_without_the_supervisor_cuts_every_connection(fresh: World) -> None:
    """Guards the supervisor: this is what would happen without it."""
    client, replica = fresh.client, fresh.replica()
    replica.put([user(client, "ann", 20000)])
    replica.start()
    config = replica.paths.sshd / "sshd_config"
    replica.kill()
    replica.processes.pop().wait()
    replica.start_supervisor(command=["/usr/sbin/sshd", "-D", "-e", "-f", str(config)])
    eventually(lambda: replica.log.count("Server listening") > 1, "sshd")
    master = fresh.folder / "master"
    # Without a session: those begin with the supervisor's word only.
    with client.start(replica, "ann", "-N", "-M", "-S", str(master)) as tunnel:
        eventually(master.exists, "a login")
        os.kill(replica.first_process(), signal.SIGTERM)
        assert tunnel.wait(timeout=10) == 255


@pytest.mark.parametrize("program", ["accounts", "audit", "broker", "supervisor"])
def test_sigterm_during_start_ends_the_program(fresh: World, program: str) -> None:
    """As the first process of a container, which ignores a signal that it has no handler for."""
    replica = fresh.replica()
    config = fresh.folder / "kubeconfig"
    cluster = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
    kubeconfig.write(config, kubeconfig.document("x", cluster, {"token": "x"}))
    asks = ["--kubeconfig", str(config)] if program in ("accounts", "broker") else []
    # A supervisor that has begun drains: nobody is there to wait for.
    asks += ["--deregister-seconds", "0", "--drain-seconds", "0"] if program == "supervisor" else []
    replica.start_supervisor(command=[replica.python, "-m", "bastion", program, *asks])
    first = replica.first_process()

    def handled() -> bool:
        caught = int(Path(f"/proc/{first}/status").read_text().partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    eventually(handled, "a handler")
    os.kill(first, signal.SIGTERM)
    assert replica.processes[-1].wait(timeout=20) == 0, replica.log


def test_sshd_that_crashes_is_restarted_and_sessions_continue(fresh: World) -> None:
    client, replica = _two_people(fresh)
    with client.start(replica, "ann", SHELL) as shell:
        read_until(shell, "ready")
        inside = Path(f"/proc/{replica.first_process()}/task/{replica.first_process()}/children").read_text().split()
        (sshd,) = [pid for pid in inside if b"sshd" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(sshd), signal.SIGKILL)
        eventually(lambda: "starting it again" in replica.log and replica.ready()[0] == 200, "ready again", 15)
        assert client.run(replica, "bob", "echo in").stdout == "in\n"
        assert shell.communicate("still here\n", timeout=10)[0] == "still here\n"


def test_sshd_that_cannot_start_is_retried_until_it_runs(fresh: World) -> None:
    client, replica = fresh.client, fresh.replica()
    replica.put([user(client, "ann", 20000)])
    programs = fresh.folder / "programs"
    programs.mkdir()
    sshd = programs / "sshd"
    sshd.write_text('#!/bin/sh\nexec /usr/sbin/sshd "$@"\n')
    sshd.chmod(0o755)
    replica.programs = str(programs)
    replica.start()
    sshd.chmod(0o644)
    inside = Path(f"/proc/{replica.first_process()}/task/{replica.first_process()}/children").read_text().split()
    os.kill(int(inside[0]), signal.SIGKILL)
    eventually(lambda: replica.log.count("sshd cannot be started") > 1, "two tries", report=lambda: replica.log)
    assert replica.ready() == (503, "sshd is not listening\n")
    sshd.chmod(0o755)
    eventually(lambda: replica.ready()[0] == 200, "ready again", 15, report=lambda: replica.log)
    assert client.run(replica, "ann", "echo in").stdout == "in\n"


def test_supervisor_without_file_descriptors_closes_new_connections_and_recovers(fresh: World) -> None:
    client, replica = _two_people(fresh)
    first = replica.first_process()
    free = max(int(entry.name) for entry in Path(f"/proc/{first}/fd").iterdir()) + 1
    before = resource.prlimit(first, resource.RLIMIT_NOFILE)
    resource.prlimit(first, resource.RLIMIT_NOFILE, (free, before[1]))
    with client.start(replica, "ann", "-N") as tunnel:
        # A sweep runs out of them as well: hers has when she is on record, because that is when she is followed.
        short = "Too many open files"
        eventually(lambda: short in replica.log and replica.events("conn_open", user="ann"), "ann without a descriptor")
        resource.prlimit(first, resource.RLIMIT_NOFILE, before)
        assert tunnel.wait(timeout=15) == 255
    eventually(lambda: replica.events("conn_close", user="ann"), "conn_close", report=lambda: replica.log)
    assert replica.page("/healthz") == (200, "ok\n")
    with client.start(replica, "bob", "-N") as tunnel:
        eventually(lambda: replica.events("conn_open", user="bob"), "bob")
        replica.put([user(client, "ann", 20000)])
        assert tunnel.wait(timeout=REVOKED_SECONDS) == 255


def test_connection_missing_from_sshds_log_is_closed(fresh: World, tmp_path: Path) -> None:
    """As it would be with another OpenSSH, whose lines have another form."""
    client, replica = fresh.client, fresh.replica()
    replica.put([user(client, "ann", 20000)])
    programs = fresh.folder / "programs"
    programs.mkdir()
    sshd = programs / "sshd"
    sshd.write_text("#!/bin/bash\nexec 2> >(sed -u 's/Accepted publickey/Let in/' >&2)\nexec /usr/sbin/sshd \"$@\"\n")
    sshd.chmod(0o755)
    replica.programs = str(programs)
    replica.start()
    with client.start(replica, "ann", SHELL) as shell, client.start(replica, "ann", "-N") as tunnel:
        # A session is told no, unless it is ended before.
        assert shell.wait(timeout=20) in (77, 255)
        assert tunnel.wait(timeout=20) == 255
    assert not replica.events("session_start")
    assert "sshd's log did not tell of" in replica.log
    eventually(lambda: not _processes_of(20000, replica), "no process of theirs")


Change = Callable[[Client, Replica], None]


def _key_removed(client: Client, replica: Replica) -> None:
    replica.put([user(client, "ann", 20000, sshPublicKeys=[client.public("new")]), user(client, "bob", 20001)])


def _person_deleted(client: Client, replica: Replica) -> None:
    replica.put([user(client, "bob", 20001)])


def _person_suspended(client: Client, replica: Replica) -> None:
    replica.put([user(client, "ann", 20000, suspended=True), user(client, "bob", 20001)])


def _key_moved(client: Client, replica: Replica) -> None:
    both = [client.public("bob"), client.public("ann")]
    replica.put([user(client, "ann", 20000, sshPublicKeys=[]), user(client, "bob", 20001, sshPublicKeys=both)])


def _key_ends(client: Client, replica: Replica) -> None:
    soon = f"{datetime.now(UTC) + timedelta(seconds=3):%Y-%m-%dT%H:%M:%SZ}"
    key = {"name": "laptop", "key": client.public("ann"), "expires": soon}
    replica.put([user(client, "ann", 20000, sshKeys=[key]), user(client, "bob", 20001)])


@pytest.mark.parametrize("change", [_key_removed, _person_deleted, _person_suspended, _key_moved, _key_ends])
def test_withdrawn_key_ends_its_sessions_and_tunnels(fresh: World, change: Change) -> None:
    client, replica = _two_people(fresh)
    master = str(fresh.folder / "master")
    with (
        client.start(replica, "ann", "-tt") as terminal,
        client.start(replica, "ann", "-N", "-M", "-S", master) as tunnel,
        client.start(replica, "bob", SHELL) as other,
    ):
        assert terminal.stdin is not None
        terminal.stdin.write("trap '' HUP TERM; echo re''ady\n")
        read_until(terminal, "ready")
        read_until(other, "ready")
        eventually(Path(master).exists, "the shared connection")
        shared = [*client.options("ssh", "ann"), "-S", master, "x", "echo shared"]
        assert subprocess.run(shared, capture_output=True, text=True, check=True).stdout == "shared\n"
        change(client, replica)
        begin = time.monotonic()
        # A line on the terminal first, then the end; also for a program that does not want to.
        said = read_until(terminal, "This session ends now.")
        assert "your account was removed" in said or "the key you logged in with" in said
        for each in (terminal, tunnel):
            each.wait(timeout=REVOKED_SECONDS)
        assert time.monotonic() - begin < REVOKED_SECONDS
        assert client.run(replica, "ann", "echo in").returncode == 255
        if change is _key_moved:
            assert client.run(replica, "bob", "id -u", key="ann").stdout == "20001\n"
        assert other.communicate("still here\n", timeout=10)[0] == "still here\n"
    eventually(lambda: len(replica.events("conn_close", user="ann")) == 2, "both closed", report=lambda: replica.log)
    assert {each["reason"] for each in replica.events("conn_close", user="ann")} == {"revoked"}
    assert [each["reason"] for each in replica.events("session_end", user="ann", kind="shell")] == ["revoked"]
    assert len(replica.events("revoked")) == 2
    assert not _processes_of(20000, replica)


def test_login_without_the_audit_process_is_refused(fresh: World) -> None:
    client, replica = _two_people(fresh)
    with client.start(replica, "bob", "-tt") as before:
        assert before.stdin is not None
        before.stdin.write("echo re''ady\n")
        read_until(before, "ready")
        replica.kill_audit()
        read_until(before, "The audit log is away: this session goes on, new ones are refused.")
        assert replica.ready() == (503, "the audit process is away\n")
        done = client.run(replica, "ann", "echo in")
        assert (done.returncode, done.stdout) == (77, "")
        tunnel = subprocess.run(client.ssh(replica, "ann", "-N"), capture_output=True, timeout=15, check=False)
        assert tunnel.returncode == 255
        replica.start_audit()
        replica.processes.insert(0, replica.processes.pop())
        eventually(lambda: replica.ready()[0] == 200, "ready again")
        assert client.run(replica, "ann", "echo in").stdout == "in\n"
        # What is open is told to an audit process that knows nothing yet.
        assert len(replica.events("conn_open", user="bob")) == 2
        before.stdin.write("echo still he''re\n")
        read_until(before, "still here")


def _copy(client: Client, replica: Replica, fresh: World, tmp_path: Path) -> subprocess.Popen[bytes]:
    """An scp to the dev server through the bastion that takes some seconds."""
    command = client.options("scp", "ann")
    proxy = " ".join([*client.options("ssh", "ann"), "-p", str(replica.port), "-W", "%h:%p", "ann@127.0.0.1"])
    target = f"root@mydev.dev-ann.svc.cluster.local:{fresh.folder}/copied"
    return subprocess.Popen(
        [*command, "-l", "8000", f"-oProxyCommand={proxy}", str(tmp_path / "up"), target], stdin=subprocess.DEVNULL
    )


def _processes_of(uid: int, replica: Replica) -> list[str]:
    """In this pod: on a node others may well work under the same uid."""
    pod = Path(f"/proc/{replica.first_process()}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").readlink() == pod and f"\nUid:\t{uid}\t" in (entry / "status").read_text():
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found


HOLD = "python3 -c \"x = bytearray(150 << 20); print('ready', flush=True); input()\""


def test_user_over_the_memory_limit_loses_the_largest_sessions_at_once(fresh: World) -> None:
    """One connection at a time, with seconds between, let a burst take the memory of everybody."""
    client, replica = _two_people(fresh)
    with ExitStack() as stack:
        # One by one: the limit is passed by the third, and only the largest go.
        held = [stack.enter_context(client.start(replica, "ann", HOLD)) for _ in range(4)]
        other = stack.enter_context(client.start(replica, "bob", SHELL))
        read_until(other, "ready")
        eventually(lambda: len(replica.events("denied")) > 1, "two ends")
        ended = replica.events("denied")
        first, second = (datetime.fromisoformat(each["ts"]) for each in ended[:2])
        assert second - first < timedelta(seconds=3), "the next sweep is a second later"
        assert all("more than 384 MiB" in each["reason"] for each in ended)
        eventually(lambda: sum(each.poll() is not None for each in held) == 2, "two of four gone", 20)
        assert other.communicate("still here\n", timeout=10)[0] == "still here\n"
        assert len(replica.events("denied")) == 2
