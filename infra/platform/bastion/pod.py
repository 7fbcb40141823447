"""The bastion's pod template: four containers and their volumes.

Invariant: of the bastion's four containers only keysync and the broker hold a token, and only sshd's is root, with
the few capabilities that changing into the person who logs in takes.

Pure. What a container writes it writes where no person's process can: their one writable folder is /tmp, and sockets
and accounts are mounted read-only beside them (connecting to a socket is no write to its file system).
"""

from __future__ import annotations

from typing import Any

from devservers_core.names import (
    BASTION,
    BASTION_ACCOUNT,
    BASTION_AUDIT_CONTAINER,
    BASTION_HOST_KEY,
    BASTION_INFO,
    BASTION_SETTINGS,
    LABEL_APP,
)
from infra.platform.bastion.target_group_binding import HEALTH_PORT, SERVICE, SSH_PORT
from infra.settings.platform.bastion import SIDECAR_CPU, SIDECAR_MEMORY
from infra.settings.stack import AWS, Settings

SELECTOR = {LABEL_APP: BASTION}
KEYSYNC, BROKER, AUDIT = 10001, 10002, 10003
"""Whom the three containers beside sshd run as; people begin at 20000."""
CAPABILITIES = ["AUDIT_WRITE", "CHOWN", "SETGID", "SETUID", "SYS_CHROOT"]
"""SETUID and SETGID to become the person, SYS_CHROOT for the half of sshd that talks before it knows who, CHOWN to give
them their terminal, AUDIT_WRITE because Debian's sshd ends a session whose kernel has auditing and refuses its word."""
EXTRA_SECONDS = 60
"""Of the grace period, after the last session was told to end."""
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNTS, _SOCKETS = "/run/bastion/accounts", "/run/bastion/sockets"
_IN_MEMORY = {"accounts": "64Mi", "audit-socket": "1Mi", "broker-socket": "1Mi", "sshd": "1Mi", "tmp": "64Mi"}
"""Volumes and their sizes. Each socket has its own: who serves one must not be able to stand in for the other."""


def pod(settings: Settings) -> dict[str, Any]:
    """The pod's spec."""
    on_aws = settings.cluster == AWS
    return {
        "serviceAccountName": BASTION_ACCOUNT,
        # A token is mounted by hand, where it is used.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.drain_seconds + EXTRA_SECONDS,
        **({"nodeSelector": settings.node_selector} if settings.node_selector else {}),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(SELECTOR)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        # Kubernetes ends these after sshd's container, so a session that drains is on record to its end.
        "initContainers": [
            _sidecar(
                settings,
                BASTION_AUDIT_CONTAINER,
                AUDIT,
                ["bastion", "audit", *(["--record"] if settings.bastion.record else [])],
                [
                    ("audit-socket", f"{_SOCKETS}/audit", False),
                    ("accounts", _ACCOUNTS, True),
                    ("recordings", "/var/lib/bastion", False),
                ],
            ),
            _sidecar(
                settings,
                "keysync",
                KEYSYNC,
                ["bastion", "accounts"],
                [("accounts", _ACCOUNTS, False), ("token", _TOKEN, True)],
            ),
            _sidecar(
                settings,
                "broker",
                BROKER,
                ["bastion", "broker"],
                [
                    ("broker-socket", f"{_SOCKETS}/broker", False),
                    ("accounts", _ACCOUNTS, True),
                    ("token", _TOKEN, True),
                ],
            ),
        ],
        "containers": [_sshd(settings, deregister_seconds=15 if on_aws else 5)],
        "volumes": [
            *({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}} for name, size in _IN_MEMORY.items()),
            {"name": "recordings", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "host-key", "secret": {"secretName": BASTION_HOST_KEY, "defaultMode": 0o400}},
            {
                "name": "session",
                "projected": {
                    "sources": [
                        {"configMap": {"name": BASTION_SETTINGS}},
                        {"configMap": {"name": BASTION_INFO, "optional": True}},
                    ]
                },
            },
            {
                "name": "token",
                "projected": {
                    # Each container that mounts it runs as another user; nobody else is in there with them.
                    "defaultMode": 0o444,
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                        {
                            "configMap": {
                                "name": "kube-root-ca.crt",
                                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                            }
                        },
                        {
                            "downwardAPI": {
                                "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                            }
                        },
                    ],
                },
            },
        ],
    }


_LIVENESS_GRACE_SECONDS = 15
"""Seconds, not a drain's: a supervisor that no longer watches withdraws nobody's key."""


def _sshd(settings: Settings, deregister_seconds: int) -> dict[str, Any]:
    bastion = settings.bastion

    def probe(path: str, **timing: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "health"}, **timing}

    return {
        **_container(settings, "sshd"),
        "args": [
            "bastion",
            "supervisor",
            f"--port={SSH_PORT}",
            f"--health-port={HEALTH_PORT}",
            f"--drain-seconds={settings.drain_seconds}",
            f"--deregister-seconds={deregister_seconds}",
            *(f"--exempt={network}" for network in bastion.exempt),
        ],
        "ports": [
            {"name": SERVICE, "containerPort": SSH_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "startupProbe": probe(
            "/healthz", periodSeconds=1, failureThreshold=60, terminationGracePeriodSeconds=_LIVENESS_GRACE_SECONDS
        ),
        "livenessProbe": probe(
            "/healthz",
            periodSeconds=10,
            timeoutSeconds=5,
            failureThreshold=6,
            terminationGracePeriodSeconds=_LIVENESS_GRACE_SECONDS,
        ),
        "readinessProbe": probe("/readyz", periodSeconds=2, timeoutSeconds=5, failureThreshold=2),
        "resources": {
            "requests": {"cpu": bastion.cpu_request, "memory": bastion.memory_request},
            "limits": {"cpu": bastion.cpu_limit, "memory": bastion.memory_limit},
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            _mount("accounts", _ACCOUNTS, True),
            _mount("audit-socket", f"{_SOCKETS}/audit", True),
            _mount("broker-socket", f"{_SOCKETS}/broker", True),
            _mount("host-key", "/etc/bastion/host", True),
            _mount("session", "/etc/bastion/session", True),
            _mount("sshd", "/run/bastion/sshd", False),
            _mount("tmp", "/tmp", False),
        ],
    }


def _sidecar(
    settings: Settings, name: str, user: int, args: list[str], mounts: list[tuple[str, str, bool]]
) -> dict[str, Any]:
    """A native sidecar: started before sshd and ended after it."""
    return {
        **_container(settings, name),
        "args": args,
        "restartPolicy": "Always",
        "resources": {
            "requests": {"cpu": SIDECAR_CPU, "memory": SIDECAR_MEMORY},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [_mount(*mount) for mount in mounts],
    }


def _container(settings: Settings, name: str) -> dict[str, Any]:
    return {
        "name": name,
        # An interpreter that was just started has no handler yet, and is deaf to a signal that it has none for.
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "image": settings.images.bastion,
        "imagePullPolicy": settings.images.pull_policy,
    }


def _mount(name: str, path: str, read_only: bool) -> dict[str, Any]:
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
