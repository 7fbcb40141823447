"""Writes Secrets that a user may write and never read back, and reads the index of them.

A ConfigMap that the operator makes has one entry for each Secret, so that they can be listed. The operator keeps that
of secrets for servers; that of logins to registries has user names, which devctl notes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devctl.output.errors import from_api
from devservers_core.client.paths import core_path
from devservers_core.errors import FAILURE, REFUSED, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


class SecretExistsError(CommandError):
    """There is a Secret of that name which the index doesn't have, or not as it is now."""


@dataclass(frozen=True)
class WrittenSecrets:
    """One kind of Secret of a user: `index` is the ConfigMap, `what` completes "your ..."."""

    index: str
    type: str
    what: str

    def list(self, context: Context) -> dict[str, dict[str, Any]]:
        """The entries by the Secret's name; one that can't be read is left out. Raises CommandError."""
        entries: dict[str, dict[str, Any]] = {}
        for name, text in (self._index(context).get("data") or {}).items():
            try:
                note = json.loads(text)
            except ValueError:
                continue
            if isinstance(note, dict):
                entries[name] = note
        return entries

    def write(
        self, context: Context, name: str, data: Mapping[str, bytes], *, replace: bool = True, version: str = ""
    ) -> None:
        """Write a Secret whole. Raises CommandError.

        Its owner is the DevServerUser, with which it is deleted. Without `replace` one that exists is left alone, and
        so is one of another `version` than this, where it isn't empty: SecretExistsError is raised.
        """
        owners = self._index(context)["metadata"].get("ownerReferences") or []
        fields = ("apiVersion", "kind", "name", "uid")
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "ownerReferences": [{key: owner[key] for key in fields} for owner in owners]},
            "type": self.type,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        path = core_path(context.namespace, "secrets")
        try:
            try:
                context.kube.create(path, body)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                if not replace:
                    raise self._unlisted(name) from None
                if version:
                    body["metadata"]["resourceVersion"] = version
                context.kube.request("PUT", f"{path}/{name}", body=body)
        except ApiError as error:
            if error.conflict and version:
                raise self._unlisted(name) from None
            raise from_api(error, f"keep your {self.what}") from None

    def _unlisted(self, name: str) -> SecretExistsError:
        return SecretExistsError(
            f"the Secret {name} exists, and the list of your {self.what} doesn't say what it holds now",
            "add --replace to drop that, or use another name",
            REFUSED,
        )

    def delete(self, context: Context, name: str) -> bool:
        """Delete a Secret; whether there was one. Raises CommandError."""
        try:
            context.kube.delete(core_path(context.namespace, "secrets", name))
        except ApiError as error:
            if error.status != 404:
                raise from_api(error, f"delete your {self.what}") from None
            return False
        return True

    def _index(self, context: Context) -> dict[str, Any]:
        try:
            return context.kube.get(core_path(context.namespace, "configmaps", self.index))
        except ApiError as error:
            if error.status == 404 and error.details.get("name") == self.index:
                what = f"{context.namespace} is not ready for {self.what}"
                remedy = "try again in a minute; if it goes on, tell an administrator"
                raise CommandError(what, remedy, FAILURE) from None
            raise from_api(error, f"read the list of your {self.what}") from None

    def note(self, context: Context, name: str, note: Mapping[str, Any] | None) -> None:
        """Write the entry of a Secret, or remove it. Raises CommandError."""
        path = core_path(context.namespace, "configmaps", self.index)
        try:
            context.kube.patch(path, {"data": {name: None if note is None else json.dumps(note)}})
        except ApiError as error:
            raise from_api(error, f"note your {self.what}") from None
