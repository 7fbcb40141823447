"""The platform's state as the user may read it: operator, user, quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context


def operator_state(context: Context) -> str:
    """The state of the operator's Deployment, as a short text."""
    path = f"/apis/apps/v1/namespaces/{names.SYSTEM_NAMESPACE}/deployments/{names.OPERATOR}"
    try:
        deployment = context.kube.get(path)
    except ApiError as error:
        return "not installed" if error.status == 404 else "not visible to you"
    replicas = deployment["spec"].get("replicas", 1)
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    return f"{ready} of {replicas} replicas ready"


def user_state(context: Context) -> str:
    """The DevServerUser's phase, as a short text."""
    from devservers_core.client.paths import user_path

    try:
        user = context.kube.get(user_path(context.user))
    except ApiError as error:
        return f"{context.user} (does not exist)" if error.status == 404 else context.user
    return f"{context.user} ({(user.get('status') or {}).get('phase') or 'not set up yet'})"


def quota(context: Context) -> dict[str, tuple[str, str]]:
    """Map each resource of the namespace's quotas to (used, allowed); {} if not readable."""
    from devservers_core.client.paths import core_path

    try:
        items = context.kube.get(core_path(context.namespace, "resourcequotas")).get("items") or []
    except ApiError:
        return {}
    quotas: dict[str, tuple[str, str]] = {}
    for item in items:
        used = (item.get("status") or {}).get("used") or {}
        for key, hard in ((item.get("spec") or {}).get("hard") or {}).items():
            quotas[key] = (str(used.get(key, "0")), str(hard))
    return quotas


def overcommit(context: Context) -> dict[str, float]:
    """The cluster's overcommitment of cpu and memory by its flavors; {} without any."""
    from devservers_core.client.paths import flavor_path

    try:
        items = context.kube.get(flavor_path()).get("items") or []
    except ApiError:
        return {}
    annotations = [(flavor["metadata"].get("annotations") or {}).get(names.ANNOTATION_OVERCOMMIT) for flavor in items]
    annotation = next((str(mark) for mark in annotations if mark), "")
    pairs = dict(part.partition("=")[::2] for part in annotation.split(",") if part)
    try:
        return {name: float(times) for name, times in pairs.items()}
    except ValueError:  # written by another program
        return {}
