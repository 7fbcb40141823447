"""Grammars of names, paths, image references and environment variables.

Invariant: each pattern means the same as RE2 (the CRDs repeat them) and as Python's `re` with ASCII.
"""

from __future__ import annotations

import re

USER_NAME, USER_NAME_MAX = r"^[a-z][a-z0-9-]{0,29}[a-z0-9]$", 31
SERVER_NAME, SERVER_NAME_MAX = r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$", 40
DNS_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
"""Of flavors, queues and volume claims: a name as Kubernetes takes it, in the lengths that follow."""
FLAVOR_NAME_MAX, QUEUE_NAME_MAX, CLAIM_NAME_MAX = 63, 63, 253
ENV_NAME, ENV_NAME_MAX = r"^[A-Za-z_][A-Za-z0-9_]*$", 128
SECRET_NAME, SECRET_NAME_MAX = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", 40
SECRET_KEY, SECRET_KEY_MAX = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", 64
"""Of a person's secrets, and of the files that a server has them as."""
TIME_ZONE, TIME_ZONE_MAX = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", 64
"""Of names in the tz database; whether there is such a zone is for the reader of a time to say."""
_GIT_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_GIT_USER = r"[A-Za-z0-9][A-Za-z0-9._]*@"
GIT_URL, GIT_URL_MAX = (
    rf"^(https://{_GIT_HOST}(:[0-9]{{1,5}})?/|ssh://({_GIT_USER})?{_GIT_HOST}(:[0-9]{{1,5}})?/|"
    rf"{_GIT_USER}{_GIT_HOST}:[A-Za-z0-9._~/])[!-~]*$"
), 512  # fmt: skip
"""Of a repository that servers clone. One of https has no user: whoever has a token there writes it down."""
GIT_BRANCH, GIT_BRANCH_MAX = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", 200
MOUNT_PATH, MOUNT_PATH_MAX = r"^(/[^/:\x00-\x1f]+)+/?$", 512

_PATH_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
IMAGE, IMAGE_MAX = (
    rf"^({_HOST_PART}(\.{_HOST_PART})*(:[0-9]{{1,5}})?/)?{_PATH_PART}(/{_PATH_PART})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$"
), 512  # fmt: skip
"""The OCI distribution grammar of an image reference; digests are sha256."""


def fits(text: str, pattern: str, max_length: int) -> bool:
    """Whether all of `text` matches `pattern` and is no longer than `max_length` characters."""
    return len(text) <= max_length and not text.endswith("\n") and re.search(pattern, text, re.ASCII) is not None


def slug(text: str, max_length: int) -> str:
    """`text` as a user's or server's name, as far as that can be.

    "" when nothing is left of it.
    """
    import unicodedata

    plain = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss")).encode("ascii", "ignore").decode()
    # A mark of an accent is gone by now; any other character parts two words.
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-").lstrip("0123456789-")[:max_length].rstrip("-")
    return name if len(name) >= 2 else ""
