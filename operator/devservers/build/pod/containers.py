"""The containers of a server's pod.

The main container's first process is `devserver-agent`, brought by the init container, so that any image works and a
server stays up when the owner's command ends; the image's own entrypoint is never used.
"""

from __future__ import annotations

from collections.abc import Sequence

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.secrets import SecretReference
from devservers.api.user import DevServerUser
from devservers.build.disk import DISK, Disk
from devservers.build.distributed.environment import variables
from devservers.build.distributed.launch import LAUNCH_PATH, SSH_CONFIG_FILE, SSH_CONFIG_PATH
from devservers.build.distributed.layout import Layout
from devservers.build.distributed.replica_key import REPLICA_KEY_PATH
from devservers.build.manifest import compact
from devservers.build.pod.grace import grace_seconds
from devservers.build.settings import BuildSettings
from devservers.build.storage import Storage
from devservers.build.user_secrets import mounts as secret_mounts
from devservers.build.user_secrets import variables as secret_variables
from devservers.build.user_setup import mount as setup_mount
from devservers_core.names import AGENT_PORT, AGENT_PORT_NAME, HOME_PATH, LOGIN, MAIN_CONTAINER, SSH_POD_PORT
from devservers_core.quantity import canonical
from devservers_core.types import Json

INIT_CONTAINER = "agent"
BIN_PATH = "/opt/devservers"
AGENT_PROGRAM = f"{BIN_PATH}/bin/devserver-agent"
COMMAND_PATH = "/usr/local/bin/devserver"
"""The command `devserver` in a server, a link to the agent."""
KEYS_PATH = "/etc/devservers/keys"
HOST_KEY_PATH = "/etc/devservers/host-key"
RUN_PATH = "/run/devservers"
PROFILE_PATH = "/etc/profile.d/00-devservers.sh"
"""Read by /etc/profile, which has just reset PATH, before the image's own files in that folder add to it."""
POD_UID_VARIABLE = "DEVSERVERS_POD_UID"
VOLUMES_VARIABLE = "DEVSERVERS_VOLUMES"
"""Mount paths whose use the agent measures, one a line; absent where the home is all there is."""
GPUS_VARIABLE = "DEVSERVERS_GPUS"
"""How many GPUs the server has; absent where it has none. The agent lets one run at a time have them."""
START_SECONDS = 60
"""How long sshd may take to answer, in seconds, before the container is started again."""

_CPU_AND_MEMORY = ("cpu", "memory")


def init_container(flavor: DevServerFlavor, settings: BuildSettings, *, launch: bool = False) -> Json:
    """The container that brings the agent and OpenSSH into the pod; `launch` prepares the folder of launchers."""
    # A folder in a volume that the main container mounts read-only is only there if the volume has it.
    folder = [{"name": "launch", "mountPath": f"/target{LAUNCH_PATH.removeprefix(BIN_PATH)}", "readOnly": True}]
    # A pod is charged the larger of its init and its main containers: with the flavor's own cpu, memory and disk
    # the init container never raises that, and always has what the namespace's quota insists on.
    return {
        "name": INIT_CONTAINER,
        "image": settings.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [AGENT_PROGRAM, "install", "/target", RUN_PATH],
        "securityContext": _container_security(),
        **_resources(flavor, only=(*_CPU_AND_MEMORY, DISK)),
        "volumeMounts": [
            {"name": "devservers-bin", "mountPath": "/target"},
            {"name": "run", "mountPath": RUN_PATH},
            *(folder if launch else []),
        ],
    }


def main_container(
    server: DevServer,
    flavor: DevServerFlavor,
    user: DevServerUser,
    settings: BuildSettings,
    stored: Storage,
    secrets: Sequence[SecretReference],
    layout: Layout | None,
) -> Json:
    """The container that the person works in."""
    spec = server.spec
    ssh = ["--ssh"] if spec.enable_ssh else []
    container: Json = {
        "name": MAIN_CONTAINER,
        "image": spec.image or flavor.spec.image or settings.default_image,
        "command": [
            *(AGENT_PROGRAM, "run", *ssh, "--grace", str(grace_seconds(server, flavor)), "--"),
            *map(_literal, (*spec.command, *spec.args)),
        ],
        "workingDir": HOME_PATH,
        "env": _environment(
            server,
            flavor,
            user,
            stored,
            secret_variables(secrets),
            variables(server, user.name, layout) if layout else [],
        ),
        "ports": [{"name": AGENT_PORT_NAME, "containerPort": AGENT_PORT, "protocol": "TCP"}],
        # Where the agent is killed itself, the end of the log is all that says what ran.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _container_security(),
        **_resources(flavor),
        "volumeMounts": [
            *stored.mounts,
            {"name": "shm", "mountPath": "/dev/shm"},
            # Both are made by the init container and filled by the agent, which knows the image's shell and PATH.
            {"name": "run", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": True},
            {"name": "run", "mountPath": PROFILE_PATH, "subPath": "profile", "readOnly": True},
            {"name": "keys", "mountPath": "/etc/group", "subPath": "group", "readOnly": True},
            {"name": "devservers-bin", "mountPath": BIN_PATH, "readOnly": True},
            *_command_mount(stored),
            {"name": "keys", "mountPath": KEYS_PATH, "readOnly": True},
            {"name": "host-key", "mountPath": HOST_KEY_PATH, "readOnly": True},
            *secret_mounts(secrets),
            setup_mount(),
            *(_replica_mounts() if layout else []),
            {"name": "run", "mountPath": RUN_PATH},
        ],
    }
    if spec.image is None:
        # The platform's own image may exist only on the node (the embedded cluster has no registry).
        container["imagePullPolicy"] = "IfNotPresent"
    if spec.enable_ssh:
        container["ports"].append({"name": "ssh", "containerPort": SSH_POD_PORT, "protocol": "TCP"})
        # Not a startup probe: the first one that can succeed comes a second after the start (periodSeconds is whole
        # seconds, at least 1), and the container counts as running only when this is through just the same.
        command = [AGENT_PROGRAM, "answers", str(START_SECONDS)]
        container["lifecycle"] = {"postStart": {"exec": {"command": command}}}
    return container


def _command_mount(stored: Storage) -> list[Json]:
    """The mount of the command `devserver` into a folder on PATH, whose value stays the image's own.

    Without it where a volume of the server holds that folder: nothing is written into people's volumes.
    """
    if any(f"{COMMAND_PATH}/".startswith(f"{mount['mountPath'].rstrip('/')}/") for mount in stored.mounts):
        return []
    return [{"name": "devservers-bin", "mountPath": COMMAND_PATH, "subPath": "bin/devserver", "readOnly": True}]


def _replica_mounts() -> list[Json]:
    """What the replicas of a distributed server reach each other by, and launch runs with."""
    return [
        {"name": "replica-key", "mountPath": REPLICA_KEY_PATH, "readOnly": True},
        {"name": "launch", "mountPath": LAUNCH_PATH, "readOnly": True},
        {"name": "launch", "mountPath": SSH_CONFIG_PATH, "subPath": SSH_CONFIG_FILE, "readOnly": True},
    ]


def _container_security() -> Json:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _measured(stored: Storage) -> dict[str, str]:
    """The variable that names the mounts of claims to the agent."""
    claims = {volume["name"] for volume in stored.volumes if "persistentVolumeClaim" in volume}
    paths = {HOME_PATH} | {str(mount["mountPath"]) for mount in stored.mounts if mount["name"] in claims}
    return {VOLUMES_VARIABLE: "\n".join(sorted(paths))} if len(paths) > 1 else {}


def _environment(
    server: DevServer,
    flavor: DevServerFlavor,
    user: DevServerUser,
    stored: Storage,
    secrets: list[Json],
    distributed: list[Json],
) -> list[Json]:
    fixed = {
        **_measured(stored),
        **({GPUS_VARIABLE: str(flavor.gpus)} if flavor.gpus else {}),
        "DEVSERVERS_NAME": server.name,
        "DEVSERVERS_USER": user.name,
        "HOME": HOME_PATH,
        "LOGNAME": LOGIN,
        "USER": LOGIN,
    }
    own = {variable.name: variable.value for variable in (*user.spec.env, *server.spec.env)}
    secrets = [variable for variable in secrets if variable["name"] not in {own["name"] for own in distributed}]
    hidden = {variable["name"] for variable in (*secrets, *distributed)}
    merged = fixed | {name: value for name, value in own.items() if name not in fixed and name not in hidden}
    return [
        # Plans name the pod that they are for.
        {"name": POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
        *(compact({"name": name, "value": _literal(value)}) for name, value in merged.items()),
        *secrets,
        *distributed,
    ]


def _literal(text: str) -> str:
    """`text` escaped for a pod's spec, where Kubernetes expands $(NAME) and $$."""
    return text.replace("$", "$$")


def _resources(flavor: DevServerFlavor, only: tuple[str, ...] = ()) -> Json:
    """`resources` in the API server's spelling.

    A missing limit of cpu or memory becomes the request: otherwise the LimitRange would set its own default, which may
    be below the request and so refuse the pod. Disk always has a limit.
    """
    declared = flavor.spec.resources
    requests = {key: canonical(value) for key, value in declared.requests.items() if not only or key in only}
    limits = {key: canonical(value) for key, value in declared.limits.items() if not only or key in only}
    for key in _CPU_AND_MEMORY:
        if key in requests:
            limits.setdefault(key, requests[key])
    disk = Disk.of(flavor)
    requests, limits = requests | {DISK: disk.request}, limits | {DISK: disk.limit}
    return {"resources": {"requests": dict(sorted(requests.items())), "limits": dict(sorted(limits.items()))}}
