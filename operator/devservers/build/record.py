"""The record of a server's last start, as annotations of its workload.

Invariant: only the owner's own change replaces it. `input-hash` covers what the owner chose (the flavor's name, not its
content). While it is unchanged and the server runs, the recorded template is the desired one: a new operator, agent or
default image, or an edited flavor, restarts nothing, and drift made by hand is still put back. A field at its default
is left out of the hash, so that a field added by a later version changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle
from devservers_core.names import (
    ANNOTATION_DEFAULTS,
    ANNOTATION_FLAVOR_HASH,
    ANNOTATION_INPUT_HASH,
    ANNOTATION_RESTARTED_AT,
    ANNOTATION_RUNNING_SINCE,
    ANNOTATION_TEMPLATE,
    INTERACTIVE,
)
from devservers_core.quantity import canonical
from devservers_core.types import Json

from .manifest import compact
from .storage import normal_path

_ALWAYS = (ANNOTATION_INPUT_HASH, ANNOTATION_FLAVOR_HASH, ANNOTATION_TEMPLATE)
"""The annotations of every record."""


def input_hash(server: DevServer, uid: int) -> str:
    """The hash of what the owner chose for the pod; of a home only that there is one."""
    spec = server.spec
    return _digest(
        compact(
            {
                "flavor": spec.flavor,
                "image": spec.image,
                "command": list(spec.command),
                "args": list(spec.args),
                "env": [[variable.name, variable.value] for variable in spec.env],
                "secrets": [[secret.name, secret.key, secret.env, secret.file] for secret in spec.secrets],
                "home": spec.persistent_home_size is not None,
                "shared": spec.shared_volume_claim_name,
                "volumes": [[v.claim_name, normal_path(v.mount_path), v.read_only] for v in spec.volumes],
                "withoutSSH": not spec.enable_ssh,
                "uid": uid,
                "restartedAt": server.metadata.annotations.get(ANNOTATION_RESTARTED_AT),
                "distributed": _layout(server),
            }
        )
    )


def _layout(server: DevServer) -> Json:
    """What a distributed server's owner chose for its pods; empty for a standalone one."""
    asked = server.spec.distributed if server.replicas is not None else None
    if asked is None:
        return {}
    chosen = {"replicas": asked.replicas, "processes": asked.nprocs_per_node, "backend": asked.backend}
    return compact({**chosen, "nccl": asked.nccl_settings})


def flavor_hash(flavor: DevServerFlavor) -> str:
    """The hash of what a flavor sets in a pod, not of its price or description."""
    spec = flavor.spec
    return _digest(
        compact(
            {
                "requests": {key: canonical(value) for key, value in spec.resources.requests.items()},
                "limits": {key: canonical(value) for key, value in spec.resources.limits.items()},
                "nodeSelector": spec.node_selector,
                "tolerations": [compact(toleration.to_dict()) for toleration in spec.tolerations],
                "shmSize": canonical(spec.shm_size),
                "queue": spec.queue if spec.queue != INTERACTIVE else None,
                "image": spec.image,
            }
        )
    )


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a start, read once."""

    annotations: dict[str, str]
    """Of the workload; the template is one of them."""

    template: Json
    """The pod template."""

    def with_start(self, started: str | None) -> Record:
        """The record with the time of its start, where it has none: an earlier version left it out."""
        if started is None or ANNOTATION_RUNNING_SINCE in self.annotations:
            return self
        return replace(self, annotations=self.annotations | {ANNOTATION_RUNNING_SINCE: started})


def new_record(inputs: str, flavor: DevServerFlavor, template: Json, started: str | None = None) -> Record:
    """The record of a start now; `started` is from when on its time limits count.

    The flavor's lifecycle is in it where there is one: its defaults count from one start to the next, its limits hold
    where the flavor that the server names doesn't exist. The pod has the input hash too: it distinguishes a lost pod
    from a replaced one.
    """
    metadata = template["metadata"]
    started_with = {**(metadata.get("annotations") or {}), ANNOTATION_INPUT_HASH: inputs}
    template = {**template, "metadata": {**metadata, "annotations": started_with}}
    annotations = {
        ANNOTATION_INPUT_HASH: inputs,
        ANNOTATION_FLAVOR_HASH: flavor_hash(flavor),
        ANNOTATION_TEMPLATE: _compact_json(template),
    }
    if lifecycle := flavor.spec.lifecycle.to_dict():
        annotations[ANNOTATION_DEFAULTS] = _compact_json(lifecycle)
    return Record(annotations, template).with_start(started)


def stored_record(live_workload: Json | None) -> Record | None:
    """The record on a stored workload, or None when there is none or it can't be read."""
    annotations = _annotations(live_workload)
    if any(name not in annotations for name in _ALWAYS):
        return None
    template = _template(annotations[ANNOTATION_TEMPLATE])
    if template is None:
        return None
    optional = [name for name in (ANNOTATION_DEFAULTS, ANNOTATION_RUNNING_SINCE) if name in annotations]
    return Record({name: str(annotations[name]) for name in (*_ALWAYS, *optional)}, template)


def kept_record(live_workload: Json | None, inputs: str, *, running: bool) -> Record | None:
    """The record of the last start where it stays, None where a new one is rendered.

    A stopped server keeps its old record: that costs no write, and its next start renders a new one.
    """
    begun = live_replicas(live_workload) > 0 and _annotations(live_workload).get(ANNOTATION_INPUT_HASH) == inputs
    return stored_record(live_workload) if begun or not running else None


def running_since(live_workload: Json | None) -> str | None:
    """From when on the time limits of a running server count, as RFC 3339.

    Nobody but the operator writes it, and only when it begins a new pod. None for a server that doesn't run, or that an
    earlier version started.
    """
    if not live_replicas(live_workload):
        return None
    return _annotations(live_workload).get(ANNOTATION_RUNNING_SINCE)


def recorded_defaults(live_workload: Json | None, flavor: DevServerFlavor | None) -> FlavorLifecycle:
    """The lifecycle defaults that hold for a server: those at its last start, before one the flavor's own.

    A server that was started by an earlier version has none.
    """
    if live_workload is None:
        return flavor.spec.lifecycle if flavor is not None else FlavorLifecycle()
    try:
        return FlavorLifecycle.model_validate_json(_annotations(live_workload).get(ANNOTATION_DEFAULTS) or "{}")
    except ValueError:
        return FlavorLifecycle()


def limiting_flavor(
    server: DevServer, flavor: DevServerFlavor | None, started_with: FlavorLifecycle
) -> DevServerFlavor | None:
    """The flavor whose limits hold: the server's, or what is recorded of the one it was started with.

    A server that names a flavor which doesn't exist goes on running as it was started.
    """
    if flavor is not None:
        return flavor
    spec = {"resources": {}, "lifecycle": started_with.to_dict()}
    return DevServerFlavor.parse({"metadata": {"name": server.spec.flavor}, "spec": spec})


def flavor_changed(live_workload: Json | None, flavor: DevServerFlavor | None) -> bool:
    """Whether the flavor was edited after the server's start."""
    recorded = _annotations(live_workload).get(ANNOTATION_FLAVOR_HASH)
    if recorded is None or flavor is None or not live_replicas(live_workload):
        return False
    return bool(recorded != flavor_hash(flavor))


def live_replicas(live_workload: Json | None) -> int:
    """The replicas a stored workload asks for, 0 without one."""
    return int(((live_workload or {}).get("spec") or {}).get("replicas", 0))


def _annotations(live_workload: Json | None) -> Json:
    return ((live_workload or {}).get("metadata") or {}).get("annotations") or {}


def _template(text: str) -> Json | None:
    try:
        template = json.loads(text)
    except ValueError:
        return None
    return template if isinstance(template, dict) and isinstance(template.get("spec"), dict) else None


def _compact_json(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(value: Json) -> str:
    return hashlib.sha256(_compact_json(value).encode()).hexdigest()[:16]
