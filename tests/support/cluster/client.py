"""A client of a test's API server: core's, with kinds and server-side apply.

Invariant: tests send and read plain dictionaries, so a wrong assumption of the operator's own facade can't hide itself
in the test that checks it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devservers_core.client.api import MERGE_PATCH, ApiClient
from devservers_core.client.kubeconfig import Target
from devservers_core.errors import ApiError, UnreachableError
from devservers_core.types import Json

APPLY_PATCH = "application/apply-patch+yaml"
SECONDS = 30.0
"""How long the API server may be silent: the machine of a test may be busy."""

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
    """One identity's requests, from any thread; every method raises ApiError for a refusal."""

    def __init__(self, url: str, ca: Path, certificate: Path, key: Path) -> None:
        self.url = url
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        self._target = Target(url, "test", "test", None, {"certificate-authority": str(ca)}, user)
        self._of_thread = threading.local()

    @property
    def api(self) -> ApiClient:
        """This thread's own: core's client keeps one connection, and is not for several threads."""
        if not hasattr(self._of_thread, "api"):
            self._of_thread.api = self.accepting("application/json")
        found: ApiClient = self._of_thread.api
        return found

    def accepting(self, form: str) -> ApiClient:
        """A client of the same identity that asks for another representation of what it reads."""
        return ApiClient(self._target, {}, accept=form, timeout=SECONDS, user_agent="devservers-tests")

    def request(
        self, method: str, path: str, body: Json | None = None, content_type: str = "application/json", /, **query: str
    ) -> Json:
        """The answer, {} when it is no JSON object. Query names are spelled as in the API."""
        return self.api.request(method, path, body=body, query=query, content_type=content_type)

    def text(self, path: str) -> str:
        """What a path answers that serves no JSON, such as /readyz."""
        return b"".join(self.api.lines(path, {}, SECONDS)).decode()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Json:
        """One object."""
        return self.request("GET", path_of(api_version, kind, namespace, name))

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
        return self.request("POST", path, manifest, **{"fieldValidation": "Strict", **query})

    def apply(self, manifest: Json, manager: str = "test", *, subresource: str = "", **query: str) -> Json:
        """Server-side apply, forced, strict."""
        path = _object_path(manifest) + (f"/{subresource}" if subresource else "")
        options = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict", **query}
        return self.request("PATCH", path, manifest, APPLY_PATCH, **options)

    def replace(self, manifest: Json, *, subresource: str = "", **query: str) -> Json:
        """PUT of a whole object as it was read, with changes."""
        path = _object_path(manifest) + (f"/{subresource}" if subresource else "")
        return self.request("PUT", path, manifest, **query)

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
        return self.request("PATCH", path, patch, MERGE_PATCH, **query)

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
                with suppress(ApiError, UnreachableError):
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
