"""The real Pulumi engine and Kubernetes provider against a real API server.

There is no kubelet here, so the stack says not to wait for the operator. The server is this module's own: Pulumi
is to make the kinds, not to find them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import ROOT, toolchain
from devcluster.progress import Progress
from devservers.api.shipped_flavors import SHIPPED
from devservers_core.errors import ApiError
from devservers_core.names import BASTION_NAMESPACE, SYSTEM_NAMESPACE
from devservers_core.paths import Paths
from infra.deploy.aws import policy_pack
from infra.deploy.leftover import describe
from infra.deploy.local.stack import LocalStack
from infra.deploy.rollouts import RolloutError
from infra.deploy.stack_runner import Options, PulumiError
from infra.local.context import choose_here
from infra.platform import crds, namespaces, operator, rbac, users
from infra.platform.bastion import component as bastion
from infra.settings.loading import load
from tests.support.cluster.client import Client, repeating
from tests.support.cluster.harness import running_api_server, running_controllers

CONTEXT = "kind-pulumi-test"
COMMITTED = ROOT / "stacks" / "Pulumi.local.yaml"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkeyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0d ann@laptop"
SERVED = [
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "Pod"),
]
"""Everything the platform makes, by kind."""


def objects(admin: Client) -> set[str]:
    """Every object of these kinds that Kubernetes itself didn't make."""
    return {
        f"{kind} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}"
        for version, kind in SERVED
        for each in admin.list(version, kind)
        if not re.match(r"(system|cluster-admin|admin|edit|view|default|kube-)", each["metadata"]["name"])
    }


@dataclass(frozen=True)
class CheckOptions(Options):
    """Options that only tests need: `--expect-no-changes`, and `--config-file` in place of the stack's."""

    expect_no_changes: bool = False
    config_file: Path | None = None

    def arguments(self) -> dict[str, Any]:
        file = str(self.config_file) if self.config_file else None
        return super().arguments() | {"expect_no_changes": self.expect_no_changes, "config_file": file}


@dataclass(frozen=True)
class Site:
    """One cluster with the local stack for it, and a copy of the stack's file that says not to wait."""

    admin: Client
    stack: LocalStack
    env: dict[str, str]
    file: Path
    before: set[str]
    checkout: str

    def options(self, **more: bool) -> CheckOptions:
        return CheckOptions(config_file=self.file, **more)

    def flags(self, *more: str) -> tuple[str, ...]:
        return ("--config-file", str(self.file), *more)


def git_status() -> str:
    """What of the checkout is changed or new."""
    # A runner's checkout belongs to another user than the root of its container, which git refuses.
    command = ["git", "-c", "safe.directory=*", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.check_output(command, cwd=ROOT, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pulumi")
    with running_api_server() as server, running_controllers(server):
        config = json.loads(server.kubeconfig_for("pulumi", ("system:masters",)).read_text())
        config["contexts"][0]["name"] = config["current-context"] = CONTEXT
        (folder / "kubeconfig").write_text(json.dumps(config))
        (folder / "keys").write_text(KEY + "\n")
        stack = yaml.safe_load(COMMITTED.read_text())
        stack["config"]["devservers:await"] = False
        # Kueue's objects go through its webhook, and there is no node to run it: see tests/node/test_queueing.py.
        stack["config"]["devservers:queueing"] = {"enabled": False}
        (folder / "Pulumi.local.yaml").write_text(yaml.safe_dump(stack))
        env = {key: value for key, value in os.environ.items() if not key.startswith("DEVSERVERS_LOCAL")} | {
            "XDG_STATE_HOME": str(folder / "state"),
            "DEVSERVERS_KUBECONFIG": str(folder / "kubeconfig"),
            "DEVSERVERS_CONTEXT": CONTEXT,
            "DEVSERVERS_LOCAL_NETWORK": '{"closed": ["172.18.0.2/32"]}',
            "DEVSERVERS_LOCAL_USER": "ann",
            "DEVSERVERS_LOCAL_KEYS_FILE": str(folder / "keys"),
            "DEVSERVERS_IMAGE_OPERATOR": "localhost/devservers/operator:test",
            "DEVSERVERS_IMAGE_AGENT": "localhost/devservers/agent:test",
            "DEVSERVERS_IMAGE_BASE": "localhost/devservers/base:test",
            "DEVSERVERS_IMAGE_BASTION": "localhost/devservers/bastion:test",
        }
        local = LocalStack(choose_here(env), Paths.of(env), env)
        before, checkout = objects(server.admin), git_status()
        committed = COMMITTED.read_bytes()
        local.up(CheckOptions(config_file=folder / "Pulumi.local.yaml"))
        assert COMMITTED.read_bytes() == committed
        yield Site(server.admin, local, env, folder / "Pulumi.local.yaml", before, checkout)


def test_up_creates_the_platform(site: Site) -> None:
    deployment = site.admin.get("apps/v1", "Deployment", "devservers-operator", "devservers-system")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "localhost/devservers/operator:test"
    user = site.admin.get("devservers.io/v1", "DevServerUser", "ann")
    assert user["spec"]["sshPublicKeys"] == [KEY]
    flavors = site.admin.list("devservers.io/v1", "DevServerFlavor")
    assert {each["metadata"]["name"] for each in flavors} == {"cpu-small", "cpu-medium", "cpu-large"}
    assert site.stack.outputs()["users"] == ["ann"]


def test_operator_pods_pass_pod_security(site: Site) -> None:
    namespace = site.admin.get("v1", "Namespace", "devservers-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    template = site.admin.get("apps/v1", "Deployment", "devservers-operator", "devservers-system")["spec"]["template"]
    # As the ReplicaSet would: the real admission plugin judges.
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": "devservers-system"},
        "spec": template["spec"],
    }
    site.admin.create(pod, dryRun="All")


def test_manifests_have_no_unknown_fields(site: Site) -> None:
    """Server-side apply lets a misspelt field pass with a warning; a strict create comes as far as "exists"."""
    settings = load("local", {"cluster": "local", "queueing": '{"enabled": false}'}, site.env)
    own = [operator.service_account(), operator.deployment(settings), operator.disruption_budget()]
    own += [bastion.namespace(settings), *bastion.policies(settings), bastion.service_account()]
    own += [bastion.session_settings(settings, "127.0.0.1:32222"), bastion.deployment(settings)]
    every = [*crds.manifests(), *namespaces.manifests(), *rbac.manifests(), *own]
    every += [flavor.manifest() for flavor in SHIPPED] + [users.manifest(user, "local") for user in settings.users]
    for manifest in every:
        with pytest.raises(ApiError) as caught:
            site.admin.create(manifest, dryRun="All")
        assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists"), str(caught.value)


def test_up_after_status_writes_changes_nothing(site: Site) -> None:
    status: Mapping[str, Any] = {"status": {"phase": "Active", "uid": 20000, "namespace": "dev-ann"}}
    site.admin.patch("devservers.io/v1", "DevServerUser", "ann", dict(status), subresource="status")
    site.stack.up(site.options(expect_no_changes=True))
    site.stack.preview(site.options(expect_no_changes=True, refresh=True))


def test_pulumi_up_by_hand_after_sourcing_the_env_file_works(site: Site) -> None:
    """A shell that sources what `up` wrote needs nothing else."""
    bare: dict[str, str] = {"PATH": site.env["PATH"], "HOME": site.env["HOME"]}
    script = f'. "{site.stack.env_file}"; pulumi up -s local --yes --non-interactive "$@"'
    flags = site.flags("--expect-no-changes", "--skip-preview")
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-ec", script, "bash", *flags],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ unchanged", done.stdout)


def test_up_with_another_image_changes_the_deployment_only(site: Site) -> None:
    env = site.env | {"DEVSERVERS_IMAGE_OPERATOR": "localhost/devservers/operator:next"}
    stack = LocalStack(choose_here(env), Paths.of(env), env)
    with pytest.raises(PulumiError):
        stack.preview(site.options(expect_no_changes=True))
    before = {each: site.admin.list(*each) for each in SERVED}
    stack.up(site.options())
    changed = {
        kind
        for version, kind in SERVED
        if kind != "Pod"
        and [each["metadata"].get("generation") for each in site.admin.list(version, kind)]
        != [each["metadata"].get("generation") for each in before[(version, kind)]]
    }
    assert changed == {"Deployment"}


def stand_in(admin: Client, change: Callable[[Client], None]) -> AbstractContextManager[None]:
    """Writes what a kubelet or the operator would, again and again, while the block runs."""
    return repeating(lambda: change(admin), 0.3, "the kubelet and the operator")


def set_pods(admin: Client, status: Mapping[str, Any]) -> None:
    for namespace in (SYSTEM_NAMESPACE, BASTION_NAMESPACE):
        for pod in admin.list("v1", "Pod", namespace):
            # One that has run can't be made never to have: the API server refuses it.
            if "containerStatuses" not in pod["status"]:
                name = pod["metadata"]["name"]
                admin.patch("v1", "Pod", name, {"status": status}, namespace, subresource="status")


def container(**fields: object) -> dict[str, object]:
    return {"name": "operator", "image": "x", "imageID": "x", "restartCount": 0, **fields}


def test_up_waits_for_the_operator_and_the_user(site: Site) -> None:
    """As `make up` does: done when the pods are ready and the user is Active."""
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    running = {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True"} for kind in kinds],
        "containerStatuses": [container(ready=True, state={"running": {}})],
    }

    def change(admin: Client) -> None:
        set_pods(admin, running)
        deployment = admin.get("apps/v1", "Deployment", "devservers-operator", "devservers-system")
        if deployment["status"].get("readyReplicas") == 2:
            status = {"status": {"phase": "Active"}}
            admin.patch("devservers.io/v1", "DevServerUser", "ann", status, subresource="status")

    status = {"status": {"phase": "Failed"}}
    site.admin.patch("devservers.io/v1", "DevServerUser", "ann", status, subresource="status")
    stack = yaml.safe_load(site.file.read_text())
    del stack["config"]["devservers:await"]
    file = site.file.with_name("Pulumi.await.yaml")
    file.write_text(yaml.safe_dump(stack))
    with stand_in(site.admin, change):
        site.stack.up(CheckOptions(config_file=file))
    deployment = site.admin.get("apps/v1", "Deployment", "devservers-operator", "devservers-system")
    assert deployment["status"]["readyReplicas"] == 2
    assert site.admin.get("devservers.io/v1", "DevServerUser", "ann")["status"]["phase"] == "Active"
    # The first may have recorded an object from before its change: pulumi-kubernetes waits on a watch, and takes for
    # what there is what that began with, from the API server's cache.
    site.stack.up(CheckOptions(config_file=file, refresh=True))
    site.stack.up(CheckOptions(config_file=file, expect_no_changes=True))


def test_up_with_a_missing_image_fails_and_names_it(site: Site) -> None:
    env = site.env | {"DEVSERVERS_IMAGE_OPERATOR": "localhost/devservers/operator:missing"}
    stack = yaml.safe_load(site.file.read_text())
    del stack["config"]["devservers:await"]
    stack["config"]["devservers:awaitSeconds"] = 15
    file = site.file.with_name("Pulumi.short.yaml")
    file.write_text(yaml.safe_dump(stack))
    reason = {"reason": "ErrImagePull", "message": "localhost/devservers/operator:missing: not found"}
    missing = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Initialized", "status": "True"},
            *(
                {"type": kind, "status": "False", "reason": "ContainersNotReady"}
                for kind in ("ContainersReady", "Ready")
            ),
        ],
        "containerStatuses": [container(ready=False, state={"waiting": reason})],
    }
    stack = LocalStack(choose_here(env), Paths.of(env), env)
    with stand_in(site.admin, lambda admin: set_pods(admin, missing)), pytest.raises(PulumiError) as caught:
        stack.up(CheckOptions(config_file=file))
    assert "ErrImagePull: localhost/devservers/operator:missing: not found" in str(caught.value)


def test_up_waits_for_a_rollout_that_pulumi_reported_too_early(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pulumi-kubernetes may take the state from before its update for the one after it; here, always."""
    real = toolchain.need("pulumi")
    script = tmp_path / "pulumi"
    script.write_text(f'#!/bin/sh\n[ "$1" = up ] || exec {shlex.quote(str(real))} "$@"\necho done\n')
    script.chmod(0o755)
    monkeypatch.setenv("DEVSERVERS_TOOLS_DIR", str(tmp_path))
    stack = LocalStack(choose_here(site.env), Paths.of(site.env), site.env)
    name, at = "devservers-operator", ("apps/v1", "Deployment", "devservers-operator", "devservers-system")
    awaited = {"pulumi.com/skipAwait": None, "pulumi.com/timeoutSeconds": "5"}
    image = {"spec": {"containers": [{"name": "operator", "image": f"localhost/devservers/{name}:of-a-rollout"}]}}
    try:
        site.admin.patch(*at[:3], {"metadata": {"annotations": awaited}, "spec": {"template": image}}, at[3])
        with pytest.raises(RolloutError, match=r"is not rolled out after 5 s: .* of its latest change"):
            stack.up()
    finally:
        # What the stack's file of these tests says: nothing is awaited, as there is no kubelet.
        unawaited = {"pulumi.com/skipAwait": "true", "pulumi.com/timeoutSeconds": None}
        site.admin.patch(*at[:3], {"metadata": {"annotations": unawaited}}, at[3])
    stack.up()


def test_preview_with_a_dead_engines_lock_removes_it(site: Site) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = site.stack.backend / ".pulumi" / "locks" / "organization" / "devservers" / "local" / "dead.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({"pid": gone.pid, "username": "x", "hostname": socket.gethostname()}))
    site.stack.preview(site.options())
    assert not lock.exists()


def test_up_on_a_new_cluster_creates_everything_again(site: Site) -> None:
    """As if: the platform is gone behind Pulumi's back, and the cluster is not the one it was."""
    (site.stack.backend / "cluster").write_text("another")
    for name in ("devservers-operator", "dev-user"):
        site.admin.delete("rbac.authorization.k8s.io/v1", "ClusterRole", name)
    site.stack.up(site.options())
    assert {"ClusterRole /devservers-operator", "ClusterRole /dev-user"} <= objects(site.admin)


def test_up_with_lost_state_takes_over_the_platform(site: Site) -> None:
    """Nobody has to clean up by hand because a state folder was deleted."""
    env = site.env | {"XDG_STATE_HOME": f"{site.env['XDG_STATE_HOME']}-lost"}
    stack = LocalStack(choose_here(env), Paths.of(env), env)
    before = objects(site.admin)
    stack.up(site.options())
    assert objects(site.admin) == before
    assert stack.outputs()["users"] == ["ann"]


def previewed(site: Site, env: Mapping[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    """`pulumi preview` of the stack with what it printed."""
    stack = LocalStack(choose_here(dict(env)), Paths.of(env), env)
    return subprocess.run(
        [str(toolchain.need("pulumi")), "preview", "--stack", "local", "--non-interactive", *site.flags(*flags)],
        cwd=ROOT,
        env=dict(env) | stack.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def pack() -> str:
    """The policy pack with its own environment, which the real engine starts."""
    return str(policy_pack.ensure(os.environ, Progress()))


def test_up_runs_the_policy_pack(site: Site, pack: str) -> None:
    done = previewed(site, site.env, "--policy-pack", pack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"devservers@v\S+ \(local: ", done.stdout), done.stdout
    assert "[mandatory]" not in done.stdout, done.stdout
    assert "[advisory]" not in done.stdout, done.stdout


def test_preview_that_breaks_a_policy_rule_fails(site: Site, pack: str) -> None:
    env = site.env | {"DEVSERVERS_IMAGE_OPERATOR": "localhost/devservers/operator:latest"}
    assert previewed(site, env).returncode == 0
    done = previewed(site, env, "--policy-pack", pack)
    assert done.returncode != 0
    assert "[mandatory]" in done.stdout, done.stdout
    assert "images-pinned" in done.stdout, done.stdout
    assert "container operator runs localhost/devservers/operator:latest, whose tag moves" in done.stdout
    assert "never :latest" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_up_with_a_bad_setting_prints_one_line(site: Site) -> None:
    env = site.env | {"DEVSERVERS_LOCAL_USER": "root"}
    done = previewed(site, env)
    assert done.returncode != 0
    assert "this user name is reserved; choose another" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_destroy_keeps_only_homes_and_names_them(site: Site) -> None:
    """Runs last: what a user's namespace holds stays, and its name and homes are said."""
    site.admin.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "dev-ann", "labels": {"devservers.io/user": "ann"}},
        }
    )
    site.admin.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "mydev-home", "namespace": "dev-ann"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    left = site.stack.destroy()
    assert describe(left) == ("left: namespace dev-ann: it holds mydev-home\n  kubectl delete namespace dev-ann")
    assert objects(site.admin) - site.before == {"Namespace /dev-ann"}
    assert site.admin.get("v1", "PersistentVolumeClaim", "mydev-home", "dev-ann")


def test_checkout_after_up_preview_and_destroy_is_as_before(site: Site) -> None:
    """Runs after all others: none of Pulumi's files is written into the checkout, which automation's calls may do."""
    assert git_status() == site.checkout
