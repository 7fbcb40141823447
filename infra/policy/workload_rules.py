"""Policy rules about pods, their namespaces and pinned versions.

Invariant: what Kubernetes objects of ours run is known, closed, and has no token it doesn't ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policy.rule import Rule
from infra.policy.subject import ADDON, UNKNOWN, Stack, Subject, Unknown, at, items, off

LEVEL = "pod-security.kubernetes.io/enforce"
LEVELS = ("restricted", "baseline")
PRIVILEGED = ("kube-system",)
"""Where privileged pods may be: CNI, CSI and device plugins live there."""
MOVING = ("latest", "main", "master", "stable", "edge", "nightly", "dev")
_TEMPLATES = {
    "Pod": "spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), "spec.template.spec"),
}
_IMAGE = re.compile(r"^(?P<name>[^@]+?)(:(?P<tag>[\w][\w.-]*))?(?P<digest>@sha256:[0-9a-f]{64})?$")


def pod_of(subject: Subject) -> Mapping[str, Any] | None:
    """The pod that an object runs, None where it runs none."""
    path = _TEMPLATES.get(subject.kind) if subject.kubernetes else None
    found = subject.at(path) if path else None
    return found if isinstance(found, Mapping) else None


def _namespaces(subject: Subject) -> Iterator[str]:
    if subject.type != "kubernetes:core/v1:Namespace" or subject.at("metadata.name") in PRIVILEGED:
        return
    labels = subject.at("metadata.labels") or {}
    level = labels if isinstance(labels, Unknown) else labels.get(LEVEL)
    if level not in LEVELS and not isinstance(level, Unknown):
        yield f"its Pod Security level is {level or 'not set'}"


def _closed(stack: Stack) -> Iterator[tuple[Subject, str]]:
    closed = {
        each.at("metadata.namespace")
        for each in stack.subjects
        if each.kubernetes and each.kind == "NetworkPolicy" and _default_deny(each)
    }
    for namespace in stack.of("kubernetes:core/v1:Namespace"):
        if namespace.at("metadata.name") not in closed:
            yield namespace, "any pod of the cluster reaches its pods"


def _default_deny(policy: Subject) -> bool:
    everyone = not policy.at("spec.podSelector") and policy.at("spec.podSelector") is not None
    return everyone and "Ingress" in items(policy.at("spec.policyTypes")) and not policy.at("spec.ingress")


def _tokens(subject: Subject) -> Iterator[str]:
    if subject.type == "kubernetes:core/v1:ServiceAccount" and not off(subject.at("automountServiceAccountToken")):
        yield "every pod that names it gets its token"
    pod = pod_of(subject)
    if pod is not None and pod.get("automountServiceAccountToken") is None:
        yield "it doesn't say whether its pods get a token"


def _images(subject: Subject) -> Iterator[str]:
    pod = pod_of(subject) or {}
    for container in items(pod.get("initContainers")) + items(pod.get("containers")):
        image = at(container, "image")
        if isinstance(image, Unknown):
            continue
        if problem := unpinned(str(image or "")):
            yield f"container {at(container, 'name')} runs {image or 'nothing'}, {problem}"


def unpinned(image: str) -> str:
    """Why an image's reference may be another image tomorrow; "" when it can't."""
    found = _IMAGE.match(image)
    if not found:
        return "which is no image reference"
    if found["digest"]:
        return ""
    if not found["tag"]:
        return "which has neither tag nor digest"
    return "whose tag moves" if found["tag"].lower() in MOVING else ""


def _versions(subject: Subject) -> Iterator[str]:
    # `kubernetes:helm.sh/v3:Release`; a chart in a folder of this checkout is as pinned as the checkout.
    chart = subject.at("chart") if subject.kubernetes and subject.kind in ("Release", "Chart") else UNKNOWN
    in_a_folder = isinstance(chart, Unknown) or str(chart or "").startswith(("/", "."))
    if not in_a_folder and not subject.at("version"):
        yield "it installs whatever version of its chart is newest"
    if subject.type == ADDON and not subject.at("addonVersion"):
        yield "AWS chooses its version"


RULES = (
    Rule(
        "pod-security",
        "Every namespace enforces a Pod Security level.",
        f'label it {LEVEL}: "restricted", or "baseline" where something needs it',
        check=_namespaces,
    ),
    Rule(
        "default-deny",
        "Every namespace is closed but for what its policies let in.",
        "give it a NetworkPolicy with an empty podSelector, policyTypes [Ingress] and no rules",
        check_stack=_closed,
    ),
    Rule(
        "tokens-off",
        "No pod has a service account token it doesn't ask for.",
        "set automountServiceAccountToken: false on the ServiceAccount, and say it in the pod",
        check=_tokens,
    ),
    Rule(
        "images-pinned",
        "Images are named by digest or by a tag that doesn't move.",
        "give the image a version's tag or @sha256:…, never :latest",
        check=_images,
    ),
    Rule(
        "versions-pinned",
        "Charts and EKS add-ons are installed in a version that is written down.",
        "set version, or addon_version from infra/catalog",
        check=_versions,
    ),
)
