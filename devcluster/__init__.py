"""The embedded Kubernetes cluster: its tools, images, node, network and certificates."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository's folder."""
