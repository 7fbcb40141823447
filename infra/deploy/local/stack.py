"""The stack `local`: its Pulumi environment, and up, preview and destroy of it.

Invariant: Pulumi runs with nothing of the person's own Pulumi. Backend, PULUMI_HOME and plugins are the stack's.

:meth:`LocalStack.environment` is all there is to it: in a shell that sources `env_file`, `pulumi up -s local` does what
`make up` does. The committed stacks/Pulumi.local.yaml stays as it is, because it carries its salt: Pulumi writes
one into a stack's file whenever it finds none there. The salt goes with the empty passphrase, and that is all right
for this stack alone: neither its configuration nor its state holds a secret (the kubeconfig is in it as a path).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devcluster import modules, toolchain
from devservers_core.names import BASTION_NAMESPACE, KUEUE_NAMESPACE, SYSTEM_NAMESPACE
from devservers_core.paths import Paths, current
from infra.deploy import rollouts
from infra.deploy.kubectl import KubectlError
from infra.deploy.leftover import Leftover
from infra.deploy.local.end_servers import end_servers, foreign_workloads, leftovers
from infra.deploy.local.kubectl import kubectl
from infra.deploy.local.locks import drop_dead_locks
from infra.deploy.rollouts import RolloutError
from infra.deploy.stack_runner import DEFAULTS, Backend, EngineLostError, Options, PulumiError, StackRunner
from infra.errors import InfraError
from infra.local.context import EMBEDDED, Choice

STACK = "local"
_PASSED_ON = (
    "DEVSERVERS_IMAGE_OPERATOR",
    "DEVSERVERS_IMAGE_AGENT",
    "DEVSERVERS_IMAGE_BASE",
    "DEVSERVERS_IMAGE_BASTION",
    "DEVSERVERS_IMAGE_KUEUE",
    "DEVSERVERS_KUEUE_CHART",
    "DEVSERVERS_LOCAL_CAPACITY",
    "DEVSERVERS_LOCAL_NETWORK",
    "DEVSERVERS_LOCAL_SSH_PORT",
    "DEVSERVERS_LOCAL_USER",
    "DEVSERVERS_LOCAL_KEYS_FILE",
)


class LocalStack:
    """The stack `local` on one cluster."""

    def __init__(self, choice: Choice, paths: Paths | None = None, env: Mapping[str, str] | None = None) -> None:
        """``env`` is the environment to start from, the process's own when None.

        Raises ToolchainError when a program is missing.
        """
        self._choice = choice
        self._paths = paths or current()
        self._env = dict(os.environ if env is None else env)
        self._pulumi = toolchain.need("pulumi", self._paths)
        self._kubectl = kubectl(choice, self._paths, self._env)

    @property
    def _path(self) -> str:
        return self._env.get("PATH") or os.defpath

    @property
    def backend(self) -> Path:
        """Where the stack's state is: a folder for each cluster, so that none is taken for another."""
        return self._paths.state / "pulumi" / (self._choice.context or EMBEDDED)

    @property
    def home(self) -> Path:
        """PULUMI_HOME, with the plugins."""
        return self._paths.state / "pulumi" / "home"

    @property
    def env_file(self) -> Path:
        """What a shell sources before `pulumi up -s local` is typed by hand; written by every :meth:`up`."""
        return self._paths.state / "pulumi" / "env"

    def environment(self) -> dict[str, str]:
        """What has to be added to an environment for `pulumi up -s local` to do what :meth:`up` does."""
        uv = toolchain.find_uv(self._env.get("PATH"), self._paths)
        # Where uv lies may be a virtual environment: last, so that its Python is nobody's.
        path = [str(self._pulumi.parent), self._path]
        path += [str(uv.parent)] if uv else []
        added = {
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_HOME": str(self.home),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # The platform's objects are this stack's alone: what somebody changed by hand is put back, and what an
            # engine made whose state was lost is taken over.
            "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
            # The program's packages bring SDKs of clouds that this stack has nothing of: the engine would try to fetch
            # the plugins of every one of them, at each run. What is needed is put there by :meth:`_plugins`.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # Helm, inside the Kubernetes plugin, has nothing of the person's either.
            "HELM_CACHE_HOME": str(self.home / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(self.home / "helm" / "config"),
            "HELM_DATA_HOME": str(self.home / "helm" / "data"),
            # Pulumi's uv toolchain syncs before each run: from the lock as it is, and by this Python.
            "UV_FROZEN": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "DEVSERVERS_CONTEXT": self._choice.context or EMBEDDED,
            "DEVSERVERS_KUBECONFIG": str(self._choice.kubeconfig),
            "PATH": os.pathsep.join(dict.fromkeys(path)),
        }
        return added | {name: self._env[name] for name in _PASSED_ON if self._env.get(name)}

    def shell(self) -> str:
        """:meth:`environment` as lines for a shell; PATH is added to, not replaced."""
        added = self.environment()
        before, _, after = added.pop("PATH").partition(self._path)
        lines = [f"export {name}={shlex.quote(value)}" for name, value in added.items()]
        lines.append(f'export PATH={shlex.quote(before)}"$PATH"{shlex.quote(after)}')
        return "\n".join(["unset PULUMI_CONFIG_PASSPHRASE_FILE", *lines]) + "\n"

    def up(self, options: Options = DEFAULTS) -> dict[str, Any]:
        """`pulumi up`, then the rollouts' end; gives the outputs. Raises InfraError.

        The option ``refresh`` first looks what is really there; so it does by itself for a cluster that was made anew
        under an old name, because what the state says is there would otherwise never be made again.
        """
        self._prepare()
        self.env_file.write_text(self.shell())
        uid_file, cluster = self.backend / "cluster", self._cluster_uid()
        if uid_file.exists() and uid_file.read_text() != cluster:
            options = replace(options, refresh=True)
        try:
            try:
                outputs = self._runner().up(options)
            except EngineLostError:
                # `up` goes on where it was, and on this machine it is quick: the second try tells what a broken
                # connection hides.
                print("\nPulumi's program lost its connection to the engine; trying once more", file=sys.stderr)
                outputs = self._runner().up(options)
            rollouts.wait(self._kubectl, (SYSTEM_NAMESPACE, BASTION_NAMESPACE))
        except (PulumiError, RolloutError) as error:
            # Pulumi doesn't always say why the operator's pods aren't ready; the pods do.
            reasons = self._waiting_pods()
            raise type(error)(error.what, "\n".join([error.remedy, *reasons])) from None
        uid_file.write_text(cluster)
        return outputs

    def preview(self, options: Options = DEFAULTS) -> None:
        """`pulumi preview`. Raises InfraError."""
        self._prepare()
        self._runner().preview(options)

    def destroy(self, *, wait_seconds: float = 60) -> list[Leftover]:
        """All servers, then `pulumi destroy`; the user namespaces that stay, each with the homes in it.

        Refused before any server ends while an object in a queue belongs to no server. Waits for pods to leave their
        queues, and for namespaces that are going until they are gone, at most ``wait_seconds`` each.
        """
        self._prepare()
        if others := foreign_workloads(self._kubectl):
            raise InfraError(
                f"these objects in a queue belong to no server: {', '.join(others[:10])}; no server was ended",
                "delete what owns them and run the same command again",
            )
        if left := end_servers(self._kubectl, wait_seconds):
            raise InfraError(
                f"still in a queue after the servers were ended: {', '.join(left[:10])}",
                "delete what owns them and run the same command again; if Kueue is down, `make up` first",
            )
        self._runner().destroy()
        return leftovers(self._kubectl, wait_seconds)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        self._prepare()
        return self._runner().outputs()

    def _prepare(self) -> None:
        for folder in (self.backend, self.home / "plugins"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._plugins()
        drop_dead_locks(self.backend)
        runner = self._runner()
        if not runner.exists():
            runner.create()

    def _runner(self) -> StackRunner:
        env = {key: value for key, value in self._env.items() if not key.startswith("PULUMI_")}
        return StackRunner(STACK, Backend(self._pulumi, env, self.environment()))

    def _plugins(self) -> None:
        """Put the plugins we built where the engine looks; a person's own Pulumi brings or fetches its own."""
        kubernetes = f"resource-kubernetes-v{modules.PULUMI_KUBERNETES}"
        for program, folder in (
            ("pulumi-resource-kubernetes", kubernetes),
            ("pulumi-language-python", f"language-python-v{modules.PULUMI}"),
        ):
            built = toolchain.find(program, self._paths)
            if built is None or built.parent == self._pulumi.parent:
                continue
            link = self.home / "plugins" / folder / program
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink() or link.readlink() != built:
                link.unlink(missing_ok=True)
                link.symlink_to(built)
        there = toolchain.find("pulumi-resource-kubernetes", self._paths) or (self.home / "plugins" / kubernetes)
        if not there.exists():
            self._runner().query("plugin", "install", "resource", "kubernetes", modules.PULUMI_KUBERNETES)

    def _waiting_pods(self) -> list[str]:
        """Why containers of the platform don't run, a line each; nothing when it can't be told."""
        reasons: dict[str, None] = {}
        with contextlib.suppress(KubectlError):
            platform = {
                "the operator's": SYSTEM_NAMESPACE,
                "the bastion's": BASTION_NAMESPACE,
                "Kueue's": KUEUE_NAMESPACE,
            }
            for whose, namespace in platform.items():
                for pod in self._kubectl.get("pods", "--namespace", namespace):
                    for container in pod.get("status", {}).get("containerStatuses", []):
                        waiting = container.get("state", {}).get("waiting")
                        if waiting:
                            text = f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
                            reasons[f"  {whose} pod waits: {text}"] = None
        return list(reasons)

    def _cluster_uid(self) -> str:
        """Tells one cluster from the next: the uid of its kube-system namespace."""
        (namespace,) = self._kubectl.get("namespaces", "--field-selector", "metadata.name=kube-system")
        return str(namespace["metadata"]["uid"])
