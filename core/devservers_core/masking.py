"""Replaces secrets in text that people or logs are shown.

A value is secret by the name it is given (`OPENAI_KEY=`) or by its shape (`ghp_...`, a private key). The rule errs on
the side of hiding: a harmless value that is masked costs a look elsewhere, a token in a log costs a rotation.

Invariant: every pattern is matched in linear time, because people choose the text.
"""

from __future__ import annotations

import re

MASK = "***"

_ANYWHERE = r"passw(?:or)?d|passwd|secret|credential|api[-_]?key|private[-_]?key|access[-_]?key|token(?!iz)"
_AT_END = r"key|pass|pwd|passphrase|auth|authorization|cookie|jwt|(?:\A|(?<=[-_.]))pat"
_NAME = re.compile(rf"(?:{_ANYWHERE})|(?:{_AT_END})s?[-_.]?\d{{0,4}}\Z", re.IGNORECASE)
_HARMLESS = frozenset(("pwd", "oldpwd"))  # folders
MAX_NAME = 256
"""Characters of a name that are looked at, from its end."""

_PRIVATE_KEY = re.compile(
    r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY-----(?:(?!-----END)[\s\S])*+(?:-----END[ A-Z0-9]{0,40}-----)?"
)
_USERINFO = re.compile(r"(://[^/\s:@]*+):[^/\s@]++@")
_SCHEME = re.compile(r"(\b(?:bearer|basic)\s++)[A-Za-z0-9+/=._~-]{6,}+", re.IGNORECASE)
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_[A-Za-z0-9]{8,}+"  # GitHub
    r"|github_pat_[A-Za-z0-9_]{8,}+"
    r"|glpat-[A-Za-z0-9_-]{8,}+"  # GitLab
    r"|hf_[A-Za-z0-9]{8,}+"  # Hugging Face
    r"|sk-[A-Za-z0-9_-]{16,}+"  # OpenAI, Anthropic
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{8,}+"  # Stripe
    r"|xox[a-z]-[A-Za-z0-9-]{8,}+"  # Slack
    r"|nvapi-[A-Za-z0-9_-]{8,}+"  # NVIDIA
    r"|npm_[A-Za-z0-9]{16,}+"
    r"|pypi-[A-Za-z0-9_-]{16,}+"
    r"|dapi[0-9a-f]{32}"  # Databricks
    r"|AIza[A-Za-z0-9_-]{30,}+"  # Google
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+)?"  # a JSON web token
    r")"
)


def is_secret_name(name: str) -> bool:
    """Whether a value that is called `name` is taken for a secret: DB_PWD, --api-key, HF_TOKEN, Cookie."""
    name = name.strip()[-MAX_NAME:]
    return name.lower() not in _HARMLESS and _NAME.search(name) is not None


def mask_text(text: str) -> str:
    """`text` with known kinds of secrets replaced: private keys, tokens, `https://u:X@h`, `Bearer X`."""
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _USERINFO.sub(rf"\g<1>:{MASK}@", text)
    return _SHAPES.sub(MASK, _SCHEME.sub(rf"\g<1>{MASK}", text))


def mask_value(name: str, value: str) -> str:
    """The value of a variable as it may be shown: whole, in parts, or as the mask alone."""
    return MASK if value and is_secret_name(name) else mask_text(value)
