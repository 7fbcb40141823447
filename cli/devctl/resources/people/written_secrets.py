"""Writes Secrets that a user may write and never read back, and the notes of them.

A ConfigMap that the operator makes has one note for each Secret, so that they can be listed.
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


@dataclass(frozen=True)
class WrittenSecrets:
    """One kind of Secret of a user: `notes` is the ConfigMap, `what` completes "your ..."."""

    notes: str
    type: str
    what: str

    def list(self, context: Context) -> dict[str, dict[str, Any]]:
        """The notes by the Secret's name; one that can't be read is left out. Raises CommandError."""
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
        self,
        context: Context,
        name: str,
        data: Mapping[str, bytes],
        note: Mapping[str, Any] | None,
        *,
        replace: bool = True,
    ) -> None:
        """Write a Secret whole, and its note; None removes the note. Raises CommandError.

        Its owner is the DevServerUser, with which it is deleted. Without `replace` one that exists is left alone.
        """
        owners = self._index(context)["metadata"].get("ownerReferences") or []
        fields = ("apiVersion", "kind", "name", "uid")
        body = {
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
                    raise CommandError(
                        f"the Secret {name} exists, and the list of your {self.what} doesn't say what it holds",
                        "add --replace to drop that, or use another name",
                        REFUSED,
                    ) from None
                context.kube.request("PUT", f"{path}/{name}", body=body)
        except ApiError as error:
            raise from_api(error, f"keep your {self.what}") from None
        self._note(context, name, note)

    def delete(self, context: Context, name: str) -> bool:
        """Delete a Secret and its note; whether there was one. Raises CommandError."""
        existed = True
        try:
            context.kube.delete(core_path(context.namespace, "secrets", name))
        except ApiError as error:
            if error.status != 404:
                raise from_api(error, f"delete your {self.what}") from None
            existed = False
        self._note(context, name, None)
        return existed

    def _index(self, context: Context) -> dict[str, Any]:
        try:
            return context.kube.get(core_path(context.namespace, "configmaps", self.notes))
        except ApiError as error:
            if error.status == 404 and error.details.get("name") == self.notes:
                what = f"{context.namespace} is not ready for {self.what}"
                remedy = "try again in a minute; if it goes on, tell an administrator"
                raise CommandError(what, remedy, FAILURE) from None
            raise from_api(error, f"read the list of your {self.what}") from None

    def _note(self, context: Context, name: str, note: Mapping[str, Any] | None) -> None:
        path = core_path(context.namespace, "configmaps", self.notes)
        try:
            context.kube.patch(path, {"data": {name: None if note is None else json.dumps(note)}})
        except ApiError as error:
            raise from_api(error, f"note your {self.what}") from None
