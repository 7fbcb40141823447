"""The pod template of a server.

Invariant: every pod passes Pod Security `restricted`, whatever the server's spec. Nothing of a spec reaches a security
context: a spec has an image, a command, variables and claims, and the rest is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.secrets import SecretReference
from devservers.api.user import DevServerUser
from devservers.build.disk import Disk
from devservers.build.distributed.launch import launch_name
from devservers.build.distributed.layout import Layout
from devservers.build.distributed.replica_key import replica_key_name
from devservers.build.host_key import host_key_name
from devservers.build.keys import keys_name
from devservers.build.manifest import child_labels, compact
from devservers.build.pod.containers import init_container, main_container
from devservers.build.pod.grace import grace_seconds
from devservers.build.registry import platform_secret_name
from devservers.build.settings import BuildSettings
from devservers.build.storage import Storage, storage
from devservers.build.user_secrets import in_force
from devservers.build.user_secrets import volumes as secret_volumes
from devservers.build.user_setup import volume as setup_volume
from devservers_core.names import (
    ANNOTATION_RESTARTED_AT,
    INTERACTIVE,
    LABEL_PRIORITY,
    LABEL_QUEUE,
    PRIORITY_INTERACTIVE,
)
from devservers_core.quantity import canonical
from devservers_core.registry import registry_of, secret_name
from devservers_core.replicas import replicas_domain
from devservers_core.types import Json

ANNOTATION_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""On a pod, "false": the cluster autoscaler never evicts it, however little of its node is in use (cluster-autoscaler,
FAQ). A server is somebody's work."""
ANNOTATION_SUSPENDING_PARENT = "kueue.x-k8s.io/pod-suspending-parent"
"""On a pod of a StatefulSet with queue labels, "statefulset": Kueue gates it until the whole is admitted.

Kueue's webhook for StatefulSets writes the same value, but one that is applied while Kueue is away is stored without.
"""


def service_account(user: str) -> str:
    """The ServiceAccount of a user's pods; no token of it is mounted."""
    return f"user-{user}"


def pod_template(
    server: DevServer,
    flavor: DevServerFlavor,
    user: DevServerUser,
    uid: int,
    settings: BuildSettings,
    setup_secrets: Sequence[SecretReference] = (),
) -> Json:
    """The pod template of a server, a subset of what the API server stores for it. Raises LayoutError."""
    layout = Layout.of(server, flavor)
    stored = storage(server, Disk.of(flavor).limit)
    secrets = in_force(server, user, setup_secrets)
    restarted_at = server.metadata.annotations.get(ANNOTATION_RESTARTED_AT)
    queue = {} if layout else queue_labels(flavor, settings)
    labels: Json = {"labels": child_labels(server.name, user.name) | queue}
    annotations: Json = {ANNOTATION_SAFE_TO_EVICT: "false"}
    if restarted_at:
        # A restart asked for must change the template even when nothing else in it did.
        annotations[ANNOTATION_RESTARTED_AT] = restarted_at
    if layout and settings.queueing:
        annotations[ANNOTATION_SUSPENDING_PARENT] = "statefulset"
    placement = compact(
        {
            "nodeSelector": dict(sorted(flavor.spec.node_selector.items())),
            "tolerations": [compact(toleration.to_dict()) for toleration in flavor.spec.tolerations],
        }
    )
    return {
        "metadata": labels | {"annotations": annotations},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **(_replica_names(server, user) if layout else {"hostname": server.name}),
            "serviceAccountName": service_account(user.name),
            "terminationGracePeriodSeconds": grace_seconds(server, flavor),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": uid,
                "runAsGroup": uid,
                "fsGroup": uid,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [init_container(flavor, settings, launch=layout is not None)],
            "containers": [main_container(server, flavor, user, settings, stored, secrets, layout)],
            "volumes": _volumes(server, flavor, stored, secrets),
            **_pull_secrets(server, settings),
            **placement,
        },
    }


def _replica_names(server: DevServer, user: DevServerUser) -> Json:
    """Replicas find each other by their short names; Kubernetes sets each one's own."""
    return {"dnsConfig": {"searches": [replicas_domain(server.name, user.name)]}}


def _pull_secrets(server: DevServer, settings: BuildSettings) -> Json:
    """The Secrets its images are pulled with: the platform's and the owner's."""
    names = [platform_secret_name(name) for name in settings.pull_secrets]
    if server.spec.image is not None:
        names.append(secret_name(registry_of(server.spec.image)))
    return compact({"imagePullSecrets": [{"name": name} for name in names]})


def queue_labels(flavor: DevServerFlavor, settings: BuildSettings) -> dict[str, str]:
    """The labels by which Kueue holds pods until there is quota.

    Of a Deployment they are on the template only: if they were on the Deployment, Kueue's webhook would write them into
    the template itself, and every change of queue would be a restart. A StatefulSet has them itself: it is admitted as
    a whole.
    """
    if not settings.queueing:
        return {}
    return {LABEL_QUEUE: flavor.spec.queue or INTERACTIVE, LABEL_PRIORITY: PRIORITY_INTERACTIVE}


def _volumes(
    server: DevServer, flavor: DevServerFlavor, stored: Storage, secrets: Sequence[SecretReference]
) -> list[Json]:
    return [
        *stored.volumes,
        {"name": "devservers-bin", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "keys", "configMap": {"name": keys_name(server.name), "defaultMode": 0o444}},
        {"name": "host-key", "secret": {"secretName": host_key_name(server.name), "defaultMode": 0o440}},
        *secret_volumes(secrets),
        setup_volume(),
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        *(_replica_volumes(server.name) if server.replicas else []),
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": canonical(flavor.spec.shm_size)}},
    ]


def _replica_volumes(server: str) -> list[Json]:
    return [
        {"name": "replica-key", "secret": {"secretName": replica_key_name(server), "defaultMode": 0o440}},
        {"name": "launch", "configMap": {"name": launch_name(server), "defaultMode": 0o555}},
    ]
