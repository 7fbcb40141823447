"""devctl on a laptop that is configured with a bastion and no kubeconfig."""

from __future__ import annotations

import base64
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, UnixStreamServer

import pytest

from devservers_core.version import __version__
from tests.support.bastion.bastion import SERVER_ADDRESS, Replica, World, read_until, server, user
from tests.support.bastion.people import ship
from tests.support.bastion.terminal import at_a_terminal, ended
from tests.support.wait import eventually

Devctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def authority(fresh: World) -> str:
    """The host CA's public key; it has signed the bastion's and the servers' host key."""
    ca, host = fresh.folder / "ca", fresh.folder / "host"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ca)], check=True)
    names = "127.0.0.1,mydev.dev-ann.svc.cluster.local"
    key = host / "ssh_host_ed25519_key.pub"
    subprocess.run(["ssh-keygen", "-q", "-s", str(ca), "-I", "host", "-h", "-n", names, str(key)], check=True)
    return ca.with_suffix(".pub").read_text().strip()


@pytest.fixture
def replica(fresh: World, authority: str) -> Replica:
    """A bastion that ann may log in to."""
    found = fresh.replica()
    found.put([user(fresh.client, "ann", 20000)], [server("mydev", "ann")])
    ship(found, address=f"127.0.0.1:{found.port}", **{"host_ca.pub": authority})
    found.start()
    return found


@pytest.fixture
def laptop(fresh: World, replica: Replica, authority: str, tmp_path: Path) -> Devctl:
    """Runs devctl with settings in a file and no kubeconfig."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    def devctl(*words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "devctl", *words],
            env=environ | more, input=typed, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    for key, value in (
        ("user", "ann"),
        ("bastion", f"127.0.0.1:{replica.port}"),
        ("hostAuthority", authority),
        ("identityFile", str(fresh.client.key("ann"))),
    ):
        assert devctl("config", "set", key, value).returncode == 0
    return devctl


def test_laptop_command_keeps_its_arguments_on_the_bastion(laptop: Devctl, replica: Replica) -> None:
    done = laptop("exec", "my dev", "--", "sh", "-c", 'echo "$HOME"; id')
    assert done.returncode == 6, done
    assert "is not a server name" in done.stderr, done
    (start,) = eventually(lambda: replica.events("session_start"), "session_start")
    assert start["argv"] == ["devctl", "exec", "my dev", "--", "sh", "-c", 'echo "$HOME"; id']
    assert start["user"] == "ann"


def test_laptop_command_returns_the_bastions_exit_code(laptop: Devctl) -> None:
    assert laptop("list", "--foo").returncode == 2


def test_local_command_makes_no_bastion_session(laptop: Devctl, replica: Replica) -> None:
    assert laptop("--version").returncode == 0
    assert laptop("list", "--help").returncode == 0
    assert f"127.0.0.1:{replica.port}" in laptop("info").stdout
    assert not replica.events("session_start")


def test_version_through_the_bastion_prints_the_platforms_version(laptop: Devctl, replica: Replica) -> None:
    done = laptop("version")
    assert (done.returncode, done.stdout) == (0, f"devctl {__version__}\nplatform {__version__}\n"), done
    (start,) = eventually(lambda: replica.events("session_start"), "session_start")
    assert start["argv"] == ["devctl", "--version"]


def test_ssh_through_the_bastion_trusts_the_signed_host_key(laptop: Devctl, fresh: World, replica: Replica) -> None:
    with _trusted_server(fresh):
        done = laptop("ssh", "mydev", "true")
        # There is no account `dev` on this machine: that far, and trusted, is what is tested here.
        assert "mydev does not accept your key" in done.stderr, done
        assert done.returncode == 255, done
    assert eventually(lambda: replica.events("forward_open"), "forward_open")
    other = laptop("ssh", "theirs", "true")
    assert other.returncode == 255


def test_bastion_with_an_unsigned_host_key_is_refused(laptop: Devctl) -> None:
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    laptop("config", "set", "hostAuthority", f"ssh-ed25519 {other}")
    done = laptop("list")
    assert done.returncode == 255
    assert "hostAuthority does not certify the host key of" in done.stderr
    assert "tell them" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("bastion", "=oProxyCommand=id", "is not an address"),
        ("bastion", "a b", "is not an address"),
        ("bastion", "host:99999", "is not an address"),
        ("hostAuthority", "nonsense", "is not an ssh-ed25519 public key"),
        ("user", "../x", "who you are on the bastion"),
    ],
)
def test_setting_with_an_invalid_value_is_refused(
    laptop: Devctl, tmp_path: Path, key: str, value: str, says: str
) -> None:
    assert laptop("config", "set", key, value).returncode == 2
    # Written by hand, or by a devctl that took it.
    file = tmp_path / ".config/devctl/config.yaml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith(f"{key}:")]
    file.write_text("\n".join([*kept, f"{key}: {json.dumps(value)}", ""]))
    done = laptop("list")
    assert done.returncode == 2
    assert says in done.stderr


def test_exec_in_a_shell_loop_leaves_standard_input_unread(laptop: Devctl, replica: Replica, tmp_path: Path) -> None:
    """Else ssh would read the loop's input: only commands that ask for it are given standard input."""
    loop = 'printf "a\\nb\\nc\\n" | while read n; do "$0" -m devctl exec "my $n" -- true; done'
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", loop, sys.executable], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.count("is not a server name") == 3, done.stderr
    eventually(lambda: len(replica.events("session_start")) == 3, "three sessions")


def test_command_without_host_authority_asks_for_the_setting(laptop: Devctl) -> None:
    assert laptop("config", "unset", "hostAuthority").returncode == 0
    done = laptop("list")
    assert done.returncode == 2
    assert "devctl config set hostAuthority" in done.stderr


@contextmanager
def _trusted_server(fresh: World) -> Iterator[None]:
    """Where mydev's name leads to: an sshd with the signed host key."""
    folder = fresh.folder / "trusted"
    folder.mkdir()
    key = fresh.folder / "host" / "ssh_host_ed25519_key"
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {SERVER_ADDRESS}:22\nHostKey {key}\nHostCertificate {key}-cert.pub\nPidFile none\nUsePAM no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=log)
    try:
        eventually(lambda: "Server listening" in (folder / "log").read_text(), "the server's sshd")
        yield
    finally:
        running.terminate()
        running.wait(10)


def _sent(replica: Replica) -> list[str]:
    """The words of the last command that reached the bastion."""
    return list(replica.events("command_start")[-1]["argv"])


def test_laptop_settings_become_flags_of_the_bastion_command(laptop: Devctl, replica: Replica) -> None:
    for key, value in ("flavor", "nw-tiny"), ("homeSize", "7Gi"), ("image", "a/b:1"), ("output", "json"):
        assert laptop("config", "set", key, value).returncode == 0
    laptop("create", "mine", "--dry-run")
    assert _sent(replica) == [
        "devctl", "create", "--flavor", "nw-tiny", "--image", "a/b:1", "--home-size", "7Gi", "mine", "--dry-run",
    ]  # fmt: skip
    laptop("create", "mine", "cpu-small", "--image=c:2", "--ephemeral", "--", "sh", "-c", "x")
    assert _sent(replica) == [
        "devctl", "create", "mine", "cpu-small", "--image=c:2", "--ephemeral", "--", "sh", "-c", "x",
    ]  # fmt: skip
    laptop("list", DEVCTL_OUTPUT="wide", DEVCTL_NAMESPACE="dev-ann")
    assert _sent(replica) == ["devctl", "list", "--namespace", "dev-ann", "--output", "wide"]
    laptop("list", "-o", "name")
    assert _sent(replica) == ["devctl", "list", "-o", "name"]
    laptop("stop", "mydev")
    assert _sent(replica) == ["devctl", "stop", "mydev"]


def test_info_names_the_bastion_and_the_user(laptop: Devctl, replica: Replica) -> None:
    shown = laptop("info").stdout
    assert f"commands run on the bastion 127.0.0.1:{replica.port}, as ann" in shown
    assert "no cluster is configured" not in shown
    assert "dev-ann" in shown


@contextmanager
def _silence() -> Iterator[int]:
    """A port on loopback where nobody takes what comes, as behind a firewall."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = waiting.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_bastion_without_an_answer_is_reported_within_twelve_seconds(laptop: Devctl) -> None:
    with _silence() as port:
        assert laptop("config", "set", "bastion", f"127.0.0.1:{port}").returncode == 0
        for words in ("list",), ("ssh", "mydev"):
            began = time.monotonic()
            done = laptop(*words)
            # Six seconds of waiting; the rest is the start of two programs on a machine with other work.
            assert time.monotonic() - began < 12
            assert done.returncode == 255, done
            assert f"cannot reach the bastion 127.0.0.1:{port}" in done.stderr, done
            assert "VPN" in done.stderr
            assert len(done.stderr.splitlines()) == 2


def test_bastion_that_refuses_the_connection_is_reported(laptop: Devctl) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert laptop("config", "set", "bastion", f"127.0.0.1:{closed.getsockname()[1]}").returncode == 0
        done = laptop("list")
    assert done.returncode == 255
    assert "cannot reach the bastion" in done.stderr
    assert "refused" in done.stderr


def test_login_that_is_refused_names_user_and_bastion(laptop: Devctl, fresh: World, replica: Replica) -> None:
    for words in ("list",), ("ssh", "mydev"):
        done = laptop(*words, DEVCTL_USER="nobody-here")
        assert done.returncode == 255, done
        assert "refuses nobody-here" in done.stderr, done
        assert "devctl user show nobody-here" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    done = laptop("list", DEVCTL_IDENTITY_FILE=str(fresh.client.key("other")))
    assert f"the bastion 127.0.0.1:{replica.port} refuses ann" in done.stderr


def test_ssh_to_a_stopped_server_shows_the_bastions_reason(laptop: Devctl, replica: Replica) -> None:
    """Every morning after a time limit: four lines of ssh's own, and none says that the server is stopped."""
    asked = replica.root / "asked"
    asked.touch(mode=0o666)
    asked.chmod(0o666)
    (replica.root / "session").write_text(
        f"""#!/bin/sh
echo "$SSH_ORIGINAL_COMMAND" >> {asked}
echo 'error: mydev is stopped (ttl)' >&2
echo '  try: `devctl start mydev --wait` starts it' >&2
exit 255
"""
    )
    for name in "mydev", "mydve":
        done = laptop("ssh", name)
        assert done.returncode == 255
        assert done.stderr.splitlines() == [
            "error: mydev is stopped (ttl)",
            "  try: `devctl start mydev --wait` starts it",
        ]
    assert asked.read_text().splitlines() == ["devctl ssh mydev true", "devctl ssh mydve true"]


def test_cp_to_a_stopped_server_shows_the_bastions_reason(laptop: Devctl, replica: Replica, tmp_path: Path) -> None:
    """Of scp's own lines none says that the server is stopped."""
    (tmp_path / "file").write_text("x")
    (replica.root / "session").write_text(
        "#!/bin/sh\n"
        "echo 'error: mydev is stopped (idle)' >&2\n"
        "echo '  try: `devctl start mydev --wait` starts it' >&2\n"
        "exit 255\n"
    )
    done = laptop("cp", str(tmp_path / "file"), "mydev:")
    assert done.returncode == 255, done
    assert "error: mydev is stopped (idle)\n  try: `devctl start mydev --wait` starts it\n" in done.stderr


def test_command_with_exit_code_255_is_not_reported_as_a_connection_error(laptop: Devctl, replica: Replica) -> None:
    (replica.root / "session").write_text("#!/bin/sh\necho said >&2\nexit 255\n")
    done = laptop("list")
    assert (done.returncode, done.stderr) == (255, "said\n")


def test_connection_that_closes_normally_prints_no_message(laptop: Devctl, tmp_path: Path) -> None:
    environ = ["env", "-i", f"HOME={tmp_path}", f"PATH={os.environ['PATH']}", "TERM=xterm"]
    with at_a_terminal([*environ, sys.executable, "-m", "devctl", "list", "--foo"]) as (screen, pid):
        shown = screen.rest()
        assert ended(pid) == 2
    assert "No such option" in shown
    assert "Connection to" not in shown


@pytest.mark.parametrize("way", ["file", "input", "word"])
def test_keys_add_with_a_private_key_is_refused_before_a_connection(
    laptop: Devctl, fresh: World, replica: Replica, way: str
) -> None:
    private = fresh.client.key("second")
    word, typed = {"file": (str(private), ""), "input": ("-", private.read_text()), "word": (private.read_text(), "")}[
        way
    ]
    done = laptop("keys", "add", "second", word, typed=typed)
    assert done.returncode == 6, done
    assert "this is a private key" in done.stderr, done
    assert not replica.events("conn_open")


def test_keys_add_with_a_public_key_file_sends_its_text(laptop: Devctl, fresh: World, replica: Replica) -> None:
    line = fresh.client.public("second")
    for word, typed in (str(fresh.client.key("second").with_suffix(".pub")), ""), ("-", line), (line, ""):
        laptop("keys", "add", "second", word, typed=typed)
        assert _sent(replica) == ["devctl", "keys", "add", "second", line]


class _Api(BaseHTTPRequestHandler):
    """An API server that keeps the last Secret that was made, and has the note of logins."""

    passwords: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        auths = json.loads(base64.b64decode(body["data"][".dockerconfigjson"]))["auths"]
        self.passwords += [base64.b64decode(each["auth"]).decode().partition(":")[2] for each in auths.values()]
        self._answer()

    def _answer(self) -> None:
        body = b'{"metadata": {"name": "registries"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _api_behind(replica: Replica) -> Iterator[list[str]]:
    """The passwords that reach the API server which this bastion's people get a token for."""
    passwords: list[str] = []
    with HTTPServer(("127.0.0.1", 0), type("Api", (_Api,), {"passwords": passwords})) as api:
        grant = {
            "server": f"http://127.0.0.1:{api.server_port}", "namespace": "dev-ann", "user": "ann", "token": "t",
            "certificateAuthority": "", "expiresAt": "2999-01-01T00:00:00+00:00",
        }  # fmt: skip

        class Broker(StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline():
                    self.wfile.write(json.dumps(grant).encode() + b"\n")

        with UnixStreamServer(str(replica.paths.broker_socket), Broker) as broker:
            replica.paths.broker_socket.chmod(0o666)
            for each in api, broker:
                threading.Thread(target=each.serve_forever, daemon=True).start()
            try:
                yield passwords
            finally:
                broker.shutdown()
                api.shutdown()


LOGIN = ("registry", "login", "ghcr.io", "--username", "ann")


def test_registry_login_reads_the_password_from_the_laptops_input(laptop: Devctl, replica: Replica) -> None:
    with _api_behind(replica) as passwords:
        done = laptop(*LOGIN, typed="s3cret token\n")
        assert done.returncode == 0, done
        assert "your servers pull images of ghcr.io as ann now" in done.stderr, done
        assert passwords == ["s3cret token"]
    assert not [line for line in replica.lines() if "s3cret" in line]


@pytest.mark.parametrize("away", ["2>/dev/null", ">/dev/null"])
def test_registry_login_with_redirected_output_hides_the_typed_password(
    laptop: Devctl, replica: Replica, tmp_path: Path, away: str
) -> None:
    environ = ["env", "-i", f"HOME={tmp_path}", f"PATH={os.environ['PATH']}", "TERM=xterm"]
    line = f"{shlex.join([sys.executable, '-m', 'devctl', *LOGIN])} {away}"
    with _api_behind(replica) as passwords, at_a_terminal([*environ, "sh", "-c", line]) as (screen, pid):
        screen.until("Password or token for ghcr.io: ")
        screen.type("s3cret\r")
        shown = screen.rest()
        assert ended(pid) == 0, shown
        assert passwords == ["s3cret"]
    assert "s3cret" not in shown
    assert "your servers pull images of ghcr.io" in shown


def test_registry_login_without_a_terminal_prints_a_prompt(fresh: World, replica: Replica) -> None:
    with _api_behind(replica) as passwords, fresh.client.start(replica, "ann", "devctl", *LOGIN) as running:
        assert "to type it unseen, use `ssh -t`" in read_until(running, "waiting for the password")
        said, _ = running.communicate("s3cret\n", 30)
        assert running.returncode == 0, said
        assert passwords == ["s3cret"], said


def test_completion_asks_the_bastion_for_names(laptop: Devctl, replica: Replica) -> None:
    (replica.root / "session").write_text(
        """#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
"devctl list -o name") echo devserver/mydev; echo devserver/other;;
"devctl flavors -o name") echo devserverflavor/cpu-small;;
*) echo noise >&2; exit 1;;
esac
"""
    )

    def offered(*words: str) -> list[str]:
        typed = " ".join(["devctl", *words])
        done = laptop(_DEVCTL_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words)))
        assert done.stderr == ""
        return done.stdout.split()

    assert offered("ssh", "m") == ["mydev"]
    assert offered("create", "x", "cpu") == ["cpu-small"]
    assert offered("list", "-o", "j") == ["json"]
    assert offered("config", "set", "fl") == ["flavor"]
    assert offered("code", "mydev", "--editor", "cu") == ["cursor"]
    assert laptop("config", "set", "bastion", "127.0.0.1:1").returncode == 0
    assert offered("ssh", "m") == []
