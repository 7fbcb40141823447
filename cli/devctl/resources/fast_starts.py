"""What makes servers start fast: headroom and pulled images, as the cluster has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def headroom(context: Context) -> list[Json]:
    """Placeholders by pool and flavor; [] where there are none or they are not visible."""
    return [
        {
            "pool": _label(deployment, names.LABEL_POOL),
            "flavor": _label(deployment, names.LABEL_HEADROOM),
            "ready": (deployment.get("status") or {}).get("readyReplicas", 0),
            "wanted": (deployment.get("spec") or {}).get("replicas", 1),
        }
        for deployment in _labelled(context, "deployments", names.LABEL_HEADROOM)
    ]


def pulled_images(context: Context) -> list[Json]:
    """Pre-pulls by pool, with nodes; [] where there are none or they are not visible."""
    return [
        {
            "pool": _label(daemon_set, names.LABEL_POOL),
            "images": _images(daemon_set),
            "nodesReady": (daemon_set.get("status") or {}).get("numberReady", 0),
            "nodes": (daemon_set.get("status") or {}).get("desiredNumberScheduled", 0),
        }
        for daemon_set in _labelled(context, "daemonsets", names.LABEL_PRE_PULL)
    ]


def rows(placeholders: list[Json], pulls: list[Json]) -> list[list[str]]:
    """Both as lines of a summary: label and text."""
    return [
        *(
            [f"headroom in {each['pool']}", f"{each['ready']} of {each['wanted']} servers of {each['flavor']} ready"]
            for each in placeholders
        ),
        *(
            [
                f"pre-pulled in {each['pool']}",
                f"{len(each['images'])} images on {each['nodesReady']} of {each['nodes']} nodes",
            ]
            for each in pulls
        ),
    ]


def _labelled(context: Context, kind: str, label: str) -> list[Json]:
    path = f"/apis/apps/v1/namespaces/{names.SYSTEM_NAMESPACE}/{kind}"
    try:
        items = context.kube.get(path, labelSelector=label).get("items") or []
    except ApiError:
        return []
    return sorted((item for item in items if _label(item, label)), key=lambda item: str(item["metadata"]["name"]))


def _label(item: Json, label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _images(daemon_set: Json) -> list[str]:
    pod = daemon_set["spec"]["template"]["spec"]
    containers = [*(pod.get("initContainers") or []), *pod["containers"]]
    return list(dict.fromkeys(str(container["image"]) for container in containers))
