"""Explains why a server has no node, no pod or no volume, and what to do.

The messages need no knowledge of Kubernetes. They hold no counts and no generated names: the same cause gives the same
text however often it is reported, so the status isn't written again. The scheduler's own text stays on the pod.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import GPU, KUEUE_NAMESPACE, KUEUE_UNAVAILABLE, USER_SECRET_PREFIX

_RESOURCES = {"cpu": "CPU", "memory": "memory", GPU: "GPUs", "ephemeral-storage": "disk space"}

_STOP_ONE = (
    "Stop a server you don't need, or choose a smaller flavor (`devctl flavors`); it starts as soon as there is room."
)
_ASK_ADMIN = "Choose another flavor (`devctl flavors`) or ask an administrator."
_AWAIT_VOLUME = "It starts when the volume is ready; if that lasts, ask an administrator about the storage class."
_AWAIT_NODE = "It starts when the node is ready; if that lasts, ask an administrator."
_CREATE_CLAIM = "Create it, or take it out of the server's volumes."

_TAINT = r"taint(?:\(s\)|s)? ?\{"
_CAUSES = (
    (r"no nodes available to schedule pods", "The cluster has no node.", "Ask an administrator."),
    (r'persistentvolumeclaim "([^"]+)" not found', "The volume claim {0} doesn't exist.", _CREATE_CLAIM),
    (r'persistentvolumeclaim "([^"]+)" is being deleted', "The volume claim {0} is being deleted.", _CREATE_CLAIM),
    (r"unbound immediate PersistentVolumeClaims", "A volume isn't ready: its claim isn't bound.", _AWAIT_VOLUME),
    (r"find available persistent volumes to bind", "There is no storage for one of its volumes.", _AWAIT_VOLUME),
    (r"volume node affinity conflict",
     "One of its volumes is in another zone or on another node than every node with free resources.", _STOP_ONE),
    (r"exceed max volume count", "Every node has reached its limit of attached volumes.", _STOP_ONE),
    (r"Too many pods", "Every node has reached its limit of pods.", _STOP_ONE),
    (r"didn't match Pod's node affinity/selector",
     "No free node has the labels that flavor {flavor} selects{selector}.", _ASK_ADMIN),
    (_TAINT + r"node\.kubernetes\.io/(?:not-ready|unreachable|network-unavailable)",
     "A node isn't ready.", _AWAIT_NODE),
    (_TAINT + r"node\.kubernetes\.io/(?:disk|memory|pid)-pressure",
     "A node is short of disk or memory.", _STOP_ONE),
    (_TAINT + r"(?!node\.kubernetes\.io/)([^:}\s]+)", "Some nodes are reserved for others ({0}).", _ASK_ADMIN),
    (r"were unschedulable|\{node\.kubernetes\.io/unschedulable", "Some nodes accept no new pods for now.", _STOP_ONE),
)  # fmt: skip

_TRANSIENT = re.compile(r"replicasets?\.apps .*not found|object has been modified|status unknown for quota", re.I)
"""Kueue's webhook reads the pod's ReplicaSet from a cache that may not have it yet; a new quota isn't counted yet."""
_VOLUME_NAME = re.compile(r'for volume "([^"]+)"|unmounted volumes=\[([^\],\s]+)')
_KUBELET_PATH = re.compile(r"/var/lib/kubelet/\S+")

_SECRET = re.compile(rf"\b{USER_SECRET_PREFIX}([a-z0-9-]+)")
_SECRET_KEY = re.compile(r"couldn't find key (\S+) in Secret|non-existent secret key: ([^\s\"]+)")

QUOTA = re.compile(
    r"exceeded quota: [^,]+, requested: (?P<requested>.*), used: (?P<used>.*), limited: (?P<limited>.*)", re.S
)
_FORBIDDEN = re.compile(r"^.*?is forbidden: ", re.S)


@dataclass(frozen=True, slots=True)
class Cause:
    """A condition reason of the closed set, and its message."""

    reason: str
    message: str


def unschedulable_cause(text: str, flavor_name: str, flavor: DevServerFlavor | None) -> Cause:
    """The cause behind the scheduler's message `text`."""
    text = text.split(" preemption:")[0]
    lacking = [_RESOURCES.get(name, name) for name in sorted(set(re.findall(r"Insufficient ([\w./-]*\w)", text)))]
    causes: list[str] = []
    advice = ""
    if lacking:
        causes.append(f"No node has enough free {_join(lacking)} for flavor {flavor_name}.")
        advice = _STOP_ONE
    selector = ",".join(f"{k}={v}" for k, v in sorted(flavor.spec.node_selector.items())) if flavor else ""
    for pattern, sentence, action in _CAUSES:
        match = re.search(pattern, text)
        if match:
            selector_text = f" ({selector})" if selector else ""
            causes.append(sentence.format(*match.groups(), flavor=flavor_name, selector=selector_text))
            advice = advice or action
    if not causes:
        counts = re.sub(r"\b\d+(/\d+)?\s+", "", text).strip().rstrip(".")[:300]
        causes.append(f"Kubernetes finds no node for it: {counts}." if counts else "Kubernetes finds no node for it.")
        advice = _ASK_ADMIN
    claim_missing = re.search(r'persistentvolumeclaim "[^"]+" not found', text)
    return Cause("VolumeNotFound" if claim_missing else "Unschedulable", " ".join([*causes, advice]))


def rejection_cause(text: str) -> Cause:
    """The cause behind a Deployment's ReplicaFailure: a quota, Pod Security, or a webhook."""
    quota = QUOTA.search(text)
    if quota:
        requested, limited = _amounts(quota["requested"]), _amounts(quota["limited"])
        requested_text = _join([f"{amount} {resource}" for resource, amount in requested.items()])
        quota_text = _join([f"{amount} {resource}" for resource, amount in limited.items()])
        return Cause(
            "QuotaExceeded",
            f"It asks for {requested_text}, and the quota of all your servers together is {quota_text}, of which too "
            "much is in use. Stop a server you don't need (`devctl list`), choose a smaller flavor "
            "(`devctl flavors`), or ask an administrator for more.",
        )
    if "failed calling webhook" in text and KUEUE_NAMESPACE in text:
        return Cause(
            KUEUE_UNAVAILABLE,
            "Kueue, which grants the quota, doesn't answer, so Kubernetes can't create the pod. The server starts by "
            "itself when Kueue answers again. If this lasts, tell an administrator.",
        )
    cause = " ".join(_FORBIDDEN.sub("", text).split()).rstrip(".")[:400]
    if "violates PodSecurity" in text:
        return Cause("PodRefused", f"The cluster's security rules refuse the pod: {cause}. Ask an administrator.")
    if "webhook" in text:
        return Cause(
            "PodRefused",
            f"An admission webhook of the cluster rejects the pod: {cause}. Ask an administrator.",
        )
    return Cause("PodRefused", f"The cluster refuses the pod: {cause}. Ask an administrator; it is tried again.")


def is_transient(text: str) -> bool:
    """Whether Kubernetes' next try will not meet this refusal."""
    return _TRANSIENT.search(text) is not None


def missing_secret(text: str, own: Collection[str]) -> str | None:
    """The message for the kubelet's `text` about a secret of the person, None when it is about something else.

    `own` are the secrets that the server's own spec refers to; any other is of the person's set-up.
    """
    match, key_match = _SECRET.search(text), _SECRET_KEY.search(text)
    key = (key_match[1] or key_match[2]) if key_match else ""
    if not match:
        # For a file the kubelet names the key alone.
        advice = "`devctl secret list` shows what there is, `devctl secret set NAME KEY` adds it."
        return f"A secret of this server has no key {key}. {advice}" if key else None
    name = match[1]
    what = f"The secret {name} has no key {key}" if key else f"The secret {name} doesn't exist"
    command = f"devctl secret set {name} {key}".rstrip()
    message = f"{what}. `{command}` makes it, and the server starts by itself then."
    if name in own:
        return message
    return f"{message} All your servers get it by your set-up: see `devctl setup show`."


def mount_failure_message(text: str, claims: Mapping[str, str]) -> str:
    """The message for the kubelet's FailedMount or FailedAttachVolume `text` that is about no secret of a person.

    `claims` has the volume claims by the names that Kubernetes uses for their volumes.
    """
    match = _VOLUME_NAME.search(text)
    name = (match[1] or match[2]) if match else ""
    subject = f"The volume claim {claims[name]}" if name in claims else f"The volume {name}" if name else "A volume"
    _, output, cause = text.rpartition("Output:")
    if not output:
        _, quoted, cause = text.partition(f'"{name}"')
        cause = cause if quoted else text.rpartition(": ")[2]
    cause = (
        " ".join(_KUBELET_PATH.sub("its folder", cause).split()).lstrip(": ").rstrip(".")[:300] or "Kubernetes fails"
    )
    return (
        f"{subject} can't be mounted: {cause}. Kubernetes keeps retrying, and the server starts when it succeeds. If "
        "this lasts, ask an administrator."
    )


def _amounts(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {_resource_text(name.strip()): amount.strip() for name, _, amount in pairs}


def _resource_text(name: str) -> str:
    resource = name.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")
    return _RESOURCES.get(resource, resource)


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
