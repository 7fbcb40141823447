"""`devctl create`: validates everything that can be validated, then creates the server.

Invariant: what can never work is refused before anything is written, in two lines and within a second; what may come to
work later (with --allow-missing: a flavor, a volume) is left to the operator.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion, preflight, validation
from devctl.config import DEFAULT_HOME_SIZE
from devctl.options import Grace, IdleTimeout, SecretFiles, SecretVariables, TimeLimitOption
from devctl.output import console, tables
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devctl.resources import home, home_quota
from devctl.resources.lifecycle import limits, settings, zone
from devctl.resources.people.server_secrets import warn_of_missing
from devctl.resources.replicas import backend_warning, parse_distributed
from devctl.resources.server_request import ServerRequest
from devctl.ssh import config
from devservers_core import names
from devservers_core.errors import USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


QUOTA_PATIENCE = 60.0
"""Seconds. Kubernetes' quota controller looks for new kinds every 30, and at the quotas again every 10 on the embedded
cluster (elsewhere every five minutes)."""


def create_command(
    context: Context,
    name: Annotated[str | None, typer.Argument(help="The server's name.")] = None,
    flavor: Annotated[
        str | None, typer.Argument(help="Its size; see `devctl flavors`.", autocompletion=completion.flavors)
    ] = None,
    name_option: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name, instead of the first word.")
    ] = None,
    flavor_option: Annotated[
        str | None,
        typer.Option(
            "--flavor",
            metavar="FLAVOR",
            help="The flavor, instead of the second word.",
            autocompletion=completion.flavors,
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Container image; the platform's own if not given.")
    ] = None,
    home_size: Annotated[
        str | None,
        typer.Option("--home-size", metavar="SIZE", help="Size of its persistent home, like 20Gi; `none` for none."),
    ] = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="No persistent home: /home/dev is lost on stop.")] = (
        False
    ),
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "-v",
            "--volume",
            metavar="CLAIM:/PATH[:ro]",
            help="Mount a volume claim: CLAIM:/path or CLAIM:/path:ro. Repeatable.",
        ),
    ] = None,
    shared_volume: Annotated[
        str | None,
        typer.Option(
            "--shared-volume", metavar="CLAIM", help="Volume claim for /shared.", autocompletion=completion.claims
        ),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", metavar="KEY=VALUE", help="Variable KEY=VALUE. Repeatable.")
    ] = None,
    secret: SecretVariables = None,
    secret_file: SecretFiles = None,
    time_limit: TimeLimitOption = None,
    idle_timeout: IdleTimeout = None,
    grace: Grace = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Several replicas that train together, all of the flavor.")
    ] = False,
    replicas: Annotated[int | None, typer.Option("--replicas", metavar="N", help="How many replicas, 2 to 64.")] = None,
    nprocs_per_node: Annotated[
        int | None,
        typer.Option("--nprocs-per-node", metavar="N", help="Processes of a run in each; as many as it has GPUs."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="nccl, or gloo where the flavor has no GPUs.")
    ] = None,
    nccl: Annotated[
        list[str] | None,
        typer.Option("--nccl", metavar="KEY=VALUE", help="Setting of NCCL, like NCCL_DEBUG=INFO. Repeatable."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask when homes of the other mode are kept under its name.")
    ] = False,
    no_ssh: Annotated[bool, typer.Option("--no-ssh", help="Run no SSH server in it.")] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Create it even if its flavor or a volume is missing."),
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(metavar="[DURATION]", help="Wait until it is ready, 10m if no duration is given."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the cluster check it, print it, and create nothing.")
    ] = (False),
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FORMAT", help="json, yaml or name.", autocompletion=completion.outputs),
    ] = None,
) -> int:
    """Make a server and start it.

    devctl create NAME [FLAVOR] [OPTIONS] [-- COMMAND...]

    The command after -- runs in the server beside SSH; the server stays up when it ends. Without it the
    server just stays up.

    For example:

    devctl create mydev --wait

    devctl create train gpu-l4 --home-size 50Gi --time 8h

    devctl create train gpu-l4 --distributed --replicas 2

    devctl create job cpu-medium --image python:3.12 -e EPOCHS=3 -- python3 train.py
    """
    if name and name_option and flavor is None and flavor_option is None:
        name, flavor = None, name  # devctl create --name mydev cpu-small
    lifecycle = settings.parse(time_limit, idle_timeout, grace, zone.time_zone(context))
    request = parse_request(
        context,
        name=_one_of(name, name_option, "name", "--name"),
        flavor=_one_of(flavor, flavor_option, "flavor", "--flavor"),
        image=image,
        home_size=home_size,
        ephemeral=ephemeral,
        volumes=volume or [],
        shared=shared_volume,
        env=env or [],
        secrets=validation.secret_references(secret or [], secret_file or []),
        lifecycle=lifecycle,
        ssh=not no_ssh,
    )
    spec = parse_distributed(
        request.name,
        distributed=distributed,
        replicas=replicas,
        processes=nprocs_per_node,
        backend=backend,
        settings=nccl or [],
        ssh=request.ssh,
    )
    request = replace(request, distributed=spec)
    limit = validation.duration(wait, "--wait") if wait else None
    form = output or ("yaml" if dry_run else "table")
    context.output(form)
    warnings, flavor_name, flavor_object = preflight.check_flavor_and_claims(
        context, request.flavor, request.claims, allow_missing, request.replicas
    )
    request = replace(request, flavor=flavor_name)
    if request.lifecycle and not allow_missing:
        limits.check_amounts(request.lifecycle, limits.read_limits(context, flavor_name), datetime.now(UTC))
    _check_other_homes(context, request, yes=yes or dry_run)
    home_before = home.home_claim(context, request.name, request.replicas) if request.home_size else None
    if request.home_size:
        size, about_home = home.size_for_new_server(home_before, request.home_size, typed=home_size is not None)
        request = replace(request, home_size=size)
    else:
        about_home = None
    if request.home_size and not allow_missing:
        home_quota.check_home_quota(context, request.name, request.home_size, request.replicas)
    created = create_server(context, request, dry_run)
    # Only warnings, and the server may already be starting meanwhile.
    warnings += preflight.capacity_warnings(context, flavor_object) if flavor_object else []
    if flavor_object and (gloo := backend_warning(spec, flavor_object)):
        warnings.append(gloo)
    for text in [*([about_home] if about_home else []), *warnings, *context.kube.warnings]:
        console.warn(text)
    warn_of_missing(context, request.secrets, f"{request.name} waits")
    if dry_run:
        created.get("metadata", {}).pop("managedFields", None)
        console.info(f"devserver/{request.name} would be created in {context.namespace}; nothing was changed")
        tables.print_objects(form if form in ("json", "name") else "yaml", created, "devserver")
        return 0
    if request.ssh:
        config.refresh_entries(context, request.name)
    if not tables.print_objects(form, created, "devserver"):
        console.info(
            f"devserver/{request.name} created in {context.namespace}"
            f" ({request.flavor}, {_describe_home(request, home_before)})"
        )
        in_force = limits.read_limits(context, flavor_name)
        for line in settings.sentences(request.lifecycle, zone.time_zone(context), in_force):
            console.info(line)
    if limit is None:
        if form == "table":
            console.info(
                f"`devctl describe {request.name}` shows how far it is; once it runs: `devctl ssh {request.name}`"
            )
        return 0
    from devctl.wait import wait_ready

    return wait_ready(context, created, limit)


def _one_of(word: str | None, option: str | None, what: str, flag: str) -> str | None:
    if word and option and word != option:
        raise CommandError(f"two {what}s are given: {word} and {flag} {option}", "give one of them", USAGE)
    return option or word


def _check_other_homes(context: Context, request: ServerRequest, *, yes: bool) -> None:
    """Ask before a server is made beside homes that its name had in the other mode. Raises CommandError."""
    if not request.home_size:
        return
    others = home.kept_homes(context, request.name, distributed=request.replicas is None)
    if not others:
        return
    listed = ", ".join(sorted(str(claim["metadata"]["name"]) for claim in others))
    mode, other = ("distributed", "standalone") if request.replicas is not None else ("standalone", "distributed")
    text = f"{listed} of a {other} server {request.name} stays as it is: a {mode} server has other homes"
    if yes:
        console.warn(text)
        return
    confirm(f"creating {request.name} ({text})", f"{text}. Create {request.name}?", "nothing was created")


def _describe_home(request: ServerRequest, home_before: Json | None) -> str:
    if request.home_size and home_before and not home.is_deleting(home_before):
        return f"home {home.size(home_before)}, kept from before"
    if request.home_size and request.replicas is not None:
        return f"{request.replicas} replicas, a home of {request.home_size} for each, kept"
    if request.home_size:
        return f"home {request.home_size}, kept"
    if any(m.path == names.HOME_PATH for m in request.volumes):
        return "home on your volume"
    return "no persistent home"


def parse_request(
    context: Context,
    *,
    name: str | None,
    flavor: str | None,
    image: str | None,
    home_size: str | None,
    ephemeral: bool,
    volumes: list[str],
    shared: str | None,
    env: list[str],
    secrets: list[dict[str, str]],
    lifecycle: Json,
    ssh: bool,
) -> ServerRequest:
    """Validate everything that needs no cluster: values, and options that exclude each other."""
    if not name:
        raise CommandError("the server has no name", "write `devctl create NAME [FLAVOR]`", USAGE)
    config = context.config
    validation.server_name(name)
    mounts = validation.mounts(volumes, validation.claim(shared, "--shared-volume") if shared else None)
    own_home = next((m for m in mounts if m.path == names.HOME_PATH), None)
    if ephemeral and home_size and validation.home_size(home_size):
        raise CommandError("--ephemeral and --home-size contradict each other", "give one of them", USAGE)
    if own_home and home_size and validation.home_size(home_size):
        raise validation.refusal(
            f"{names.HOME_PATH} is used twice, by --home-size {home_size} and by {own_home.claim}",
            "leave one of them out",
        )
    setting, size_setting = config.setting("flavor"), config.setting("homeSize")
    size = home_size or (size_setting.value if size_setting else DEFAULT_HOME_SIZE)
    flag = "--home-size" if home_size else f"homeSize ({size_setting.source if size_setting else 'default'})"
    chosen = image or config.get("image")
    return ServerRequest(
        name=name,
        flavor=flavor or (setting.value if setting and setting.source != "default" else None),
        image=validation.image(chosen) if chosen else None,
        home_size=None if ephemeral or own_home else validation.home_size(size, flag),
        volumes=mounts,
        shared=shared,
        env=validation.environment_variables(env),
        secrets=secrets,
        lifecycle=lifecycle,
        ssh=ssh,
        command=context.rest or [],
    )


def create_server(context: Context, request: ServerRequest, dry_run: bool) -> Json:
    """Create the DevServer. Raises CommandError when the API server refuses it."""
    from devservers_core.client.paths import server_path

    query = {"fieldManager": "devctl", "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    deadline = time.monotonic() + QUOTA_PATIENCE
    while True:
        try:
            return context.kube.create(server_path(context.namespace), request.manifest(context.namespace), **query)
        except ApiError as error:
            # Kubernetes has not counted yet: a new quota, or a kind that was only just installed.
            if "status unknown for quota" not in error.message or time.monotonic() > deadline:
                raise from_api(error, f"create {request.name}") from None
        time.sleep(0.5)
