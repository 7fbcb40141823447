"""Commands and the prompt of a bastion session: devctl, and nothing else."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from devctl import __version__
from tests.support.bastion.bastion import AUDIT_UID, Replica, World, user
from tests.support.bastion.people import ship
from tests.support.bastion.terminal import LONGEST, at_a_terminal, ended
from tests.support.leaks import LEAKS, SECRETS
from tests.support.wait import eventually


@contextmanager
def _mute(path: Path) -> Iterator[socket.socket]:
    """A socket where nobody answers: who asks there hangs until the connection that a test accepts is closed."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        path.chmod(0o666)
        mute.listen()
        mute.settimeout(LONGEST)
        yield mute


@pytest.fixture
def replica(fresh: World) -> Replica:
    """A bastion that ann may log in to."""
    found = fresh.replica()
    found.put([user(fresh.client, "ann", 20000)])
    ship(found, kubectl="true")
    found.start()
    return found


def test_session_command_runs_and_is_audited(fresh: World, replica: Replica) -> None:
    done = fresh.client.run(replica, "ann", "devctl", "version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"devctl {__version__}\n", "")
    eventually(lambda: replica.events("session_end"), "session_end")
    names = [each["event"] for each in replica.events() if not each["event"].startswith("conn")]
    assert names == ["session_start", "command_start", "command_end", "session_end"]
    (start,), (end,) = replica.events("session_start"), replica.events("command_end")
    assert start["argv"] == ["devctl", "version"]
    assert start["kind"] == "exec"
    assert start["conn"]
    assert end["exit"] == 0
    assert end["duration_ms"] >= 0


def test_session_command_passes_exit_code_and_streams(fresh: World, replica: Replica) -> None:
    done = fresh.client.run(replica, "ann", "devctl", "lst")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean list" in done.stderr
    assert fresh.client.run(replica, "ann", "version").stdout == f"devctl {__version__}\n"
    done = fresh.client.run(replica, "ann", "devctl --help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: devctl")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("bash", "'bash' is not possible here"),
        ("sh -c 'devctl list'", "'sh' is not possible here"),
        ("devctl list; id", None),
        ("devctl version && id", None),
        ("devctl version | id", None),
        ("devctl $(id)", None),
        ("`id`", "'`id`' is not possible here"),
        ("devctl 'list", "quotes of this command do not match"),
        ("devctl version\nid", "one line of text"),
        ("/usr/local/bin/devctl version", "is not possible here"),
        ("kubectl edit pods", "kubectl 'edit' is not possible"),
        ("kubectl get pods --kubeconfig /dev/stdin", "kubectl --kubeconfig is not possible"),
        ("devctl list --kubeconfig /dev/stdin", "one cluster, no kubeconfig"),
        ("devctl ssh mydev -o ProxyCommand=id", "is not possible on the bastion"),
        ("devctl credential", "kubectl's own"),
        ("scp -t .", "copy to a server instead"),
        ("rsync --server . .", "copy to a server instead"),
        ("", "there is no command"),
    ],
)
def test_session_command_other_than_devctl_is_refused(
    fresh: World, replica: Replica, command: str, says: str | None
) -> None:
    done = fresh.client.run(replica, "ann", command) if command else fresh.client.run(replica, "ann")
    assert done.returncode not in (0, 255), done
    assert "uid=" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) <= 2
    if says:
        assert says in done.stderr
    eventually(lambda: replica.events("session_end"), "session_end")
    assert replica.events("session_start")


@pytest.mark.parametrize("command", ["kubectl --token SECRET get pods", "kubectl --token SECRET get 'pods"])
def test_refused_command_is_audited_without_its_secrets(fresh: World, replica: Replica, command: str) -> None:
    assert fresh.client.run(replica, "ann", command).returncode == 126
    (denied,) = eventually(lambda: replica.events("denied"), "denied")
    assert denied["argv"][:4] == ["kubectl", "--token", "***", "get"]
    assert not [line for line in replica.lines() if "SECRET" in line]


def test_audit_of_a_command_line_hides_its_secrets(fresh: World, replica: Replica) -> None:
    """The words of the attack and a pasted private key, in every event that has a command's words."""
    for words in LEAKS:
        fresh.client.run(replica, "ann", shlex.join(["devctl", "exec", "x", "--", *words]))
    key = fresh.client.key("pasted").read_text()
    fresh.client.run(replica, "ann", f"devctl keys add laptop '{key}'")
    fresh.client.run(replica, "ann", shlex.join(["devctl", "keys", "add", "laptop", " ".join(key.split())]))
    fresh.client.run(replica, "ann", f'devctl create x -e PIN="a {SECRETS[0]}')  # refused: a quote is open
    eventually(lambda: len(replica.events("session_end")) == len(LEAKS) + 3, "all sessions")
    assert {each["event"] for each in replica.events() if "argv" in each} >= {
        "session_start", "command_start", "command_end", "denied",
    }  # fmt: skip
    text = "\n".join(replica.lines())
    assert not [secret for secret in (*SECRETS, *key.splitlines()[1:-1]) if secret in text]


@pytest.mark.parametrize("words", [["scp"], ["scp", "-O"], ["sftp"]])
def test_scp_and_sftp_to_the_bastion_are_refused_with_a_hint(
    fresh: World, replica: Replica, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "file").write_text("x")
    program, *more = words
    command = [*fresh.client.options(program, "ann"), *more, "-P", str(replica.port)]
    command += ["ann@127.0.0.1"] if program == "sftp" else [str(tmp_path / "file"), "ann@127.0.0.1:"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    # scp has words of its own for what an SFTP server says of a file; sftp and the old scp pass ours on.
    says = "Permission denied" if words == ["scp"] else "nothing is kept on the bastion; copy to a server instead"
    assert says in done.stderr
    (denied,) = eventually(lambda: replica.events("denied"), "denied")
    assert "nothing is kept" in denied["reason"]


def test_session_without_the_audit_process_runs_nothing(fresh: World, replica: Replica) -> None:
    replica.paths.audit_socket.rename(replica.paths.audit_socket.with_suffix(".away"))
    done = fresh.client.run(replica, "ann", "devctl", "version")
    assert done.returncode == 77
    assert done.stdout == ""
    assert "the audit log does not answer" in done.stderr


def test_session_with_a_silent_audit_process_is_refused(fresh: World, replica: Replica) -> None:
    replica.paths.audit_socket.unlink()
    with _mute(replica.paths.audit_socket):
        begin = time.monotonic()
        done = fresh.client.run(replica, "ann", "devctl", "version")
    assert done.returncode == 77
    assert done.stdout == ""
    assert time.monotonic() - begin < 20


def test_signal_to_a_command_is_its_exit_code(fresh: World, replica: Replica) -> None:
    """The broker's socket is one that nobody answers on, so that devctl hangs there."""
    with _mute(replica.paths.broker_socket) as mute, fresh.client.start(replica, "ann", "devctl list") as running:
        asking, _ = mute.accept()
        pid = _session_child(replica)
        os.kill(pid, signal.SIGTERM)
        assert running.wait(LONGEST) == 128 + signal.SIGTERM
        asking.close()
    (end,) = eventually(lambda: replica.events("command_end"), "command_end")
    assert end["exit"] == 143
    assert end["signal"] == "SIGTERM"


def test_session_environment_drops_the_clients_variables_and_sets_limits(fresh: World, replica: Replica) -> None:
    with _mute(replica.paths.broker_socket) as mute:
        command = fresh.client.ssh(replica, "ann", "devctl list")
        command[1:1] = [
            "-A",
            *(f"-oSetEnv={each}" for each in ("LC_ALL=../../x LC_TIME=C.UTF-8 LC_EVIL=1 PYTHONPATH=/tmp EDITOR=id",)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
            asking, _ = mute.accept()
            pid = _session_child(replica)
            # /proc/PID/environ is what the process began with: the session program's, from sshd; devctl's own is set
            # in memory, so the fixed one is looked at where it is handed on, in tests/unit/bastion.
            given = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"PYTHONPATH" not in given
            assert b"EDITOR" not in given
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
            limits = {line[:25].strip(): line[25:].split()[:2] for line in lines}
            assert limits["Max data size"] == [str(160 << 20)] * 2
            assert limits["Max open files"] == ["256"] * 2
            assert limits["Max core file size"] == ["0"] * 2
            asking.close()
            running.wait(LONGEST)


def test_prompt_runs_commands_edits_lines_and_audits_them(fresh: World, replica: Replica) -> None:
    with at_a_terminal(fresh.client.ssh(replica, "ann")) as (screen, pid):
        welcome = screen.until("devctl> ")
        assert "Welcome, ann." in welcome
        assert "Your servers cannot be shown now" in welcome  # there is no broker
        screen.type("version\r")
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("devctl version\r")
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("id; devctl list\r")
        assert "is not possible here" in screen.until("devctl> ")
        screen.type("help\r")
        assert "Every command is on record" in screen.until("devctl> ")
        screen.type("half a line")
        screen.until("half a line")
        screen.interrupt()
        screen.type("\x1a\x1c")  # Ctrl-Z and Ctrl-\ do nothing
        screen.type("vers\t\r")
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("\x1b[A\r")  # arrow up: the command before
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("list --foo\r")
        assert "devctl list --help" in screen.until("devctl> ")
        screen.type("exit\r")
        screen.rest()
        assert ended(pid) == 2, "the last command's code"
    eventually(lambda: replica.events("session_end"), "session_end")
    commands = [each["argv"] for each in replica.events("command_start")]
    assert commands == [*[["devctl", "version"]] * 4, ["devctl", "list", "--foo"]]
    assert [each["exit"] for each in replica.events("command_end")] == [0, 0, 0, 0, 2]
    (denied,) = replica.events("denied")
    assert denied["argv"] == ["id;", "devctl", "list"]
    assert {each["kind"] for each in replica.events("session_start")} == {"shell"}


def test_ctrl_c_ends_the_command_and_keeps_the_prompt(fresh: World, replica: Replica) -> None:
    terminal = at_a_terminal(fresh.client.ssh(replica, "ann"))
    with _mute(replica.paths.broker_socket) as mute, terminal as (screen, pid):
        greeting, _ = mute.accept()
        greeting.close()
        screen.until("devctl> ")
        screen.type("list\r")
        asking, _ = mute.accept()
        screen.type("\x03")
        screen.until("devctl> ")
        asking.close()
        screen.type("version\r")
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("\x04")
        screen.rest()
        assert ended(pid) == 0
    eventually(lambda: len(replica.events("command_end")) == 2, "both ends")
    assert [each["exit"] for each in replica.events("command_end")] == [130, 0]


def test_fifth_concurrent_command_waits_or_is_refused_with_a_reason(fresh: World, replica: Replica) -> None:
    """What four of them may take is what one person may take of the memory of all."""
    replica.put([user(fresh.client, "ann", 20000), user(fresh.client, "bob", 20001)])
    with _mute(replica.paths.broker_socket) as mute, ExitStack() as stack:
        running = [stack.enter_context(fresh.client.start(replica, "ann", "devctl", "flavors")) for _ in range(4)]
        asking = [stack.enter_context(mute.accept()[0]) for _ in running]
        assert fresh.client.run(replica, "bob", "devctl", "version").returncode == 0
        refused = fresh.client.run(replica, "ann", "devctl", "version")
        assert refused.returncode == 75, refused
        assert "4 commands of yours run here" in refused.stderr, refused
        (denied,) = replica.events("denied")
        assert denied["argv"] == ["devctl", "version"]
        assert denied["user"] == "ann"
        with fresh.client.start(replica, "ann", "devctl", "version") as waiting:
            eventually(lambda: len(replica.events("session_start", user="ann")) == 6, "the one that waits")
            asking[0].close()
            assert waiting.communicate(timeout=20)[0] == f"devctl {__version__}\n"
            assert waiting.returncode == 0


def test_twelve_short_concurrent_commands_all_succeed(fresh: World, replica: Replica) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(fresh.client.start(replica, "ann", "devctl", "version")) for _ in range(12)]
        assert {each.communicate(timeout=60)[0] for each in running} == {f"devctl {__version__}\n"}
        assert {each.returncode for each in running} == {0}


def test_command_has_low_priority_and_a_reported_cpu_limit(fresh: World, replica: Replica) -> None:
    with _mute(replica.paths.broker_socket) as mute, fresh.client.start(replica, "ann", "devctl", "list") as running:
        asking, _ = mute.accept()
        command = _session_child(replica)
        limits = Path(f"/proc/{command}/limits").read_text().splitlines()
        assert next(line.split()[3:5] for line in limits if "cpu time" in line) == ["600", "602"]
        own = os.getpriority(os.PRIO_PROCESS, 0)  # the tests may have given way themselves, and their replica with them
        assert os.getpriority(os.PRIO_PROCESS, command) == max(10, own)
        parent = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
        assert os.getpriority(os.PRIO_PROCESS, parent) == own
        os.kill(command, signal.SIGXCPU)  # as the kernel does then
        assert "600 seconds of processor time" in running.communicate(timeout=20)[0]
        asking.close()
    assert running.returncode == 128 + signal.SIGXCPU


def test_kubectl_with_large_standard_input_is_refused(fresh: World, replica: Replica) -> None:
    """In memory kubectl holds its input many times over: 320 MiB took 800 MiB within two seconds."""
    command = fresh.client.ssh(replica, "ann", "kubectl", "apply", "-f", "-")
    done = subprocess.run(command, input=b"a" * (5 << 20), capture_output=True, timeout=60, check=False)
    assert done.returncode == 6, done
    assert b"at most 4 MiB on standard input" in done.stderr, done


def test_killed_session_writes_its_end_to_the_audit_log(fresh: World, replica: Replica) -> None:
    with at_a_terminal(fresh.client.ssh(replica, "ann")) as (screen, pid):
        screen.until("devctl> ")
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: replica.events("session_end"), "session_end")
    eventually(lambda: replica.events("conn_close"), "conn_close")


def _session_child(replica: Replica) -> int:
    """The pid of the process that the session's program runs a command in."""

    def found() -> int | None:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                above = Path(f"/proc/{parent}/cmdline").read_bytes()
            except OSError:
                continue
            if str(replica.root / "session").encode() in line and line == above:
                return int(entry.name)
        return None

    return int(eventually(found, "the command's process"))


def _with_audit(fresh: World, *arguments: str) -> Replica:
    """A replica that ann may log in to, with these arguments to its audit."""
    replica = fresh.replica()
    replica.put([user(fresh.client, "ann", 20000)])
    ship(replica)
    replica.paths.recordings.mkdir(parents=True)
    os.chown(replica.paths.recordings, AUDIT_UID, AUDIT_UID)
    replica.start_audit(*arguments)
    replica.start_supervisor()
    eventually(lambda: replica.ready()[0] == 200, "ready", 20, report=lambda: replica.log)
    return replica


@pytest.mark.parametrize("arguments", [(), ("--record",)], ids=["plain", "recorded"])
def test_window_resize_reaches_the_command(fresh: World, arguments: tuple[str, ...]) -> None:
    replica = _with_audit(fresh, *arguments)
    with _mute(replica.paths.broker_socket) as mute, at_a_terminal(fresh.client.ssh(replica, "ann")) as (screen, _):
        greeting, _ = mute.accept()
        greeting.close()
        screen.until("devctl> ")
        screen.type("list\r")
        asking, _ = mute.accept()
        terminal = Path(f"/proc/{_session_child(replica)}/fd/0")
        for size in (31, 101), (57, 203):
            screen.resize(*size)
            eventually(partial(_is, terminal, size), f"a terminal of {size}")
        asking.close()
        screen.until("devctl> ")
    if arguments:
        (cast,) = replica.paths.recordings.glob("ann/*.cast")
        eventually(lambda: '"r", "203x57"' in cast.read_text(), "the size in the recording")


def _is(terminal: Path, size: tuple[int, int]) -> bool:
    """Whether it has so many rows and columns."""
    with terminal.open("rb") as file:
        return termios.tcgetwinsize(file.fileno()) == size


def test_recording_contains_output_and_no_input(fresh: World) -> None:
    replica = _with_audit(fresh, "--record")
    with at_a_terminal(fresh.client.ssh(replica, "ann")) as (screen, pid):
        screen.until("devctl> ")
        screen.type("version\r")
        assert f"devctl {__version__}" in screen.until("devctl> ")
        screen.type("exit\r")
        screen.rest()
        assert ended(pid) == 0
    (cast,) = eventually(lambda: list(replica.paths.recordings.glob("ann/*.cast")), "a recording")
    # One command with a terminal is as interactive; without one it shows nothing that its record does not say.
    with at_a_terminal([*fresh.client.ssh(replica, "ann"), "-t", "devctl", "--help"]) as (screen, pid):
        screen.rest()
        assert ended(pid) == 0
    assert fresh.client.run(replica, "ann", "devctl", "version").returncode == 0
    eventually(lambda: len(replica.events("session_end")) == 3, "three sessions")
    (second,) = set(replica.paths.recordings.glob("ann/*.cast")) - {cast}
    assert "Personal development servers" in second.read_text()
    text = cast.read_text()
    assert f"devctl {__version__}" in text
    assert "Welcome, ann." in text
    assert '"i"' not in text
    assert [each["argv"] for each in replica.events("command_start")] == [
        ["devctl", "version"],
        ["devctl", "--help"],
        ["devctl", "version"],
    ]
