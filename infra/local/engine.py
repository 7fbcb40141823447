"""Invariant: the real Pulumi engine runs with nothing of the person's own Pulumi: our backend, our home, our plugins.

`environment` is all there is to it: a shell that sources `env_file` can type `pulumi up -s local` and gets what
`make up` does. The committed stacks/Pulumi.local.yaml stays as it is, because it carries its salt: Pulumi writes
one into a stack's file whenever it finds none there. The salt goes with the empty passphrase, and that is all right
for this stack alone: neither its configuration nor its state holds a secret (the kubeconfig is in it as a path).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devservers.api.meta import SYSTEM_NAMESPACE
from infra.local import toolchain
from infra.local.context import EMBEDDED, Choice
from infra.local.paths import ROOT, Paths, current

STACK = "local"
USER_LABEL = "devservers.io/user"
_PASSED_ON = (
    "DEVSERVERS_IMAGE_OPERATOR",
    "DEVSERVERS_IMAGE_SSH",
    "DEVSERVERS_IMAGE_BASE",
    "DEVSERVERS_LOCAL_USER",
    "DEVSERVERS_LOCAL_KEYS_FILE",
)


class EngineError(RuntimeError):
    """Pulumi did not do what was asked; its own output said why. One line, and one of what to do."""


@dataclass(frozen=True)
class Leftover:
    """A user namespace that destroy left, and the homes that keep it."""

    namespace: str
    claims: tuple[str, ...]


class Engine:
    """Pulumi for the stack `local` on one cluster."""

    def __init__(self, choice: Choice, paths: Paths | None = None, env: Mapping[str, str] | None = None) -> None:
        """``env`` is the environment to start from, the process's own when None.

        Raises ToolchainError when a program is missing.
        """
        self._choice = choice
        self._paths = paths or current()
        self._env = dict(os.environ if env is None else env)
        self._pulumi = toolchain.need("pulumi", self._paths)

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

    def up(self, *, refresh: bool = False, extra: Sequence[str] = ()) -> None:
        """`pulumi up`, its output streamed.

        ``refresh`` first looks what is really there; so it does by itself for a cluster that was made anew under
        an old name, because what the state says is there would otherwise never be made again.
        """
        self._prepare()
        self.env_file.write_text(self.shell())
        seen, cluster = self.backend / "cluster", self._cluster_uid()
        refresh = refresh or (seen.exists() and seen.read_text() != cluster)
        flags = ["--yes", "--skip-preview", *(["--refresh"] if refresh else [])]
        try:
            self._run(["up", "--stack", STACK, "--non-interactive", *flags, *extra])
        except EngineError as error:
            # Pulumi doesn't always say why the operator's pods aren't ready; the pods do.
            reasons = self._waiting_pods()
            raise EngineError("\n".join([str(error), *reasons])) from None
        seen.write_text(cluster)

    def preview(self, *, extra: Sequence[str] = ()) -> None:
        """`pulumi preview`, its output streamed."""
        self._prepare()
        self._run(["preview", "--stack", STACK, "--non-interactive", *extra])

    def destroy(self, *, wait_seconds: float = 60) -> list[Leftover]:
        """`pulumi destroy`, then the user namespaces that stay, each with the homes in it (ruling 4).

        Waits for namespaces that are going until they are gone, at most ``wait_seconds``.
        """
        self._prepare()
        self._run(["destroy", "--stack", STACK, "--non-interactive", "--yes", "--skip-preview"])
        return self._leftovers(wait_seconds)

    def outputs(self) -> dict[str, object]:
        """The stack's outputs."""
        self._prepare()
        text = self._run(["stack", "output", "--stack", STACK, "--json"], capture=True)
        return dict(json.loads(text))

    def _prepare(self) -> None:
        for folder in (self.backend, self.home / "plugins"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._link_plugins()
        self._drop_dead_locks()
        found = self._run(["stack", "ls", "--json"], capture=True)
        if not any(stack["name"].split("/")[-1] == STACK for stack in json.loads(found)):
            self._run(["stack", "init", STACK, "--no-select"], capture=True)

    def _drop_dead_locks(self) -> None:
        """Remove the locks of engines that are gone: one that was killed leaves its own behind for ever."""
        for file in (self.backend / ".pulumi" / "locks").rglob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                lock = json.loads(file.read_text())
                if lock["hostname"] == socket.gethostname() and not _runs(int(lock["pid"])):
                    file.unlink()

    def _link_plugins(self) -> None:
        """Put the plugins we built where the engine looks; a person's own Pulumi brings or downloads its own."""
        for program, folder in (
            ("pulumi-resource-kubernetes", f"resource-kubernetes-v{toolchain.PULUMI_KUBERNETES}"),
            ("pulumi-language-python", f"language-python-v{toolchain.PULUMI}"),
        ):
            built = toolchain.find(program, self._paths)
            if built is None or built.parent == self._pulumi.parent:
                continue
            link = self.home / "plugins" / folder / program
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink() or link.readlink() != built:
                link.unlink(missing_ok=True)
                link.symlink_to(built)

    def _run(self, arguments: Sequence[str], *, capture: bool = False) -> str:
        env = {key: value for key, value in self._env.items() if not key.startswith("PULUMI_")}
        done = subprocess.run(
            [str(self._pulumi), *arguments],
            cwd=ROOT,
            env=env | self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        if done.returncode:
            what = f"pulumi {arguments[0]} failed with exit code {done.returncode}"
            detail = f": {' '.join((done.stderr or '').split())[:400]}" if capture else ", see above"
            raise EngineError(f"{what}{detail}\n  mend what it names and run the same command again")
        return done.stdout or ""

    def _leftovers(self, wait_seconds: float) -> list[Leftover]:
        deadline = time.monotonic() + wait_seconds
        while True:
            namespaces = self._kubectl("namespaces", "--selector", USER_LABEL)
            going = [each for each in namespaces if each["metadata"].get("deletionTimestamp")]
            if not going or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        found = []
        for namespace in namespaces:
            name = namespace["metadata"]["name"]
            claims = self._kubectl("persistentvolumeclaims", "--namespace", name)
            found.append(Leftover(name, tuple(sorted(claim["metadata"]["name"] for claim in claims))))
        return sorted(found, key=lambda each: each.namespace)

    def _waiting_pods(self) -> list[str]:
        """Why containers of the operator's namespace don't run, a line each; nothing when it can't be told."""
        found: dict[str, None] = {}
        with contextlib.suppress(EngineError, toolchain.ToolchainError):
            for pod in self._kubectl("pods", "--namespace", SYSTEM_NAMESPACE):
                for container in pod.get("status", {}).get("containerStatuses", []):
                    waiting = container.get("state", {}).get("waiting")
                    if waiting:
                        text = f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
                        found[f"  the operator's pod waits: {text}"] = None
        return list(found)

    def _cluster_uid(self) -> str:
        """Tells one cluster from the next: the uid of its kube-system namespace."""
        (found,) = self._kubectl("namespaces", "--field-selector", "metadata.name=kube-system")
        return str(found["metadata"]["uid"])

    def _kubectl(self, *arguments: str) -> list[dict[str, Any]]:
        kubectl = toolchain.need("kubectl", self._paths)
        context = ["--context", self._choice.context] if self._choice.context else []
        done = subprocess.run(
            [
                *(str(kubectl), "--kubeconfig", str(self._choice.kubeconfig), *context),
                *("get", *arguments, "--output", "json"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=self._env,
        )
        if done.returncode:
            raise EngineError(f"kubectl get {arguments[0]} failed: {done.stderr.strip()}\n  is the cluster up?")
        return list(json.loads(done.stdout)["items"])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def describe(leftovers: Sequence[Leftover]) -> str:
    """What destroy left, one line for each namespace and one with the command that removes it; "" for nothing."""
    lines = []
    for each in leftovers:
        homes = ", ".join(each.claims) or "no volume claims; the operator was gone before it was cleaned up"
        lines.append(f"left: namespace {each.namespace} with {homes}")
        lines.append(f"  kubectl delete namespace {each.namespace} deletes it and everything in it")
    return "\n".join(lines)
