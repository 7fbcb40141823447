"""Answers who may be on this bastion, from the accounts in force.

Invariant: who may be here is what the generation in force says, read again as soon as there is another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bastion.paths import ACCESS_FILE, Paths


class Access:
    """access.json of the generation in force, parsed once a generation."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._generation: str | None = None
        self._found: dict[str, Any] = {}
        self._users: dict[int, str] = {}

    def user_of(self, uid: int) -> str | None:
        """Whose uid this is."""
        self._refresh()
        return self._users.get(uid)

    def uids(self) -> Mapping[str, int]:
        """Every account and its uid."""
        self._refresh()
        return {name: uid for uid, name in self._users.items()}

    def refusal(self, user: str, fingerprint: str | None, now: datetime) -> str | None:
        """Why this person may not be here with this key, in words for them.

        None when they may.

        Without a fingerprint only the account counts.
        """
        self._refresh()
        account = self._found.get(user)
        if account is None:
            return "your account was removed"
        if fingerprint is None:
            return None
        if fingerprint not in account["keys"]:
            return "the key you logged in with was removed"
        end = account["keys"][fingerprint]
        return f"the key you logged in with ended at {end}" if _ended(end, now) else None

    def locked_out(self, user: str, now: datetime) -> bool:
        """Whether no key of this person is in force: suspended, removed, or all at their end."""
        self._refresh()
        keys = self._found.get(user, {}).get("keys", {})
        return all(_ended(end, now) for end in keys.values())

    def _refresh(self) -> None:
        """Keeps what it has when nothing can be read: what is in force stays in force."""
        try:
            generation = str(self._paths.current.readlink())
            if generation != self._generation:
                table = json.loads((self._paths.accounts / generation / ACCESS_FILE).read_text())
                self._users = {int(account["uid"]): name for name, account in table.items()}
                self._found, self._generation = table, generation
        except (OSError, ValueError, KeyError, TypeError):
            return


def _ended(end: str | None, now: datetime) -> bool:
    """Whether a key with this end is no longer in force; without one it is for good."""
    return end is not None and datetime.fromisoformat(end) <= now.astimezone(UTC)
