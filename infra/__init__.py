"""The Pulumi program of the platform, and what deploys it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository's folder."""
PROJECT = "devservers"
"""The Pulumi project's name, which is also the prefix of its configuration keys."""
