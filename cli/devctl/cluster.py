"""devctl status, info and test-k8s: the platform, the settings, and whether one can work with the other.

Invariant: read-only; each works as far as the person's rights reach and says what it could not see.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import __version__, complete, render
from devctl.config import KEYS
from devctl.errors import quota_label
from devservers_core import names
from devservers_core.errors import FAILURE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

Output = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.", autocompletion=complete.outputs),
]


def status_command(session: Session, output: Output = None) -> int:
    """Show the platform's state, your servers by phase, and your quota."""
    from devctl.listing import phase

    form = session.output(output)
    found: Json = {"cluster": session.target.server, "context": session.target.context}
    found["version"] = session.kube.get("/version").get("gitVersion", "unknown")
    found["operator"] = operator_state(session)
    found["user"] = user_state(session)
    servers = session.servers()
    phases: dict[str, int] = {}
    for server in servers:
        phases[phase(server)] = phases.get(phase(server), 0) + 1
    found["servers"] = {"total": len(servers), "phases": phases}
    found["quota"] = quota(session)
    found["overcommit"] = overcommit(session)
    if form in ("json", "yaml"):
        render.out(render.to_json(found) if form == "json" else render.to_yaml(found).rstrip())
        return 0
    summary = ", ".join(f"{count} {name}" for name, count in sorted(phases.items())) or "none"
    rows = [
        ["cluster", f"{found['cluster']} ({found['version']})"],
        ["operator", found["operator"]],
        ["user", found["user"]],
        ["namespace", session.namespace],
        ["servers", summary],
        *([["overcommit", _given_out(found["overcommit"])]] if found["overcommit"] else []),
        *(
            [f"quota of {quota_label(key)}", f"{used} of {hard} used"]
            for key, (used, hard) in found["quota"].items()
            # Nobody has these; that they are closed says nothing about one's own use.
            if not key.startswith("services.")
        ),
    ]
    width = max(len(label) for label, _ in rows) + 3
    for label, value in rows:
        render.out(f"{label + ':':<{width}}{render.clean(str(value))}")
    return 0


def operator_state(session: Session) -> str:
    """Whether the operator runs, in a few words."""
    path = f"/apis/apps/v1/namespaces/{names.SYSTEM_NAMESPACE}/deployments/{names.OPERATOR}"
    try:
        deployment = session.kube.get(path)
    except ApiError as error:
        return "not installed" if error.status == 404 else "not visible to you"
    wanted = deployment["spec"].get("replicas", 1)
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    return f"{ready} of {wanted} replicas ready"


def user_state(session: Session) -> str:
    """The DevServerUser's phase, in a few words."""
    try:
        user = session.kube.get(f"/apis/{names.API_VERSION}/devserverusers/{session.user}")
    except ApiError as error:
        return f"{session.user} (does not exist)" if error.status == 404 else session.user
    return f"{session.user} ({(user.get('status') or {}).get('phase') or 'not set up yet'})"


def quota(session: Session) -> dict[str, tuple[str, str]]:
    """resource -> (used, allowed) over the namespace's quotas; {} when not visible."""
    from devservers_core.client.paths import core_path

    try:
        items = session.kube.get(core_path(session.namespace, "resourcequotas")).get("items") or []
    except ApiError:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for item in items:
        used = (item.get("status") or {}).get("used") or {}
        for key, hard in ((item.get("spec") or {}).get("hard") or {}).items():
            found[key] = (str(used.get(key, "0")), str(hard))
    return found


def overcommit(session: Session) -> dict[str, float]:
    """How many times over the cluster gives out cpu and memory, as its flavors say; {} where it doesn't."""
    from devservers_core.client.paths import flavor_path

    try:
        items = session.kube.get(flavor_path()).get("items") or []
    except ApiError:
        return {}
    marks = [(each["metadata"].get("annotations") or {}).get(names.ANNOTATION_OVERCOMMIT) for each in items]
    said = next((str(mark) for mark in marks if mark), "")
    pairs = dict(part.partition("=")[::2] for part in said.split(",") if part)
    try:
        return {name: float(times) for name, times in pairs.items()}
    except ValueError:  # somebody else's words
        return {}


def _given_out(times: dict[str, float]) -> str:
    """What it means to whoever has a server."""
    much = " and ".join(f"{name} {number:g} times" for name, number in times.items() if number != 1)
    return f"{much} over: servers take more than is sure only while others leave it idle"


def info_command(session: Session, output: Output = None) -> None:
    """Show the settings in force and where each of them comes from."""
    form = session.output(output)
    config = session.config
    settings: dict[str, tuple[str, str]] = {}
    for key in KEYS:
        setting = config.setting(key)
        settings[key] = (setting.value, setting.source) if setting else ("", "")
    try:
        server = _where(session, settings)
    except CommandError as failure:
        server = f"none: {failure.what}"
    settings["image"] = settings["image"] if settings["image"][0] else ("the platform's own", "default")
    if not settings["identityFile"][0]:
        settings["identityFile"] = ("your agent and ~/.ssh", "default")
    if form in ("json", "yaml"):
        document = {
            "version": __version__,
            "configFile": str(config.path),
            "server": server,
            "settings": {k: {"value": v, "source": s} for k, (v, s) in settings.items()},
        }
        render.out(render.to_json(document) if form == "json" else render.to_yaml(document).rstrip())
        return
    present = "" if config.path.exists() else " (does not exist)"
    render.out(f"devctl {__version__}")
    render.out(f"config file: {config.path}{present}")
    render.out(f"API server:  {server}")
    render.out("")
    render.table(["SETTING", "VALUE", "FROM"], [[key, value, source] for key, (value, source) in settings.items()])


def _where(session: Session, settings: dict[str, tuple[str, str]]) -> str:
    """The API server, or the bastion on which commands run; completes the settings that follow from it."""
    from devctl import jump

    bastion = jump.configured(session.config)
    if bastion is None:
        target = session.target
        settings["kubeconfig"] = (target.source, settings["kubeconfig"][1] or "default")
        settings["context"] = (target.context, settings["context"][1] or "current context")
        settings["user"], server = session.user_setting, target.server
    else:
        settings["user"] = (bastion.user, settings["user"][1] or "$USER")
        server = f"commands run on the bastion {bastion.host}:{bastion.port}, as {bastion.user}"
    namespace = session.config.get("namespace") or names.namespace_of(settings["user"][0])
    settings["namespace"] = (namespace, settings["namespace"][1] or "dev-USER")
    return server


class Skipped(Exception):
    """A check that cannot be made; the text says why."""


def test_k8s_command(session: Session) -> int:
    """Check the cluster, your rights and the tools, step by step. Exit code 1 if something is missing."""
    checks: list[tuple[str, Callable[[Session], str]]] = [
        ("settings", _settings),
        ("API server answers", _answers),
        ("kinds installed", _kinds),
        ("who you are", _identity),
        ("your namespace", _namespace),
        ("your rights", _rights),
        ("flavors", _flavors),
        ("operator", _operator),
        ("ssh program", _ssh),
    ]
    failed, first = 0, ""
    for label, check in checks:
        try:
            mark, text = render.paint("ok  ", "green"), check(session)
        except Skipped as skipped:
            mark, text = render.paint("skip", "yellow"), str(skipped)
        except (CommandError, ApiError, UnreachableError) as error:
            from devctl.session import explain

            failure = explain(error, f"check {label}")
            mark, text = render.paint("FAIL", "red"), f"{failure.what} -> {failure.remedy}"
            failed += 1
            first = first or label
            if label in ("settings", "API server answers"):
                render.out(f"{mark}  {label:<20}{render.clean(text)}")
                break
        render.out(f"{mark}  {label:<20}{render.clean(text)}")
    render.say(f"{failed} of the checks failed, the first is: {first}" if failed else "everything is in order")
    return FAILURE if failed else 0


def _settings(session: Session) -> str:
    return f"user {session.user}, namespace {session.namespace}, context {session.target.context}"


def _answers(session: Session) -> str:
    began = time.monotonic()
    version = session.kube.get("/version").get("gitVersion", "unknown")
    return f"{session.target.server}, {version}, {(time.monotonic() - began) * 1000:.0f} ms"


def _kinds(session: Session) -> str:
    try:
        found = session.kube.get(f"/apis/{names.API_VERSION}")
    except ApiError as error:
        if error.status != 404:
            raise
        raise CommandError(f"the {names.GROUP} kinds are missing", "`make up`, or another context") from None
    return ", ".join(sorted(r["kind"] for r in found["resources"] if "/" not in r["name"]))


def _identity(session: Session) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        found = session.kube.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except ApiError as error:
        if error.status in (403, 404):
            raise Skipped("the cluster does not tell") from None
        raise
    return str(found["status"]["userInfo"].get("username", "unknown"))


def _namespace(session: Session) -> str:
    try:
        session.kube.get(f"/api/v1/namespaces/{session.namespace}")
    except ApiError as error:
        if error.status == 403:
            raise Skipped(f"{session.namespace} is not visible to you") from None
        if error.status == 404:
            raise CommandError(
                f"there is no namespace {session.namespace}", f"ask an administrator for a DevServerUser {session.user}"
            ) from None
        raise
    return session.namespace


RIGHTS = [
    ("create", names.GROUP, "devservers", ""),
    ("delete", names.GROUP, "devservers", ""),
    ("list", "", "persistentvolumeclaims", ""),
    ("get", "", "pods", "log"),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "portforward"),
    ("list", "", "events", ""),
]


def _rights(session: Session) -> str:
    lacking = []
    for verb, group, resource, part in RIGHTS:
        attributes = {
            "namespace": session.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": part,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = session.kube.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not answer["status"].get("allowed"):
            lacking.append(f"{verb} {resource}{'/' + part if part else ''}")
    if lacking:
        raise CommandError(f"you may not {', '.join(lacking)} in {session.namespace}", "ask an administrator")
    return f"all {len(RIGHTS)} that devctl needs"


def _flavors(session: Session) -> str:
    from devservers_core.client.paths import flavor_path

    found = [f["metadata"]["name"] for f in session.kube.get(flavor_path()).get("items") or []]
    if not found:
        raise CommandError("there are no flavors", "ask an administrator to make one")
    return ", ".join(found)


def _operator(session: Session) -> str:
    state = operator_state(session)
    if state == "not visible to you":
        raise Skipped(state)
    if state == "not installed" or state.startswith("0 "):
        raise CommandError(f"the operator: {state}", "`make up`, or tell an administrator")
    return state


def _ssh(session: Session) -> str:
    import subprocess

    binary = shutil.which("ssh", path=session.environ.get("PATH"))
    if not binary:
        raise CommandError("there is no ssh program", "install OpenSSH's client; `devctl shell` works without")
    done = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip()
