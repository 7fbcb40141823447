"""The bastion's broker and devctl against a real API server, with shipped RBAC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from bastion.accounts.render import render
from bastion.accounts.store import Store
from bastion.paths import Paths
from devctl import broker_client
from devservers_core.client.api import ApiClient
from devservers_core.errors import ApiError, CommandError
from devservers_core.protocol.broker import TokenRequest
from tests.support.bastion.broker import PACKAGES, running_broker
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import (
    API,
    KEY,
    OperatorProcess,
    World,
    operator_for,
    server_of,
)
from tests.support.wait import eventually

BROKER = "system:serviceaccount:devservers-bastion:bastion"
BROKER_UID = 10002
USERS = ("ann", "bob", "dora", "eve")
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f other@laptop"


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    with operator_for(controllers) as process:
        yield process
        # Other tests use the same API server, and the same names.
        for name in USERS:
            if controllers.admin.find(API, "DevServerUser", name):
                controllers.admin.delete(API, "DevServerUser", name)
                eventually(lambda name=name: not controllers.admin.find(API, "DevServerUser", name), f"{name} gone", 60)  # type: ignore[misc]
    controllers.admin.delete(API, "DevServerFlavor", "cpu-small")


class Pod:
    """The broker, run with the bastion's shipped rights and nothing else, and two people who may ask it."""

    def __init__(self, operator: OperatorProcess, root: Path) -> None:
        self.api = operator.server
        self.world = World(operator.server.admin)
        self.paths = Paths(root)
        self.log = root / "broker.log"
        self.uids: dict[str, int] = {}

    def add(self, name: str) -> None:
        """A person, known to the operator and to the accounts."""
        user = self.world.add_user(name)
        self.uids[name] = int(user["status"]["uid"])
        users = [u for u in self.api.admin.list(API, "DevServerUser") if u["metadata"]["name"] in self.uids]
        Store(self.paths).put(render(users, [], "/bin/false"))

    def ask(self, name: str, **request: object) -> dict[str, Any]:
        """What the broker answers a process of theirs."""
        return self.ask_as(self.uids[name], json.dumps(request))

    def ask_as(self, uid: int, line: str) -> dict[str, Any]:
        """The same for any uid and any line."""
        program = (
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]); "
            "s.sendall(sys.stdin.buffer.read()+b'\\n'); sys.stdout.buffer.write(s.makefile('rb').readline())"
        )
        done = subprocess.run(
            [*_as(uid), "/usr/bin/python3", "-IS", "-c", program, str(self.paths.broker_socket)],
            input=line.encode(), stdout=subprocess.PIPE, timeout=60, check=True,
        )  # fmt: skip
        return dict(json.loads(done.stdout or b"{}"))

    def client(self, grant: dict[str, Any]) -> ApiClient:
        """The API as whoever has that token."""
        from devservers_core.client.kubeconfig import Target

        cluster = {"certificate-authority-data": grant["certificateAuthority"]}
        user = {"token": grant["token"]}
        return ApiClient(Target(grant["server"], "test", "test", grant["namespace"], cluster, user), {})


@pytest.fixture(scope="module")
def pod(operator: OperatorProcess) -> Iterator[Pod]:
    # Not pytest's own: other accounts look into this one, and another run of pytest would shut it to them.
    with tempfile.TemporaryDirectory(prefix="devservers-broker-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        found = Pod(operator, root)
        for each in (found.paths.accounts, found.paths.broker_socket.parent):
            each.mkdir(parents=True)
        os.chown(found.paths.broker_socket.parent, BROKER_UID, BROKER_UID)
        found.add("ann")
        found.add("bob")
        operator.server.admin.create(server_of("ann", "first"))
        eventually(lambda: operator.server.admin.find("v1", "Secret", "user-ca", "devservers-system"), "the user CA")
        with running_broker(found.api, found.paths, found.log):
            yield found


def test_broker_token_is_the_users_service_account(pod: Pod) -> None:
    grant = pod.ask("ann", want="token")
    assert (grant["user"], grant["namespace"]) == ("ann", "dev-ann")
    kube = pod.client(grant)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    who = kube.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:dev-ann:devctl"
    found = kube.get("/apis/devservers.io/v1/namespaces/dev-ann/devservers")["items"]
    assert [each["metadata"]["name"] for each in found] == ["first"]
    assert kube.get("/apis/devservers.io/v1/devserverflavors")["items"]
    from devctl.broker_client import is_fresh

    assert is_fresh(TokenRequest().parse_answer(grant))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/apis/devservers.io/v1/namespaces/dev-bob/devservers"),
        ("GET", "/api/v1/namespaces/dev-bob/pods"),
        ("POST", "/api/v1/namespaces/dev-bob/pods/x/exec"),
        ("GET", "/api/v1/namespaces/dev-ann/secrets"),
        ("GET", "/api/v1/namespaces/dev-ann/secrets/mydev-host-key"),
        ("GET", "/api/v1/namespaces/devservers-system/secrets/user-ca"),
        ("POST", "/api/v1/namespaces/dev-ann/serviceaccounts/devctl/token"),
        ("POST", "/api/v1/namespaces/dev-bob/serviceaccounts/devctl/token"),
        ("GET", "/apis/devservers.io/v1/devserverusers"),
        ("PATCH", "/apis/devservers.io/v1/devserverusers/ann"),
        ("POST", "/api/v1/namespaces/dev-ann/pods"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/apis/devservers.io/v1/devservers"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/dev-ann/rolebindings"),
    ],
)
def test_broker_token_for_other_resources_is_forbidden(pod: Pod, method: str, path: str) -> None:
    kube = pod.client(pod.ask("ann", want="token"))
    body = None if method == "GET" else {"metadata": {"name": "x"}}
    merge = "application/merge-patch+json" if method == "PATCH" else "application/json"
    with pytest.raises(ApiError) as refused:
        kube.request(method, path, body=body, content_type=merge)
    assert refused.value.status == 403


def test_broker_request_from_an_unknown_uid_is_refused(pod: Pod) -> None:
    for uid in (0, 33, 10001, 19999, 65534, 29999):
        answer = pod.ask_as(uid, '{"want": "token"}')
        assert answer["error"] == f"uid {uid} is nobody's account"


def test_broker_request_naming_another_user_gets_the_callers_token(pod: Pod) -> None:
    grant = pod.ask("bob", want="token", user="ann", uid=pod.uids["ann"], namespace="dev-ann")
    assert grant["namespace"] == "dev-bob"


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '"x"', '{"want": 7}', '{"want": "secret"}', "[" * 5000])
def test_broker_request_that_is_malformed_gets_an_error(pod: Pod, line: str) -> None:
    assert "error" in pod.ask_as(pod.uids["bob"], line)
    assert "token" in pod.ask("ann", want="token")


def test_broker_identity_cannot_request_a_token_over_600_seconds(pod: Pod) -> None:
    as_broker = pod.api.client_for(*pod.api.service_account("devservers-bastion", "bastion"))
    path = "/api/v1/namespaces/dev-ann/serviceaccounts/devctl/token"
    for spec in ({"expirationSeconds": 601}, {}):
        with pytest.raises(ApiError) as refused:
            as_broker.request("POST", path, {"spec": spec})
        assert "lives 600 seconds at most" in str(refused.value)
    assert as_broker.request("POST", path, {"spec": {"expirationSeconds": 600}})["status"]["token"]


def test_user_add_waits_until_the_user_is_active(operator: OperatorProcess, tmp_path: Path) -> None:
    kubeconfig = operator.server.kubeconfig_for("admin", ["system:masters"])
    words = ["user", "add", "dora", "--key", OTHER_KEY.rsplit(" ", 1)[0], "--kubeconfig", str(kubeconfig)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "USER": "admin"}
    done = subprocess.run(
        [sys.executable, "-m", "devctl", *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done
    assert "not ready" not in done.stderr
    assert "dora@" in done.stdout
    assert operator.server.admin.get(API, "DevServerUser", "dora")["status"]["phase"] == "Active"


def test_broker_identity_cannot_make_other_tokens_or_read_secrets(pod: Pod) -> None:
    as_broker = pod.api.client_for(*pod.api.service_account("devservers-bastion", "bastion"))
    for account, namespace in (
        ("user-ann", "dev-ann"),
        ("default", "dev-ann"),
        ("devservers-operator", "devservers-system"),
    ):
        with pytest.raises(ApiError) as refused:
            as_broker.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", {})
        assert refused.value.status == 403
    for path in ("/api/v1/namespaces/dev-ann/secrets", "/api/v1/secrets", "/api/v1/namespaces/dev-ann/pods"):
        with pytest.raises(ApiError) as refused:
            as_broker.request("GET", path)
        assert refused.value.status == 403


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"quota": {"gpu": 100}}}, {"spec": {"flavors": ["*", "x"]}}, {"spec": {"suspended": True}},
        {"spec": {"email": "a@b.c"}}, {"spec": {"env": [{"name": "A", "value": "b"}]}},
        {"metadata": {"labels": {"a": "b"}}}, {"metadata": {"annotations": {"a": "b"}}},
    ],
)  # fmt: skip
def test_broker_identity_can_change_ssh_keys_only(pod: Pod, patch: dict[str, Any]) -> None:
    as_broker = pod.api.client_for(*pod.api.service_account("devservers-bastion", "bastion"))
    with pytest.raises(ApiError) as refused:
        as_broker.patch(API, "DevServerUser", "ann", patch)
    assert refused.value.status in (403, 422)
    assert "may change only the SSH keys" in refused.value.message


def test_broker_certificate_is_valid_for_minutes_and_one_principal(pod: Pod) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    found = load_ssh_public_identity(pod.ask("ann", want="certificate", publicKey=public)["certificate"].encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    ca = pod.api.admin.get("v1", "Secret", "user-ca", "devservers-system")["data"]["ca.pub"]
    import base64

    signer = found.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert base64.b64decode(ca).decode().split()[:2] == signer.split()
    assert found.valid_principals == [b"ann"]
    assert found.valid_before - time.time() <= 300
    assert found.valid_before > time.time()
    assert set(found.extensions) == {b"permit-pty", b"permit-port-forwarding", b"permit-agent-forwarding"}
    assert not found.critical_options


@pytest.mark.parametrize("key", [None, 7, "", "ssh-rsa AAAA", "ssh-ed25519 AAAA", 'command="x" ' + KEY, "x" * 9000])
def test_broker_certificate_for_an_invalid_key_is_refused(pod: Pod, key: object) -> None:
    assert pod.ask("ann", want="certificate", publicKey=key)["error"] == "publicKey must be one ssh-ed25519 line"


def test_broker_rate_limit_applies_to_one_user(pod: Pod) -> None:
    pod.add("eve")
    lines = "\n".join(['{"want": "?"}'] * 70)
    program = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f=s.makefile('rb')\n"
        "for line in sys.stdin.buffer: s.sendall(line.rstrip()+b'\\n'); sys.stdout.buffer.write(f.readline())"
    )
    uid = pod.uids["eve"]
    done = subprocess.run(
        [*_as(uid), "/usr/bin/python3", "-IS", "-c", program, str(pod.paths.broker_socket)],
        input=lines.encode(), stdout=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip
    assert b"too often" in done.stdout
    assert "token" in pod.ask("bob", want="token")


def test_broker_keys_request_adds_and_removes_the_users_own_keys(pod: Pod) -> None:
    before = pod.ask("ann", want="keys")["spec"]
    added = pod.ask("ann", want="keys", add={"name": "laptop", "key": OTHER_KEY, "expires": "90d"})
    assert [each["name"] for each in added["spec"]["sshKeys"]] == ["laptop"]
    again = pod.ask("ann", want="keys", add={"name": "laptop", "key": OTHER_KEY, "expires": None})
    assert "there is a key laptop already" in again["error"]
    assert pod.ask("ann", want="keys", remove="laptop")["spec"]["sshKeys"] == []
    last = pod.ask("ann", want="keys", remove=_fingerprint(KEY))
    assert "this is the last key" in last["error"]
    assert pod.ask("ann", want="keys")["spec"] == before
    assert pod.ask("ann", want="keys", remove="nothing")["code"] == 3
    assert not pod.ask("bob", want="keys")["spec"]["sshKeys"]


def test_broker_log_contains_no_secret(pod: Pod) -> None:
    grant = pod.ask("ann", want="token")
    log = pod.log.read_text()
    assert "ann token yes" in log
    assert grant["token"] not in log
    assert "PRIVATE" not in log
    assert max(len(line) for line in log.splitlines()) < 200


def test_devctl_with_the_broker_only_works(pod: Pod, tmp_path: Path) -> None:
    pod.world.admin.create(server_of("bob", "mydev"))
    uid = pod.uids["bob"]
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": "/", "DEVCTL_BROKER": str(pod.paths.broker_socket), "DEVCTL_USER": "bob",
        "PYTHONPATH": f"{PACKAGES}:{sysconfig.get_paths()['purelib']}",
    }  # fmt: skip

    def devctl(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_as(uid), "/usr/bin/python3", "-m", "devctl", *words],
            env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    assert devctl("list", "-o", "name").stdout == "devserver/mydev\n"
    theirs = devctl("list", "--user", "ann")
    assert theirs.returncode == 4
    assert "may not list devservers in namespace dev-ann" in theirs.stderr
    assert "ssh-ed25519" in devctl("keys", "list").stdout
    config = devctl("list", "--kubeconfig", "/dev/stdin")
    assert config.returncode == 2
    assert "no kubeconfig" in config.stderr
    credential = json.loads(devctl("credential").stdout)
    assert credential["kind"] == "ExecCredential"
    assert credential["status"]["token"]
    assert devctl("delete", "mydev", "--yes").returncode == 0


def test_broker_that_is_missing_gives_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as failed:
        broker_client.send_request(str(tmp_path / "none"), TokenRequest())
    assert "gives no credentials now" in failed.value.what


def _fingerprint(line: str) -> str:
    from devctl.resources.people.user_ssh_keys import Key

    return Key("", line).fingerprint


def _as(uid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


DEV_ADDRESS = "127.77.0.9"
_MOUNTS = 'for file in hosts passwd shadow; do mount --bind "$1/$file" "/etc/$file"; done; shift; exec "$@"'


@contextmanager
def dev_server(pod: Pod, folder: Path, owner: str, name: str) -> Iterator[list[str]]:
    """An sshd that is what a server's is: its host key, the platform's user CA, its owner as the only principal.

    Gives the words before a command that is to find it by its name in the cluster.
    """
    import base64

    host_key = pod.api.admin.get("v1", "Secret", f"{name}-host-key", f"dev-{owner}")["data"]["ssh_host_ed25519_key"]
    (folder / "host_key").write_bytes(base64.b64decode(host_key))
    (folder / "host_key").chmod(0o600)
    ca = pod.api.admin.get("v1", "Secret", "user-ca", "devservers-system")["data"]["ca.pub"]
    (folder / "ca.pub").write_bytes(base64.b64decode(ca))
    (folder / "principals").write_text(f"{owner}\n")
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{DEV_ADDRESS} {name}.dev-{owner}.svc.cluster.local\n")
    people = f"dev:x:0:0::{folder}:/bin/sh\nperson:x:{pod.uids[owner]}:{pod.uids[owner]}::/:/bin/false\n"
    (folder / "passwd").write_text(people + Path("/etc/passwd").read_text())
    (folder / "shadow").write_text("dev:*:19000:0:99999:7:::\n" + Path("/etc/shadow").read_text())
    (folder / "sshd_config").write_text(
        f"ListenAddress {DEV_ADDRESS}:22\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"TrustedUserCAKeys {folder}/ca.pub\nAuthorizedPrincipalsFile {folder}/principals\nAuthorizedKeysFile none\n"
        "PermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _MOUNTS, "sh", str(folder)]
    with (folder / "log").open("wb") as log:
        sshd = subprocess.Popen([*inside, "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        eventually(lambda: "Server listening" in (folder / "log").read_text(), "the server's sshd")
        yield inside
    finally:
        sshd.terminate()
        sshd.wait(10)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other accounts look into. Not pytest's own: what is above that is everybody's."""
    with tempfile.TemporaryDirectory(prefix="devservers-hop-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_ssh_from_the_bastion_without_an_agent_leaves_no_key(pod: Pod, open_folder: Path) -> None:
    admin, ann = pod.api.admin, pod.uids["ann"]
    eventually(lambda: admin.get(API, "DevServer", "first", "dev-ann").get("status", {}).get("sshHostKey"), "host key")
    before = set(Path("/dev/shm").iterdir())
    with dev_server(pod, open_folder, "ann", "first") as inside:

        def devctl(*words: str, uid: int = ann, user: str = "ann") -> subprocess.CompletedProcess[str]:
            given = {
                "PATH": "/usr/bin:/bin", "HOME": "/", "DEVCTL_USER": user,
                "DEVCTL_BROKER": str(pod.paths.broker_socket),
                "PYTHONPATH": f"{PACKAGES}:{sysconfig.get_paths()['purelib']}",
            }  # fmt: skip
            return subprocess.run(
                [*inside, *_as(uid), "/usr/bin/python3", "-m", "devctl", *words],
                env=given, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip

        done = devctl("ssh", "first", "echo in; echo err >&2; exit 7")
        assert (done.returncode, done.stdout) == (7, "in\n"), done
        assert "err" in done.stderr
        assert devctl("ssh", "first.devserver", "--replica", "0", "true").returncode == 0
        assert "replica 0 only" in devctl("ssh", "first", "--replica", "3").stderr
        assert "uid=" not in devctl("ssh", "first", "--", "-oProxyCommand=id >&2").stdout
        refused = devctl("ssh", "first", "-oProxyCommand=id")
        assert refused.returncode == 2
        assert "not possible on the bastion" in refused.stderr
        log = (open_folder / "log").read_text()
        assert "ann through the bastion" in log, log
        # Bob has a certificate of his own, which is for his own servers.
        theirs = devctl("ssh", "--user", "ann", "first", "true", uid=pod.uids["bob"], user="bob")
        assert theirs.returncode == 4, theirs
        assert "may not get devservers in namespace dev-ann" in theirs.stderr, theirs
        greeting = subprocess.run(
            [*inside, *_as(ann), "env", "-i", "PATH=/usr/bin:/bin", f"DEVCTL_BROKER={pod.paths.broker_socket}",
             "DEVCTL_USER=ann", f"PYTHONPATH={PACKAGES}:{sysconfig.get_paths()['purelib']}",
             "/usr/bin/python3", "-m", "devctl", "proxy", "first"],
            input=b"", stdout=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
        assert greeting.stdout.startswith(b"SSH-2.0-")
    left = set(Path("/dev/shm").iterdir()) - before
    assert not [each for each in left if each.name.startswith("devctl-")]
