"""The smallest configuration of a local stack, for tests."""

from __future__ import annotations

import json

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkeyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0d ann@laptop"
IMAGES = {name: f"localhost/{name}:1" for name in ("operator", "agent", "base", "bastion")}
ANN = {"username": "ann", "sshPublicKeys": [KEY]}


def raw(**values: object) -> dict[str, str]:
    """A configuration as Pulumi hands it to a program; a value of None is left out."""
    whole = {"cluster": "local", "images": IMAGES, "users": [ANN]} | values
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in whole.items() if value is not None
    }
