"""Reads the secrets of a person's own set-up, when a server of theirs starts."""

from __future__ import annotations

import logging

from devservers.api.secrets import SecretReference
from devservers.reconcile.interfaces import Client, get_or_none
from devservers_core.names import MAX_SECRET_REFERENCES, SETUP, SETUP_SECRETS
from devservers_core.setup_secrets import parse_lines

log = logging.getLogger("devservers.reconcile")


async def setup_secrets(client: Client, namespace: str) -> tuple[SecretReference, ...]:
    """The references of the set-up as the API server has it now. Raises ApiError.

    Not the cache's: a start that follows a change at once has the change. Admission refuses lines that are no
    references, so such a line was written by an administrator; it is left out.
    """
    config_map = await get_or_none(client, "ConfigMap", namespace, SETUP)
    references, bad = parse_lines(str(((config_map or {}).get("data") or {}).get(SETUP_SECRETS) or ""))
    if bad:
        log.warning("set-up has lines that are no references namespace=%s lines=%d", namespace, len(bad))
    return tuple(SecretReference.model_validate(each) for each in references[:MAX_SECRET_REFERENCES])
