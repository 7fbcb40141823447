"""`devctl test-k8s`: checks the cluster, the user's rights and the tools.

Invariant: read-only; a check that the user's rights do not reach is skipped and says so.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devctl.output import console
from devctl.resources.platform_state import operator_state
from devservers_core import names
from devservers_core.errors import FAILURE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context


class SkippedCheckError(Exception):
    """Raised by a check that can't be made; the text is the reason."""


def test_k8s_command(context: Context) -> int:
    """Check the cluster, your rights and the tools, step by step. Exit code 1 if something is missing."""
    checks: list[tuple[str, Callable[[Context], str]]] = [
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
            mark, text = console.paint("ok  ", "green"), check(context)
        except SkippedCheckError as skipped:
            mark, text = console.paint("skip", "yellow"), str(skipped)
        except (CommandError, ApiError, UnreachableError) as error:
            from devctl.output.errors import explain

            failure = explain(error, f"check {label}")
            mark, text = console.paint("FAIL", "red"), f"{failure.what} -> {failure.remedy}"
            failed += 1
            first = first or label
            if label in ("settings", "API server answers"):
                console.echo(f"{mark}  {label:<20}{console.printable(text)}")
                break
        console.echo(f"{mark}  {label:<20}{console.printable(text)}")
    console.info(f"{failed} of the checks failed, the first is: {first}" if failed else "everything is in order")
    return FAILURE if failed else 0


def _settings(context: Context) -> str:
    return f"user {context.user}, namespace {context.namespace}, context {context.target.context}"


def _answers(context: Context) -> str:
    began = time.monotonic()
    version = context.kube.get("/version").get("gitVersion", "unknown")
    return f"{context.target.server}, {version}, {(time.monotonic() - began) * 1000:.0f} ms"


def _kinds(context: Context) -> str:
    try:
        resources = context.kube.get(f"/apis/{names.API_VERSION}")
    except ApiError as error:
        if error.status != 404:
            raise
        raise CommandError(f"the {names.GROUP} kinds are missing", "`make up`, or another context") from None
    return ", ".join(sorted(r["kind"] for r in resources["resources"] if "/" not in r["name"]))


def _identity(context: Context) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        review = context.kube.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except ApiError as error:
        if error.status in (403, 404):
            raise SkippedCheckError("the cluster does not tell") from None
        raise
    return str(review["status"]["userInfo"].get("username", "unknown"))


def _namespace(context: Context) -> str:
    try:
        context.kube.get(f"/api/v1/namespaces/{context.namespace}")
    except ApiError as error:
        if error.status == 403:
            raise SkippedCheckError(f"{context.namespace} is not visible to you") from None
        if error.status == 404:
            raise CommandError(
                f"there is no namespace {context.namespace}", f"ask an administrator for a DevServerUser {context.user}"
            ) from None
        raise
    return context.namespace


RIGHTS = [
    ("create", names.GROUP, "devservers", ""),
    ("delete", names.GROUP, "devservers", ""),
    ("list", "", "persistentvolumeclaims", ""),
    ("get", "", "pods", "log"),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "portforward"),
    ("list", "", "events", ""),
]


def _rights(context: Context) -> str:
    lacking = []
    for verb, group, resource, part in RIGHTS:
        attributes = {
            "namespace": context.namespace,
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
        answer = context.kube.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not answer["status"].get("allowed"):
            lacking.append(f"{verb} {resource}{'/' + part if part else ''}")
    if lacking:
        raise CommandError(f"you may not {', '.join(lacking)} in {context.namespace}", "ask an administrator")
    return f"all {len(RIGHTS)} that devctl needs"


def _flavors(context: Context) -> str:
    from devservers_core.client.paths import flavor_path

    flavors = [f["metadata"]["name"] for f in context.kube.get(flavor_path()).get("items") or []]
    if not flavors:
        raise CommandError("there are no flavors", "ask an administrator to make one")
    return ", ".join(flavors)


def _operator(context: Context) -> str:
    state = operator_state(context)
    if state == "not visible to you":
        raise SkippedCheckError(state)
    if state == "not installed" or state.startswith("0 "):
        raise CommandError(f"the operator: {state}", "`make up`, or tell an administrator")
    return state


def _ssh(context: Context) -> str:
    import subprocess

    binary = shutil.which("ssh", path=context.environ.get("PATH"))
    if not binary:
        raise CommandError("there is no ssh program", "install OpenSSH's client; `devctl shell` works without")
    done = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip()
