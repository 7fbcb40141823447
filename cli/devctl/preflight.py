"""Checks a new server's flavor and volumes against the cluster before it is created.

Invariant: read-only; what the user may not read is not checked.
"""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING

from devctl import validation
from devctl.output.errors import from_api
from devservers_core import names
from devservers_core.errors import ApiError, CommandError
from devservers_core.quantity import parse_quantity

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def check_flavor_and_claims(
    context: Context, flavor: str | None, claims: list[str], allow_missing: bool, replicas: int | None = None
) -> tuple[list[str], str, Json | None]:
    """Compare the flavor and volume claims of a new server with the cluster's.

    Returns warnings, the flavor's name (`flavor`, or the user's default for None) and the flavor, if there is one;
    raises CommandError (refused) for what is missing, not allowed, or more than its queue's whole quota, unless
    ``allow_missing``.
    """
    from devctl.resources.allowance import allowance, default_flavor
    from devservers_core.client.paths import core_path, flavor_path

    warnings: list[str] = []
    try:
        flavors = {f["metadata"]["name"]: f for f in context.kube.get(flavor_path()).get("items") or []}
    except ApiError as error:
        raise from_api(error, "list flavors") from None
    own = allowance(context)
    flavor = flavor or default_flavor(context, list(flavors.values()), own) or names.DEFAULT_FLAVOR
    usable = [name for name in flavors if own.may_use(name)]
    if flavor in flavors and flavor not in usable and not allow_missing:
        listed = ", ".join(sorted(usable))
        raise validation.refusal(
            f"you may not use flavor {flavor!r}",
            f"take one of yours: {listed}" if usable else "there is none that you may use; ask an administrator",
        )
    if flavor not in flavors:
        if not allow_missing:
            raise unknown_flavor(flavor, usable)
        warnings.append(f"there is no flavor {flavor} yet; the server starts when there is one")
    if claims:
        try:
            path = core_path(context.namespace, "persistentvolumeclaims")
            existing = {c["metadata"]["name"]: c for c in context.kube.get(path).get("items") or []}
        except ApiError as error:
            raise from_api(error, "list volume claims") from None
        for claim in claims:
            if claim not in existing:
                if not allow_missing:
                    raise unknown_claim(claim, list(existing), context.namespace)
                warnings.append(f"there is no volume claim {claim} yet; the server starts when there is one")
            elif replicas is not None and (refused := _of_one_machine(existing[claim], replicas)):
                if not allow_missing:
                    raise refused
                warnings.append(refused.what)
    if flavor in flavors and not allow_missing:
        from devctl.resources.queue import check_queue_quota

        check_queue_quota(context, flavors[flavor], [flavors[name] for name in usable], replicas)
    return warnings, flavor, flavors.get(flavor)


def _of_one_machine(claim: Json, replicas: int) -> CommandError | None:
    """The refusal of a claim that the replicas of a server can't all mount; None when they can."""
    modes, name = (claim.get("spec") or {}).get("accessModes") or [], claim["metadata"]["name"]
    if not modes or "ReadWriteMany" in modes or "ReadOnlyMany" in modes:
        return None
    return validation.refusal(
        f"the volume {name} ({', '.join(modes)}) can be mounted on one machine only, and {replicas} replicas need it",
        "leave it out, or take a shared one: `devctl volume create NAME --size SIZE --shared`, where the cluster can",
    )


def missing_flavors(context: Context, flavors: list[str], allow_missing: bool) -> list[str]:
    """Warnings for flavors of a user that do not exist.

    Raises CommandError (refused) unless ``allow_missing``.
    """
    from devservers_core.client.paths import flavor_path

    requested = [name for name in flavors if name != names.ANY_FLAVOR]
    if not requested:
        return []
    try:
        existing = [str(flavor["metadata"]["name"]) for flavor in context.kube.get(flavor_path()).get("items") or []]
    except ApiError as error:
        raise from_api(error, "list flavors") from None
    missing = [name for name in requested if name not in existing]
    if missing and not allow_missing:
        raise unknown_flavor(missing[0], existing, "known")
    return [f"there is no flavor {name} yet; it can be used when there is one" for name in missing]


def unknown_flavor(flavor: str, flavors: list[str], whose: str = "your") -> CommandError:
    """The refusal of a flavor that does not exist, with a similar one.

    `flavors` are the user's flavors, or the cluster's.
    """
    similar = get_close_matches(flavor, flavors, 1, 0.4)
    listed = ", ".join(sorted(flavors)) or "none; ask an administrator"
    remedy = (
        f"did you mean {similar[0]}? {whose.capitalize()} flavors: {listed}"
        if similar
        else f"{whose} flavors: {listed}"
    )
    return validation.refusal(f"there is no flavor {flavor!r}", remedy)


def unknown_claim(claim: str, claims: list[str], namespace: str) -> CommandError:
    """The refusal of a volume claim that does not exist, with the list of those that do."""
    listed = ", ".join(sorted(claims)) or "none"
    similar = get_close_matches(claim, claims, 1)
    remedy = f"did you mean {similar[0]}? " if similar else ""
    return validation.refusal(f"there is no volume claim {claim!r} in {namespace}", f"{remedy}known claims: {listed}")


def capacity_warnings(context: Context, flavor: Json) -> list[str]:
    """Warnings when no node and no quota can ever take a flavor.

    What the user may not read is not checked.
    """
    from devservers_core.client.paths import core_path

    requests = _amounts((flavor.get("spec", {}).get("resources") or {}).get("requests") or {})
    name = flavor["metadata"]["name"]
    warnings: list[str] = []
    try:
        nodes = context.kube.get("/api/v1/nodes").get("items") or []
        capacities = [_amounts(n.get("status", {}).get("allocatable") or {}) for n in nodes]
        if capacities and not any(
            all(capacity.get(k, Decimal(0)) >= v for k, v in requests.items()) for capacity in capacities
        ):
            warnings.append(f"no node of this cluster is large enough for flavor {name}; it waits until one is added")
    except ApiError:
        pass  # people need not see nodes
    try:
        for quota in context.kube.get(core_path(context.namespace, "resourcequotas")).get("items") or []:
            hard = _amounts(quota.get("spec", {}).get("hard") or {})
            for key, amount in requests.items():
                limit = hard.get(f"requests.{key}", hard.get(key))
                if limit is not None and amount > limit:
                    warnings.append(f"flavor {name} asks for more {key} than your whole quota ({limit:f}) allows")
    except ApiError:
        pass
    return warnings


def _amounts(resources: Json) -> dict[str, Decimal]:
    amounts = {}
    for key, text in resources.items():
        try:
            amounts[key] = parse_quantity(str(text))
        except ValueError:
            continue
    return amounts
