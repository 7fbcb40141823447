"""devctl's connection to an API server: proxies, kubeconfigs, impersonation, CAs."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.connect_proxy import ConnectProxy, connect_proxy
from tests.support.cluster.devctl import HOST_KEY, Devctl, write_status
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.shipped import make_namespace

pytestmark = pytest.mark.usefixtures("devctl_flavors")
BEHIND = "api.behind-a-proxy.invalid"
"""A host that nothing here resolves, but the proxy carries to."""
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def devctl(cluster: ApiServer, namespace: str, user_name: str, tmp_path: Path) -> Devctl:
    return Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)


@pytest.fixture
def proxy(cluster: ApiServer) -> Iterator[ConnectProxy]:
    url = urlsplit(cluster.url)
    with connect_proxy((url.hostname or "", url.port or 0)) as running:
        yield running


def edited(devctl: Devctl, path: Path, edit: Edit) -> Path:
    """A copy of the person's kubeconfig, changed by `edit`, in force from now on."""
    document = json.loads(Path(devctl.environ["KUBECONFIG"]).read_text())
    edit(document)
    path.write_text(json.dumps(document))
    devctl.environ["KUBECONFIG"] = str(path)
    return path


def behind(devctl: Devctl, tmp_path: Path, cluster: ApiServer, **more: str) -> None:
    """The API server is known by a name that only the proxy reaches."""
    port = urlsplit(cluster.url).port

    def edit(document: dict[str, Any]) -> None:
        document["clusters"][0]["cluster"] |= {
            "server": f"https://{BEHIND}:{port}", "tls-server-name": "127.0.0.1", **more
        }  # fmt: skip

    edited(devctl, tmp_path / "behind", edit)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "proxy-url"])
def test_http_proxy_carries_list_exec_and_ssh(
    devctl: Devctl,
    cluster: ApiServer,
    admin: Client,
    namespace: str,
    proxy: ConnectProxy,
    tmp_path: Path,
    variable: str,
) -> None:
    if variable == "proxy-url":
        behind(devctl, tmp_path, cluster, **{"proxy-url": proxy.url})
    else:
        behind(devctl, tmp_path, cluster)
        devctl.environ |= {variable: proxy.url}
    devctl("create", "mydev", "devctl-small")
    assert devctl("list", "-o", "name").stdout == "devserver/mydev\n"
    # There is no kubelet behind this API server: that it says so is the proof of having got there.
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "mydev-1", "namespace": namespace, "labels": {"devservers.io/name": "mydev"}},
        "spec": {
            "nodeName": "no-such-node", "automountServiceAccountToken": False,
            "containers": [{"name": "dev", "image": "x"}],
        },
    }  # fmt: skip
    # The controller that makes it runs only if another test wants it.
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}})
    admin.create(pod)
    admin.patch("v1", "Pod", "mydev-1", {"status": {"phase": "Running"}}, namespace, subresource="status")
    write_status(admin, namespace, phase="Running", podName="mydev-1", sshHostKey=HOST_KEY,
                 conditions=[{"type": "Ready", "status": "True", "reason": "Running", "message": "",
                              "lastTransitionTime": "2026-01-01T00:00:00Z"}])  # fmt: skip
    try:
        for words in (["exec", "mydev", "--", "true"], ["proxy", "mydev"]):
            before = len(proxy.asked)
            done = devctl.start(*words)
            _, err = done.communicate("", timeout=60)
            assert done.returncode, err
            assert "no-such-node" in err, err
            assert len(proxy.asked) - before >= 2, "a connection of its own for the stream"
    finally:
        # No kubelet would ever let it go, and other tests delete everybody's pods.
        admin.delete("v1", "Pod", "mydev-1", namespace, gracePeriodSeconds="0")
    assert set(proxy.asked) == {f"CONNECT {BEHIND}:{urlsplit(cluster.url).port} HTTP/1.1"}


def test_no_proxy_and_loopback_bypass_the_proxy(
    devctl: Devctl, cluster: ApiServer, proxy: ConnectProxy, tmp_path: Path
) -> None:
    devctl.environ |= {"HTTPS_PROXY": proxy.url}
    devctl("list")
    assert not proxy.asked, "the API server of this test is on loopback"
    behind(devctl, tmp_path, cluster)
    devctl.environ |= {"NO_PROXY": ".invalid"}
    assert "does not answer" in devctl("list", code=1).stderr
    assert not proxy.asked


def test_unreachable_proxy_is_named_without_its_password(devctl: Devctl, cluster: ApiServer, tmp_path: Path) -> None:
    behind(devctl, tmp_path, cluster)
    devctl.environ |= {"HTTPS_PROXY": "http://ann:hunter2@127.0.0.1:1"}
    err = devctl("list", code=1).stderr
    assert "the proxy 127.0.0.1:1" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("form", ["{kubeconfig}:{other}", "kubeconfig"])
def test_ssh_entries_from_another_folder_use_the_kubeconfig(
    devctl: Devctl, admin: Client, namespace: str, tmp_path: Path, form: str
) -> None:
    """A list of files, or one that is relative to where the terminal stood."""
    devctl("create", "mydev", "devctl-small")
    edited(devctl, tmp_path / "kubeconfig", lambda document: None)
    (tmp_path / "other").write_text("contexts: []\n")
    devctl.environ["KUBECONFIG"] = form.format(kubeconfig=tmp_path / "kubeconfig", other=tmp_path / "other")
    shown = subprocess.run(
        [sys.executable, "-m", "devctl", "ssh-config"],
        cwd=tmp_path, env=devctl.environ, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    command = next(line.split(None, 1)[1] for line in shown.splitlines() if line.strip().startswith("ProxyCommand"))
    devctl.environ["KUBECONFIG"] = str(tmp_path / "kubeconfig")
    devctl("stop", "mydev")
    bare = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(shlex.split(command), cwd="/", env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 255, done.stderr
    assert "mydev is stopped" in done.stderr, done.stderr


@pytest.mark.parametrize("pattern", ["%C", "%r@%h:%p"])
def test_ssh_control_path_differs_by_user_and_server(
    devctl: Devctl, cluster: ApiServer, admin: Client, user_name: str, tmp_path: Path, pattern: str
) -> None:
    """What ssh makes of a ControlPath differs for two people's servers of one name, and is the same for one server."""
    other = f"{user_name}-other"
    make_namespace(admin, other)
    (tmp_path / "ssh_config").write_text(f"Host *\n  ControlMaster auto\n  ControlPath /tmp/{pattern}\n")
    paths: list[str] = []
    for user in (user_name, other, user_name):
        if not paths or user == other:
            devctl("create", "mydev", "devctl-small", "--user", user)
        shown = devctl("ssh", "--user", user, "mydev", "-F", str(tmp_path / "ssh_config"), "-G").stdout
        paths.append(next(line for line in shown.splitlines() if line.startswith("controlpath ")))
        entries = devctl("ssh-config", "--user", user).stdout + (tmp_path / "ssh_config").read_text()
        (tmp_path / "entries").write_text(entries)
        done = subprocess.run(
            ["ssh", "-F", str(tmp_path / "entries"), "-G", "mydev"], capture_output=True, text=True, check=True
        )
        assert paths[-1] in done.stdout.splitlines(), "the entries share it with devctl ssh"
    assert paths[0] == paths[2] != paths[1]
    assert all(len(path.split()[1]) < 100 for path in paths), "a Unix socket's name"


def test_command_with_closed_output_succeeds(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    for words in ("list", "stop mydev"):
        done = subprocess.run(
            ["sh", "-c", f'"$0" -m devctl {words} >&- 2>&-', sys.executable], env=devctl.environ, check=False
        )
        assert done.returncode == 0, words
    assert admin.get("devservers.io/v1", "DevServer", "mydev", namespace)["spec"]["running"] is False


def test_ca_bundle_with_comments_is_accepted(devctl: Devctl, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        entry = document["clusters"][0]["cluster"]
        bundle = "# NetLock Arany (Class Gold) Főtanúsítvány\n".encode()
        bundle += Path(entry.pop("certificate-authority")).read_bytes()
        entry["certificate-authority-data"] = base64.b64encode(bundle).decode()

    edited(devctl, tmp_path / "bundle", edit)
    devctl("list")


def test_kubeconfig_impersonation_fields_reach_the_api_server(devctl: Devctl, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["users"][0]["user"] |= {
            "as": "eva", "as-uid": "7", "as-groups": ["system:masters", "team"],
            "as-user-extra": {"example.org/scope": ["x", "y"]},
        }  # fmt: skip

    edited(devctl, tmp_path / "eva", edit)
    assert "eva" in devctl("test-k8s", code=1).stdout
    devctl("list")  # by the group that was given; eva herself may do nothing
    ask = (
        "import os, json; from devctl.context import Context\n"
        "body = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}\n"
        "print(json.dumps(Context({}, None).kube.create('/apis/authentication.k8s.io/v1/selfsubjectreviews', body)))"
    )
    done = subprocess.run([sys.executable, "-c", ask], env=devctl.environ, capture_output=True, text=True, check=True)
    who = json.loads(done.stdout)["status"]["userInfo"]
    assert (who["username"], who["uid"], who["extra"]) == ("eva", "7", {"example.org/scope": ["x", "y"]})
    assert {"system:masters", "team"} <= set(who["groups"])
