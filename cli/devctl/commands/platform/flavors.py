"""`devctl flavors`: sizes, prices and free capacity.

Invariant: read-only; a column that would be empty is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import Output
from devctl.output import console, tables
from devctl.output.errors import from_api
from devctl.resources.allowance import Allowance, allowance, default_flavor
from devctl.resources.queue import cluster_queues
from devservers_core import kueue_quota, names
from devservers_core.errors import ApiError
from devservers_core.kueue_quota import flavor_demand

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


_FREE = "FREE: how many servers of this size can start now, of the most that can run at once; your quota counts"


def flavors_command(
    context: Context,
    output: Output = None,
    aws: Annotated[bool, typer.Option("--aws", help="Only those of AWS machines: GPUs, GPU memory, capacity.")] = False,
    every: Annotated[bool, typer.Option("--all", "-A", help="Also those that you may not use.")] = False,
) -> None:
    """List the sizes a server can have: those that you may use.

    With -o wide TIME, IDLE and IMAGE are the time limit, the idle timeout and the image of servers that name none.
    """
    from devservers_core.client.paths import flavor_path

    form = context.output(output)
    try:
        items = list(context.kube.get(flavor_path()).get("items") or [])
    except ApiError as error:
        raise from_api(error, "list flavors") from None
    if aws:
        items = [flavor for flavor in items if _on_aws(flavor)]
    own = allowance(context)
    hidden_flavors = [] if every else [flavor for flavor in items if not own.may_use(str(flavor["metadata"]["name"]))]
    items = [flavor for flavor in items if flavor not in hidden_flavors]
    if tables.print_objects(form, tables.as_list(items, names.API_VERSION, "DevServerFlavor"), "devserverflavor"):
        return
    hidden = f"{len(hidden_flavors)} more that you may not use: `devctl flavors --all`" if hidden_flavors else ""
    if not items and hidden_flavors:
        console.info(f"there is no flavor that you may use; ask an administrator ({hidden})")
        return
    if not items:
        console.info(
            "this cluster has no flavors of AWS machines; `devctl flavors` lists the others"
            if aws
            else "this cluster has no flavors; an administrator makes them"
        )
        return
    default = default_flavor(context, items, own)
    queues = cluster_queues(context)
    rows = [_row(flavor, queues, own, default, wide=form == "wide", aws=aws) for flavor in items]
    columns = [name for name in rows[0] if name != "FREE" or any(row["FREE"] != "-" for row in rows)]
    tables.table(columns, [[row[name] for name in columns] for row in rows], whole=form == "wide")
    if any(row["NAME"].endswith("*") for row in rows):
        console.info(
            "* `devctl create NAME` takes it. Of two amounts the first is guaranteed, the second is the limit."
        )
    if "FREE" in columns:
        console.info(_FREE)
    if hidden:
        console.info(hidden)


def _row(
    flavor: Json, queues: dict[str, Json], own: Allowance, default: str | None, *, wide: bool, aws: bool
) -> dict[str, str]:
    """One flavor's cells by column, in the columns' order."""
    spec, name = flavor.get("spec") or {}, str(flavor["metadata"]["name"])
    annotations = flavor["metadata"].get("annotations") or {}
    price = spec.get("pricePerHour")
    demand = flavor_demand(flavor.get("spec") or {})
    limits = [limit for limit in (kueue_quota.servers(demand, queues), own.servers(demand)) if limit is not None]
    free = (min(now for now, _ in limits), min(most for _, most in limits)) if limits else None
    if not own.may_use(name):
        free = None
    row = {"NAME": name + ("*" if name == default else "")}
    if aws:
        row |= {
            "MACHINE": str(annotations.get(names.ANNOTATION_INSTANCE_TYPE) or "-"),
            "GPUS": _gpus_of(spec, annotations),
            "GPU MEMORY": str(annotations.get(names.ANNOTATION_GPU_MEMORY) or "-"),
        }
    row |= {"CPU": _range(spec, "cpu"), "MEMORY": _range(spec, "memory")}
    if not aws:
        row["GPU"] = _gpus(spec)
    row["$/HOUR"] = f"{float(price):.2f}" if price is not None else "-"
    if aws:
        row["CAPACITY"] = str(annotations.get(names.ANNOTATION_CAPACITY) or "-").lower().replace("_", "-")
    row["FREE"] = f"{free[0]} of {free[1]}" if free else "-"
    if wide:
        selector = ",".join(f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items())
        lifecycle = spec.get("lifecycle") or {}
        row |= {"TIME": str(lifecycle.get("timeToLive") or "-"), "IDLE": str(lifecycle.get("idleTimeout") or "-")}
        row |= {"SHM": str(spec.get("shmSize", "1Gi")), "NODES": selector or "any"}
        row["IMAGE"] = str(spec.get("image") or "the platform's")
    row["DESCRIPTION"] = str(spec.get("description", ""))
    return row


def _on_aws(flavor: Json) -> bool:
    """Whether a flavor belongs to a pool of AWS machines: it names the pool and the instance type."""
    annotations = flavor["metadata"].get("annotations") or {}
    selector = (flavor.get("spec") or {}).get("nodeSelector") or {}
    return names.LABEL_POOL in selector and names.ANNOTATION_INSTANCE_TYPE in annotations


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


def _gpus_of(spec: Json, annotations: Json) -> str:
    """The GPUs of a flavor like `1 x L4`, or their number where the model is not known."""
    resources = spec.get("resources") or {}
    count = (resources.get("limits") or {}).get(names.GPU) or (resources.get("requests") or {}).get(names.GPU)
    model = annotations.get(names.ANNOTATION_GPU_MODEL)
    if not count:
        return "-"
    return f"{count} x {model}" if model else str(count)
