"""Simulates a stack: the program's graph without an engine or a cloud.

Invariant: a simulation runs the very program `pulumi up` runs, with a stack's own file, and asks nobody anything.

For the local stack a person, a cluster and images stand in, the same on every machine; so what is recorded depends on
the checkout alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devservers_core.client import kubeconfig
from devservers_core.names import LOCAL_IMAGES
from infra.cost.estimate import Estimate
from infra.local.capacity import VARIABLE, Capacity
from infra.local.networks import VARIABLE as NETWORK
from infra.local.networks import ClusterNetworks
from infra.preview import recorder
from infra.preview.graph import Graph
from infra.preview.stackfile import StackFile
from infra.settings.loading import load
from infra.settings.stack import IMAGE_VARIABLES, Settings

CONTEXT = "kind-simulated"
USER = "somebody"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkeyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0d somebody@simulation"


@dataclass(frozen=True)
class Simulation:
    """What a stack would make, by a run of its program on mocks."""

    stack: str
    settings: Settings
    graph: Graph
    outputs: tuple[str, ...]
    """Names of the stack's outputs; their values are made up, but for the cost."""
    cost: Estimate | None
    """None for a cluster on this machine."""


def simulate(stack: StackFile, *, preview: bool = False) -> Simulation:
    """Run the program for a stack.

    With ``preview`` everything that AWS would answer is unknown. Raises SettingsError when the configuration can't be
    used.
    """
    with tempfile.TemporaryDirectory(prefix="devservers-simulation-") as folder:
        env = simulated_environment(Path(folder)) if stack.local else {}
        # Before the run, which would raise the same as Pulumi's own error.
        settings = load(stack.name, stack.config, env)
        run = recorder.run(stack.config, env, preview, stack.name)
    cost = Estimate.from_record(run.outputs["cost"]) if settings.aws else None
    return Simulation(stack.name, settings, run.graph, tuple(sorted(run.outputs)), cost)


def settings_of(stack: StackFile) -> Settings:
    """A stack's settings alone, nothing run. Raises SettingsError."""
    with tempfile.TemporaryDirectory(prefix="devservers-simulation-") as folder:
        return load(stack.name, stack.config, simulated_environment(Path(folder)) if stack.local else {})


def simulated_environment(folder: Path) -> Mapping[str, str]:
    """Environment variables of a user with a local cluster and built images."""
    kubeconfig.write(folder / "kubeconfig", kubeconfig.document(CONTEXT, {"server": "https://127.0.0.1:6443"}, {}))
    (folder / "keys").write_text(KEY + "\n")
    return {
        "HOME": str(folder),
        "DEVSERVERS_KUBECONFIG": str(folder / "kubeconfig"),
        "DEVSERVERS_LOCAL_USER": USER,
        "DEVSERVERS_LOCAL_KEYS_FILE": str(folder / "keys"),
        VARIABLE: str(Capacity(cpu=1900, memory=7680)),
        NETWORK: str(ClusterNetworks(closed=("10.244.0.0/24", "172.18.0.2/32"))),
        **{variable: f"{LOCAL_IMAGES}/{name}:simulated" for name, variable in IMAGE_VARIABLES.items()},
    }
