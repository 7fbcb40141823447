"""devctl as a process against a real API server, without an operator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import API, HOST_KEY, Devctl, claim, condition, server, write_status
from tests.support.cluster.harness import ApiServer
from tests.support.wait import eventually

pytestmark = pytest.mark.usefixtures("devctl_flavors")


@pytest.fixture
def devctl(cluster: ApiServer, namespace: str, user_name: str, tmp_path: Path) -> Devctl:
    return Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)


def test_create_with_options_writes_the_spec(devctl: Devctl, admin: Client, namespace: str) -> None:
    claim(admin, namespace, "data")
    claim(admin, namespace, "team")
    done = devctl(
        "create", "mydev", "devctl-small", "--image", "debian:12", "--home-size", "20Gi", "-v", "data:/data:ro",
        "--shared-volume", "team", "--env", "A=1", "--env", "B=x=y", "--ttl", "2h30m", "--", "sleep", "inf",
    )  # fmt: skip
    assert done.stdout == ""
    assert "created" in done.stderr
    spec = server(admin, namespace)["spec"]
    assert spec["volumes"] == [{"claimName": "data", "mountPath": "/data", "readOnly": True}]
    assert spec["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}]
    assert (spec["flavor"], spec["image"], spec["persistentHomeSize"]) == ("devctl-small", "debian:12", "20Gi")
    assert (spec["command"], spec["sharedVolumeClaimName"]) == (["sleep", "inf"], "team")
    assert spec["lifecycle"]["timeToLive"] == "2h30m"


def test_create_without_ephemeral_requests_a_home(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "--name", "one", "--flavor", "devctl-small")
    devctl("create", "two", "devctl-small", "--ephemeral", "--no-ssh")
    assert server(admin, namespace, "one")["spec"]["persistentHomeSize"] == "10Gi"
    spec = server(admin, namespace, "two")["spec"]
    assert "persistentHomeSize" not in spec
    assert spec["enableSSH"] is False


def test_create_with_dry_run_stores_nothing(devctl: Devctl, admin: Client, namespace: str) -> None:
    done = devctl("create", "mydev", "devctl-small", "--dry-run")
    assert yaml.safe_load(done.stdout)["spec"]["flavor"] == "devctl-small"
    assert admin.list(API, "DevServer", namespace) == []
    assert (
        json.loads(devctl("create", "mydev", "devctl-small", "--dry-run", "-o", "json").stdout)["kind"] == "DevServer"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["devctl-smal"], "did you mean devctl-small?"),
        (["devctl-small", "-v", "dta:/data"], "did you mean data?"),
        (["devctl-small", "--shared-volume", "none-such"], "known claims: data"),
    ],
)
def test_create_with_an_unknown_name_is_refused_with_a_suggestion(
    devctl: Devctl, admin: Client, namespace: str, words: list[str], says: str
) -> None:
    claim(admin, namespace, "data")
    begun = time.monotonic()
    done = devctl("create", "mydev", *words, code=6)
    assert says in done.stderr
    assert time.monotonic() - begun < 20, "a bound of seconds here: the machine of a test may be busy"
    assert admin.list(API, "DevServer", namespace) == []


def test_create_with_allow_missing_warns_and_creates(devctl: Devctl, admin: Client, namespace: str) -> None:
    done = devctl("create", "mydev", "later", "-v", "later:/data", "--allow-missing")
    assert done.stderr.count("warning:") == 2
    assert server(admin, namespace)["spec"]["flavor"] == "later"


def test_create_of_an_existing_server_is_refused(devctl: Devctl, restricted_namespace: Any, user_name: str) -> None:
    other = user_name + "x"
    assert "exists" not in devctl("create", "mydev", "devctl-small").stderr
    assert "mydev exists already" in devctl("create", "mydev", "devctl-small", code=1).stderr
    assert "DevServerUser" in devctl("create", "mydev", "devctl-small", "--user", other, code=3).stderr


def test_create_with_a_flavor_that_is_not_allowed_is_refused(
    cluster: ApiServer, restricted_namespace: Callable[[str], str], user_name: str, tmp_path: Path
) -> None:
    restricted_namespace("cpu-small")
    person = Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)
    assert "devctl-huge" in person("create", "mydev", "devctl-huge", code=6).stderr


def test_list_prints_every_output_format(devctl: Devctl, admin: Client, namespace: str) -> None:
    assert "no servers" in devctl("list").stderr
    devctl("create", "mydev", "devctl-small")
    write_status(
        admin, namespace, phase="Failed", conditions=[condition("False", "ImagePullFailed", "no such image x")]
    )
    table = devctl("list").stdout
    assert table.splitlines()[0].split()[:3] == ["NAME", "FLAVOR", "PHASE"]
    assert "no such image x" in table
    assert "\x1b" not in table
    assert "ENDPOINT" in devctl("list", "-o", "wide").stdout
    assert devctl("list", "-o", "name").stdout == "devserver/mydev\n"
    listed = json.loads(devctl("list", "-o", "json").stdout)
    assert (listed["kind"], listed["items"][0]["kind"]) == ("List", "DevServer")
    assert yaml.safe_load(devctl("list", "-o", "yaml").stdout) == listed
    assert "devctl-small" in devctl("flavors").stdout
    assert "devserverflavor/devctl-small\n" in devctl("flavors", "-o", "name").stdout


def test_describe_shows_the_reason_and_suggests_near_names(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Pending", conditions=[condition("False", "Unschedulable", "no node is free")])
    assert "no node is free" in devctl("describe", "mydev").stdout
    assert json.loads(devctl("describe", "mydev", "-o", "json").stdout)["metadata"]["name"] == "mydev"
    assert "did you mean mydev" in devctl("describe", "mydv", code=3).stderr


def test_stop_start_and_restart_write_spec_and_annotations(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    devctl("stop", "mydev")
    assert server(admin, namespace)["spec"]["running"] is False
    assert "stopped already" in devctl("stop", "mydev").stderr
    assert "devctl start mydev" in devctl("restart", "mydev", code=1).stderr
    assert "devctl start mydev" in devctl("ssh", "mydev", code=255).stderr
    assert "devctl start mydev" in devctl("exec", "mydev", "--", "true", code=1).stderr
    devctl("start", "mydev")
    started = server(admin, namespace)
    assert started["spec"]["running"] is True
    assert started["metadata"]["annotations"]["devservers.io/started-at"].endswith("Z")
    devctl("restart", "mydev")
    assert "devservers.io/restarted-at" in server(admin, namespace)["metadata"]["annotations"]


def test_create_with_wait_prints_stages_and_reasons_until_ready(devctl: Devctl, admin: Client, namespace: str) -> None:
    running = devctl.start("create", "mydev", "devctl-small", "--wait", "50s")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(running.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()

    def wait_for_line(text: str) -> None:
        def shown() -> bool:
            found = any(text in line for line in lines)
            assert found or running.poll() is None, lines
            return found

        eventually(shown, f"a line with {text!r}", report=lambda: lines)

    wait_for_line("created")
    created = server(admin, namespace)["metadata"]["creationTimestamp"]
    timeline = [{"stage": "Accepted", "at": created}]
    pulling = condition("False", "ImagePullFailed", "the image debian:nope does not exist")
    write_status(admin, namespace, phase="Pending", timeline=timeline, conditions=[pulling])
    wait_for_line("the image debian:nope does not exist")
    timeline.append({"stage": "SSHReady", "at": created})
    ready = condition("True", "Running", "running")
    write_status(admin, namespace, phase="Running", timeline=timeline, conditions=[ready])
    assert running.wait(30) == 0
    reader.join()
    assert any("SSHReady" in line for line in lines)
    assert "mydev is ready" in lines[-1]


def test_start_with_wait_past_its_time_prints_the_reason(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Pending", conditions=[condition("False", "Unschedulable", "no node is free")])
    done = devctl("start", "mydev", "--wait", "1s", code=5)
    assert "no node is free" in done.stderr.splitlines()[-2]
    assert server(admin, namespace)["metadata"]["name"] == "mydev"


def test_stop_with_wait_returns_after_the_server_stopped(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Stopped")  # of another time: the spec was changed since
    stopping = devctl.start("stop", "mydev", "--wait", "50s")
    assert stopping.stderr is not None
    assert "is stopping" in stopping.stderr.readline()
    write_status(admin, namespace, phase="Stopping")
    again = devctl("stop", "mydev", "--wait", "1s", code=5)
    assert "stopped already" in again.stderr
    assert "still Stopping after 1s" in again.stderr
    assert "goes on stopping" in again.stderr
    assert stopping.poll() is None
    write_status(admin, namespace, phase="Stopped")
    _, err = stopping.communicate(timeout=30)
    assert stopping.returncode == 0
    assert "mydev is stopped after" in err


def test_stop_with_wait_ends_when_the_server_is_started_again(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    stopping = devctl.start("stop", "mydev", "--wait")
    assert stopping.stderr is not None
    assert "is stopping" in stopping.stderr.readline()
    write_status(admin, namespace, phase="Stopping")
    devctl("start", "mydev")
    _, err = stopping.communicate(timeout=30)
    assert stopping.returncode == 1
    assert "started again" in err


def test_create_interrupted_by_ctrl_c_leaves_the_server(devctl: Devctl, admin: Client, namespace: str) -> None:
    running = devctl.start("create", "mydev", "devctl-small", "--wait")
    assert running.stderr is not None
    assert "created" in running.stderr.readline()
    write_status(admin, namespace, phase="Pending", conditions=[condition("False", "Unschedulable", "no node is free")])
    assert "no node is free" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "left as it is" in err
    assert server(admin, namespace)


def test_delete_without_purge_asks_and_keeps_the_home(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    claim(admin, namespace, "mydev-home", {"devservers.io/home-of": "mydev"})
    assert "--yes" in devctl("delete", "mydev", code=2).stderr
    assert "is kept" in devctl("delete", "mydev", "--yes").stderr
    assert admin.find(API, "DevServer", "mydev", namespace) is None
    assert admin.find("v1", "PersistentVolumeClaim", "mydev-home", namespace) is not None
    assert "--purge" in devctl("delete", "mydev", "--yes", code=3).stderr
    devctl("delete", "mydev", "--yes", "--purge")
    left = admin.find("v1", "PersistentVolumeClaim", "mydev-home", namespace)
    assert left is None or left["metadata"]["deletionTimestamp"]
    devctl("delete", "mydev", "--yes", code=3)


def test_ssh_waits_for_a_starting_server_and_ends_when_it_stops(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Pending", conditions=[condition("False", "Unschedulable", "no node is free")])
    waiting = devctl.start("ssh", "mydev", "true")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "waiting for mydev: no node is free\n"
    write_status(admin, namespace, phase="Pending", conditions=[condition("False", "Starting", "the image comes")])
    assert waiting.stderr.readline() == "waiting for mydev: the image comes\n"
    devctl("stop", "mydev")
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 255
    assert "mydev is stopped" in err
    assert "devctl start mydev" in err


def test_proxy_to_a_failed_server_ends_at_once(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Failed", conditions=[condition("False", "CrashLooping", "it keeps ending")])
    begun = time.monotonic()
    done = devctl("proxy", "mydev", code=255)
    assert "it keeps ending" in done.stderr
    assert time.monotonic() - begun < 10


def test_delete_with_purge_keeps_a_claim_without_the_home_annotation(
    devctl: Devctl, admin: Client, namespace: str
) -> None:
    devctl("create", "mydev", "devctl-small")
    claim(admin, namespace, "mydev-home")
    assert "no home" in devctl("delete", "mydev", "--yes", "--purge").stderr
    left = admin.find("v1", "PersistentVolumeClaim", "mydev-home", namespace)
    assert left is not None
    assert "deletionTimestamp" not in left["metadata"]


def test_events_of_one_server_omit_others(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small")
    for kind, name in (("DevServer", "mydev"), ("Pod", "mydev-two-5d4f8c7b9f-x2x4z")):
        about = {"apiVersion": "v1", "kind": kind, "name": name, "namespace": namespace}
        admin.create(
            {
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e-{kind.lower()}", "namespace": namespace},
                "involvedObject": about, "reason": "Said", "message": f"about {name}", "type": "Normal",
                "lastTimestamp": "2026-01-01T00:00:00Z",
            }
        )  # fmt: skip
    shown = devctl("events", "mydev").stdout
    assert "about mydev" in shown
    assert "mydev-two" not in shown
    assert "mydev-two" in devctl("events").stdout
    assert devctl("events", "mydev", "-o", "name").stdout == "event/e-devserver\n"


def test_list_without_rights_names_the_missing_right(
    cluster: ApiServer, namespace: str, user_name: str, tmp_path: Path
) -> None:
    stranger = Devctl(tmp_path, cluster.kubeconfig_for("stranger"), user_name)
    assert "stranger may not list devservers" in stranger("list", code=4).stderr
    checked = stranger("test-k8s", code=1)
    assert "FAIL" in checked.stdout
    assert "ok" in checked.stdout


def test_status_info_and_test_k8s_print_cluster_facts(devctl: Devctl, cluster: ApiServer) -> None:
    devctl("create", "mydev", "devctl-small")
    found = json.loads(devctl("status", "-o", "json").stdout)
    assert found["servers"] == {"total": 1, "phases": {"Pending": 1}}
    assert found["overcommit"] == {}
    assert "overcommit" not in devctl("status").stdout
    mark = {"metadata": {"annotations": {"devservers.io/overcommit": "cpu=4,memory=1"}}}
    cluster.admin.patch(API, "DevServerFlavor", "devctl-small", mark)
    try:
        assert json.loads(devctl("status", "-o", "json").stdout)["overcommit"] == {"cpu": 4.0, "memory": 1.0}
        assert "cpu 4 times over: servers take more than is sure only while" in devctl("status").stdout
    finally:
        cluster.admin.patch(API, "DevServerFlavor", "devctl-small", {"metadata": {"annotations": None}})
    assert cluster.url in devctl("info").stdout
    assert "operator" in devctl("test-k8s", code=1).stdout


def test_ssh_config_install_and_uninstall_are_idempotent(
    devctl: Devctl, admin: Client, namespace: str, tmp_path: Path
) -> None:
    devctl("create", "mydev", "devctl-small")
    write_status(admin, namespace, phase="Running", sshHostKey=HOST_KEY)
    ssh_folder = tmp_path / ".ssh"
    ssh_folder.mkdir()
    (ssh_folder / "config").write_text("Host mine\n    User me\n")
    devctl("ssh-config", "--install")
    devctl("ssh-config", "--install")
    text = (ssh_folder / "config").read_text()
    assert text.count("Include") == 1
    assert text.endswith("Host mine\n    User me\n")
    shown = subprocess.run(
        ["ssh", "-F", str(ssh_folder / "config"), "-G", "mydev.devserver"], capture_output=True, text=True, check=True
    ).stdout
    assert "stricthostkeychecking true" in shown
    assert "user dev\n" in shown
    assert " proxy " in shown
    assert "mydev" in shown
    devctl("ssh-config", "--uninstall")
    assert (ssh_folder / "config").read_text() == "Host mine\n    User me\n"


def test_ssh_config_entries_follow_new_servers(devctl: Devctl, tmp_path: Path) -> None:
    """A host of the person's own stays what it is, and another person's servers are not written among them."""
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text(f"Include {config.parent}/extra/*.conf\nHost other # mine2\n    User me\n")
    (config.parent / "extra").mkdir()
    (config.parent / "extra" / "a.conf").write_bytes(b"Host mine\n    User me # \xe9\n")

    def meant(host: str) -> str:
        done = subprocess.run(["ssh", "-F", str(config), "-G", host], capture_output=True, text=True, check=True)
        return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("user "))

    devctl("ssh-config", "--install")
    devctl("create", "mydev", "devctl-small")
    devctl("create", "mine", "devctl-small")
    devctl("create", "nossh", "devctl-small", "--no-ssh")
    assert meant("mydev") == meant("mydev.devserver") == "dev"
    assert meant("mine") == "me"
    assert meant("mine.devserver") == "dev"
    assert "nossh" not in devctl("ssh-config").stdout
    entries = tmp_path / ".config/devctl/ssh_config"
    before = entries.read_text()
    # Made from elsewhere: an editor is not given a link that ssh can't follow. Servers that a flag names are others.
    entries.write_text("")
    devctl("--namespace", f"dev-{devctl.environ['DEVCTL_USER']}", "code", "mydev")
    assert entries.read_text() == ""
    devctl("code", "mydev")
    assert entries.read_text() == before


def test_create_with_unwritable_ssh_entries_warns(devctl: Devctl, tmp_path: Path) -> None:
    devctl("ssh-config", "--install")
    # A folder in the file's place: root can write everywhere else.
    entries = tmp_path / ".config/devctl/ssh_config"
    entries.unlink()
    entries.mkdir()
    done = devctl("create", "mydev", "devctl-small")
    assert "warning:" in done.stderr
    assert "devctl ssh-config --install" in done.stderr


@pytest.mark.parametrize(
    ("line", "offered"), [("devctl stop my", "mydev"), ("devctl create x devctl-s", "devctl-small")]
)
def test_completion_offers_servers_and_flavors(devctl: Devctl, line: str, offered: str) -> None:
    devctl("create", "mydev", "devctl-small")
    words = {"_DEVCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "devctl"], env=devctl.environ | words, capture_output=True, text=True, check=False
    )
    assert offered in done.stdout.split(), done.stderr
