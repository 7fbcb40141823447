"""devctl flavors: the sizes a server can have, what they cost, and how many are free.

Invariant: nothing here writes to the cluster; a column nobody could fill is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import names, quota, render
from devctl.errors import ApiError, from_api
from devctl.listing import Output
from devctl.queue import cluster_queues

if TYPE_CHECKING:
    from devctl.kube import Json
    from devctl.session import Session

_FREE = "free is how many servers of a size could start now, of as many as the whole quota holds"


def flavors_command(
    session: Session,
    output: Output = None,
    aws: Annotated[bool, typer.Option("--aws", help="Only those of AWS machines: GPUs, GPU memory, capacity.")] = False,
) -> None:
    """List the sizes a server can have."""
    from devctl.kube import flavor_path

    form = session.output(output)
    try:
        items = list(session.kube.get(flavor_path()).get("items") or [])
    except ApiError as error:
        raise from_api(error, "list flavors") from None
    if aws:
        items = [each for each in items if _on_aws(each)]
    if render.machine(form, render.as_list(items, names.API_VERSION, "DevServerFlavor"), "devserverflavor"):
        return
    if not items:
        render.say(
            "this cluster has no flavors of AWS machines; `devctl flavors` lists the others"
            if aws
            else "this cluster has no flavors; an administrator makes them"
        )
        return
    default = session.config.get("flavor")
    queues = cluster_queues(session)
    rows = [_row(each, queues, default, wide=form == "wide", aws=aws) for each in items]
    shown = [name for name in rows[0] if name != "FREE" or any(row["FREE"] != "-" for row in rows)]
    render.table(shown, [[row[name] for name in shown] for row in rows])
    if any(row["NAME"].endswith("*") for row in rows):
        render.say("* what `devctl create NAME` takes; the first amount is sure, the second the most it may use")
    if "FREE" in shown:
        render.say(_FREE)


def _row(flavor: Json, queues: dict[str, Json], default: str | None, *, wide: bool, aws: bool) -> dict[str, str]:
    """One flavor by column, in the columns' order."""
    spec, name = flavor.get("spec") or {}, str(flavor["metadata"]["name"])
    marks = flavor["metadata"].get("annotations") or {}
    price = spec.get("pricePerHour")
    free = quota.servers(quota.demand(flavor), queues)
    row = {"NAME": name + ("*" if name == default else "")}
    if aws:
        row |= {
            "MACHINE": str(marks.get(names.ANNOTATION_INSTANCE_TYPE) or "-"),
            "GPUS": _gpus_of(spec, marks),
            "GPU MEMORY": str(marks.get(names.ANNOTATION_GPU_MEMORY) or "-"),
        }
    row |= {"CPU": _range(spec, "cpu"), "MEMORY": _range(spec, "memory")}
    if not aws:
        row["GPU"] = _gpus(spec)
    row["$/HOUR"] = f"{float(price):.2f}" if price is not None else "-"
    if aws:
        row["CAPACITY"] = str(marks.get(names.ANNOTATION_CAPACITY) or "-").lower().replace("_", "-")
    row["FREE"] = f"{free[0]} of {free[1]}" if free else "-"
    if wide:
        selector = ",".join(f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items())
        row |= {"SHM": str(spec.get("shmSize", "1Gi")), "NODES": selector or "any"}
    row["DESCRIPTION"] = str(spec.get("description", ""))
    return row


def _on_aws(flavor: Json) -> bool:
    """Whether a flavor belongs to a pool of AWS machines: it names the pool, and the kind of machine."""
    marks = flavor["metadata"].get("annotations") or {}
    selector = (flavor.get("spec") or {}).get("nodeSelector") or {}
    return names.LABEL_POOL in selector and names.ANNOTATION_INSTANCE_TYPE in marks


def _range(spec: Json, resource: str) -> str:
    resources = spec.get("resources") or {}
    low = (resources.get("requests") or {}).get(resource)
    high = (resources.get("limits") or {}).get(resource)
    if low is None and high is None:
        return "-"
    return str(low) if low == high or high is None else f"{low or 0} - {high}"


def _gpus(spec: Json) -> str:
    resources = spec.get("resources") or {}
    amounts = (resources.get("requests") or {}) | (resources.get("limits") or {})
    return ", ".join(f"{v} {k}" for k, v in amounts.items() if "/" in k and not k.startswith("hugepages")) or "-"


def _gpus_of(spec: Json, marks: Json) -> str:
    """`1 x L4`, or just the number where nobody says which."""
    resources = spec.get("resources") or {}
    count = (resources.get("limits") or {}).get(names.GPU) or (resources.get("requests") or {}).get(names.GPU)
    model = marks.get(names.ANNOTATION_GPU_MODEL)
    if not count:
        return "-"
    return f"{count} x {model}" if model else str(count)
