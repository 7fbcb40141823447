"""Publishes ports of an embedded node on this machine's loopback.

Invariant: a port belongs to one cluster and to one of its node ports; a cluster keeps its own for as long as its state
lives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from devcluster.node import machine_setup
from devcluster.node.components import Site

PUBLISHED = range(32222, 32768)
"""Where free ones are looked for; below those that Linux gives to programs (ip_local_port_range)."""


@dataclass(frozen=True)
class Ports:
    """The ports of one cluster, remembered in ``file`` by the node's number."""

    file: Path

    def read(self) -> dict[int, int]:
        """The port of loopback for each of the node's."""
        if not self.file.exists():
            return {}
        return {int(node_port): int(port) for node_port, port in json.loads(self.file.read_text()).items()}

    def publish(self, link: str, site: Site, node_port: int) -> int | None:
        """Make a port of the node one of loopback, and remember it; None when none is free.

        It is the one that it had before, else the node's own number, else the next that nobody has.
        """
        known = self.read()
        others = {port for other, port in known.items() if other != node_port}
        wanted: list[int] = [
            port for port in (known.get(node_port, node_port), node_port, *PUBLISHED) if port not in others
        ]
        with machine_setup.one_at_a_time():
            for port in wanted:
                if machine_setup.publish(link, site, port, node_port):
                    text = json.dumps({str(each): mine for each, mine in {**known, node_port: port}.items()})
                    self.file.write_text(text)
                    return port
        return None
