"""Invariant: a test speaks to the API server over plain HTTPS with dicts, not through code of ours.

So a wrong assumption of the operator's own facade can't hide itself in the test that checks it.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3

from devservers_core.errors import ApiError
from devservers_core.types import Json

T = TypeVar("T")

_CLUSTER_SCOPED = {
    "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "StorageClass", "PriorityClass",
    "DevServerFlavor", "DevServerUser", "APIService",
}  # fmt: skip


def plural(kind: str) -> str:
    """`NetworkPolicy` is served as `networkpolicies`."""
    lower = kind.lower()
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    if lower.endswith(("ss", "x")):
        return f"{lower}es"
    return lower if lower == "endpoints" else f"{lower}s"


def path_of(api_version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """The URL path of an object, or of its collection without a name; no namespace means all of them."""
    base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    middle = f"/namespaces/{namespace}" if namespace and kind not in _CLUSTER_SCOPED else ""
    return f"{base}{middle}/{plural(kind)}" + (f"/{name}" if name else "")


class Client:
    """One identity's requests; every method raises ApiError for anything but success."""

    def __init__(self, url: str, ca: Path, certificate: Path, key: Path) -> None:
        self.url = url
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(str(certificate), str(key))
        self._pool = urllib3.PoolManager(ssl_context=context, maxsize=8, retries=False, timeout=30)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        /,
        **query: str,
    ) -> Any:
        """The decoded JSON answer, or the text when it is not JSON. Query names are spelled as in the API."""
        response = self._pool.request(
            method,
            self.url + path + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        )
        text = response.data.decode()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text
        if response.status >= 400:
            found = answer if isinstance(answer, dict) else {}
            raise ApiError(response.status, found.get("reason", ""), found.get("message", text))
        return answer

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Json:
        """One object."""
        return dict(self.request("GET", path_of(api_version, kind, namespace, name)))

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """One object, None when there is none."""
        try:
            return self.get(api_version, kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str | None = None, **query: str) -> list[Json]:
        """All objects of a kind, of one namespace when it is given; query such as labelSelector="a=b"."""
        return list(self.request("GET", path_of(api_version, kind, namespace), **query)["items"])

    def create(self, manifest: Json, **query: str) -> Json:
        """POST with strict field validation, so that a misspelt field fails the test that has it."""
        path = path_of(manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace"))
        return dict(self.request("POST", path, manifest, **{"fieldValidation": "Strict", **query}))

    def apply(self, manifest: Json, manager: str = "test", *, subresource: str = "", **query: str) -> Json:
        """Server-side apply, forced, strict."""
        return dict(
            self.request(
                "PATCH",
                _object_path(manifest) + (f"/{subresource}" if subresource else ""),
                manifest,
                {"Content-Type": "application/apply-patch+yaml"},
                fieldManager=manager,
                force="true",
                fieldValidation="Strict",
                **query,
            )
        )

    def replace(self, manifest: Json, *, subresource: str = "", **query: str) -> Json:
        """PUT of a whole object as it was read, with changes."""
        path = _object_path(manifest) + (f"/{subresource}" if subresource else "")
        return dict(self.request("PUT", path, manifest, **query))

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: Json,
        namespace: str | None = None,
        *,
        subresource: str = "",
        **query: str,
    ) -> Json:
        """JSON merge patch, of the subresource when one is named (`status`)."""
        path = path_of(api_version, kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return dict(self.request("PATCH", path, patch, {"Content-Type": "application/merge-patch+json"}, **query))

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None, **query: str) -> None:
        """Background deletion; an object that is already gone is fine."""
        try:
            self.request("DELETE", path_of(api_version, kind, namespace, name), **query)
        except ApiError as error:
            if error.status != 404:
                raise


def _object_path(manifest: Json) -> str:
    metadata = manifest["metadata"]
    return path_of(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"])


@contextmanager
def repeating(work: Callable[[], object], every: float, whose: str) -> Iterator[None]:
    """Calls `work`, a stand-in's, again and again while the block runs; AssertionError after it if the stand-in died.

    A refusal or a busy machine's timeout is tried again after.
    """
    over = threading.Event()
    died: list[Exception] = []

    def run() -> None:
        try:
            while not over.wait(every):
                with suppress(ApiError, urllib3.exceptions.HTTPError):
                    work()
        except Exception as error:
            died.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not died, f"the stand-in for {whose} died: {died[0]!r}"


def eventually(check: Callable[[], T | None], what: str, seconds: float = 30.0, every: float = 0.05) -> T:
    """The first truthy answer of `check`, asked again and again; AssertionError naming `what` after that."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
