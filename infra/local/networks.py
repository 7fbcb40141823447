"""The networks around a local cluster: closed networks and name servers.

`make up` looks at the cluster and hands the result to the Pulumi program in one variable, as it does with what the
cluster can give (infra/local/capacity.py).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from infra.settings.problems import Problem, SettingsError
from infra.settings.stack import Settings

VARIABLE = "DEVSERVERS_LOCAL_NETWORK"


@dataclass(frozen=True)
class ClusterNetworks:
    """Networks in CIDR notation."""

    closed: tuple[str, ...] = ()
    """Nodes with the pods on them, the API server, and the machine's end of the embedded node's veth pair."""
    dns: tuple[str, ...] = ()
    """Name servers that are no pods: the embedded node."""
    machine: tuple[str, ...] = ()
    """Where everybody at this machine seems to come from, to the embedded cluster's bastion."""

    def __str__(self) -> str:
        """As the variable's value."""
        return json.dumps({name: found for name, found in asdict(self).items() if found})

    def apply_to(self, settings: Settings) -> Settings:
        """The stack's settings with these networks added to its own."""
        egress = settings.egress.model_copy(
            update={
                "deny": _merged(settings.egress.deny, self.closed),
                "dns": _merged(settings.egress.dns, self.dns),
            }
        )
        exempt = _merged(settings.bastion.exempt, self.machine)
        bastion = settings.bastion.model_copy(update={"exempt": exempt})
        return settings.model_copy(update={"egress": egress, "bastion": bastion})


def read(env: Mapping[str, str]) -> ClusterNetworks:
    """The networks in the variable.

    Raises :class:`SettingsError` when it is unset or malformed.
    """
    text = env.get(VARIABLE, "")
    try:
        values = {name: tuple(found) for name, found in json.loads(text).items()}
        found = ClusterNetworks(**values)
        for network in (*found.closed, *found.dns, *found.machine):
            ipaddress.ip_network(network)
        if not found.closed:
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        reason = 'not the networks of a cluster; allowed: like {"closed": ["172.18.0.2/32", "10.244.0.0/24"]}'
        remedy = "run `make up`, which measures the networks and passes them to Pulumi"
        raise SettingsError([Problem(VARIABLE, text or "(unset)", reason, remedy)]) from None
    return found


def _merged(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for some in lists for each in some))
