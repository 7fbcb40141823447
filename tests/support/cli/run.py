"""Types of devctl's runs in tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
"""Runs devctl with these words; what it takes besides is told where it is made."""
