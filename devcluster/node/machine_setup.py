"""Sets up the machine's network, cgroup and kernel settings for a node, and undoes it.

A veth pair to the node, iptables rules for it, a cgroup folder, and the kernel settings that a kubelet changes for
the whole machine. Undoing what is not there is no error.

The rules translate addresses, so that servers reach the internet and this machine reaches the node's ports (nat), and
close the machine's own services and its neighbours off from the node (filter, raw).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from devcluster.node.components import Site

NETWORK = ipaddress.IPv4Network("10.213.0.0/16")
"""Where nodes get their addresses, four each; private (RFC 1918) and seldom used."""
CGROUPS = Path("/sys/fs/cgroup")
SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)
"""Machine-wide settings that a kubelet sets (pkg/kubelet/cm), and forwarding, which the node's traffic needs."""
SYS = Path("/proc/sys")
LINK = "dsv"
"""Prefix of the names of all our interfaces on the machine."""
RUN = Path("/run/devservers-machine")
"""What the clusters of this machine share; gone with the next boot, as the settings are."""


def _run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=check, capture_output=True, text=True)


def link_name(folder: Path) -> str:
    """The machine's interface of the veth pair: at most 15 bytes (IFNAMSIZ), one for each state folder."""
    return LINK + hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def free_addresses(folder: Path) -> tuple[str, str]:
    """An address for a node and one for the machine's end, in a /30 that no route of this machine overlaps."""
    routes = json.loads(_run("ip", "-4", "-j", "route").stdout or "[]")
    taken = [ipaddress.IPv4Network(r["dst"], strict=False) for r in routes if r["dst"] != "default"]
    subnets = list(NETWORK.subnets(new_prefix=30))
    begin = int(hashlib.sha256(str(folder).encode()).hexdigest()[:8], 16)
    for step in range(len(subnets)):
        subnet = subnets[(begin + step) % len(subnets)]
        if not any(subnet.overlaps(other) for other in taken):
            gateway, address = list(subnet.hosts())[:2]
            return str(address), str(gateway)
    raise RuntimeError(f"every network in {NETWORK} is in use on this machine")


def mtu() -> int:
    """The MTU of the machine's default route: a larger one in the node would stall large transfers."""
    for route in json.loads(_run("ip", "-j", "route", "show", "default").stdout or "[]"):
        with contextlib.suppress(OSError, KeyError):
            return int(Path(f"/sys/class/net/{route['dev']}/mtu").read_text())
    return 1500


def resolvers() -> tuple[str, ...]:
    """The machine's name servers that a node can reach: a loopback address means the machine itself only."""
    for file in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            lines = [line.split() for line in Path(file).read_text().splitlines()]
            servers = [fields[1] for fields in lines if len(fields) > 1 and fields[0] == "nameserver"]
            usable = [a for a in servers if not ipaddress.ip_address(a.partition("%")[0]).is_loopback]
            if usable:
                return tuple(usable[:3])
    return ()


def connect(link: str, site: Site, node: int) -> None:
    """Make the veth pair between the machine and the network namespace of process ``node``."""
    _run(
        *("ip", "link", "add", link, "mtu", str(site.mtu), "type", "veth"),
        *("peer", "name", "eth0", "mtu", str(site.mtu), "netns", str(node)),
    )
    _run("ip", "addr", "add", f"{site.gateway}/30", "dev", link)
    _run("ip", "link", "set", link, "up")
    inside = ("nsenter", "-t", str(node), "-n", "ip")
    _run(*inside, "addr", "add", f"{site.address}/30", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")
    _run(*inside, "route", "add", "default", "via", site.gateway)
    (SYS / "net/ipv4/ip_forward").write_text("1")
    for rule in _rules(link, site):
        _run("iptables", "-w", *rule)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the machine's lock on what clusters share: two that start together never choose the same port."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    with (RUN / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def publish(link: str, site: Site, port: int, node_port: int) -> bool:
    """Let programs of this machine reach ``node_port`` of the node by ``port`` of their loopback, and nobody else.

    False when the port is another cluster's or another program's. What is there already is left alone.
    Only what the machine itself sends goes through OUTPUT, so no neighbour comes in this way. Only answers may reach
    loopback from the node; new packets to it are dropped earlier (raw table). The machine's other addresses are closed
    to the node by _rules.
    """
    said = _run("iptables", "-w", "-t", "nat", "-S", "OUTPUT").stdout.splitlines()
    to = f"{site.address}:{node_port}"
    for line in (line for line in said if f"--dport {port} " in line):
        rule = line.split()
        owner = rule[rule.index("--comment") + 1] if "--comment" in rule else ""
        if owner == link and rule[-1] == to:
            return True
        if owner == link:
            _run("iptables", "-w", "-t", "nat", "-D", *rule[1:])  # to another port of ours
        elif owner.startswith(LINK) and not Path(f"/sys/class/net/{owner}").exists():
            disconnect(owner)  # of a cluster that was killed with everything in it, before it could tidy up
        else:
            return False
    if _listened_to(port):
        return False
    mark = ["-m", "comment", "--comment", link]
    _add("raw", "PREROUTING", "-i", link, "-d", "127.0.0.0/8", *mark, "-j", "DROP")
    (SYS / f"net/ipv4/conf/{link}/route_localnet").write_text("1")
    source = ["-s", "127.0.0.0/8", "-d", f"{site.address}/32", "-o", link, *mark]
    _add("nat", "POSTROUTING", *source, "-j", "MASQUERADE")
    rule = ["-d", "127.0.0.1/32", "-p", "tcp", "-m", "tcp", "--dport", str(port)]
    _add("nat", "OUTPUT", *rule, *mark, "-j", "DNAT", "--to-destination", to)
    return True


def _add(table: str, *rule: str) -> None:
    """Append a rule, once."""
    if _run("iptables", "-w", "-t", table, "-C", *rule, check=False).returncode:
        _run("iptables", "-w", "-t", table, "-A", *rule)


def _listened_to(port: int) -> bool:
    """Whether a program of this machine has the port."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _rules(link: str, site: Site) -> list[list[str]]:
    """The rules of a cluster's interface, as iptables' arguments.

    `-I` puts a rule first in its chain, so a later one of this list takes precedence.
    """
    mark = ["-m", "comment", "--comment", link]
    coming_in = ["-t", "filter", "-I", "INPUT", "-i", link]
    established = ["--ctstate", "RELATED,ESTABLISHED"]
    return [
        ["-t", "nat", "-A", "POSTROUTING", "-s", f"{site.address}/32", "!", "-o", link, *mark, "-j", "MASQUERADE"],
        ["-t", "filter", "-I", "FORWARD", "-i", link, *mark, "-j", "ACCEPT"],
        # Answers only: forwarding is on for the whole machine, and its neighbours may not reach the node.
        ["-t", "filter", "-I", "FORWARD", "-o", link, *mark, "-j", "DROP"],
        ["-t", "filter", "-I", "FORWARD", "-o", link, *mark, "-m", "conntrack", *established, "-j", "ACCEPT"],
        # The node may not reach the machine's own services, whatever address of the machine they listen on. Answers to
        # what the machine asked are not NEW.
        [*coming_in, *mark, "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"],
        # If this machine is itself the DNS server, servers may still reach its port 53.
        *(
            [*coming_in, "-d", f"{resolver}/32", "-p", protocol, "-m", protocol, "--dport", "53", *mark, "-j", "ACCEPT"]
            for resolver in site.resolvers
            if ":" not in resolver
            for protocol in ("udp", "tcp")
        ),
    ]


def disconnect(link: str) -> None:
    """Remove the interface and its rules. Rules are found by their comment, so no record of them is needed."""
    _run("ip", "link", "del", link, check=False)
    for table in ("nat", "filter", "raw"):
        for line in _run("iptables", "-w", "-t", table, "-S", check=False).stdout.splitlines():
            rule = line.split()
            if rule[:1] == ["-A"] and link in rule:
                _run("iptables", "-w", "-t", table, "-D", *rule[1:], check=False)


def _cgroup_roots() -> list[Path]:
    """The hierarchies: one with cgroup v2; with v1 one for each controller, and perhaps v2's beside them."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists()]


def make_cgroup(name: str) -> None:
    """The folder below which the kubelet puts its pods, in every hierarchy."""
    for root in _cgroup_roots():
        (root / name).mkdir(exist_ok=True)


def remove_cgroup(name: str) -> None:
    """Remove it with everything below; the kernel refuses while a process is in it."""
    for folder in (root / name for root in _cgroup_roots()):
        if folder.exists():
            below = sorted((p for p in folder.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
            for path in (*below, folder):
                with contextlib.suppress(OSError):
                    path.rmdir()


def others(link: str) -> list[str]:
    """The interfaces of other clusters that run on this machine."""
    links = (path.name for path in Path("/sys/class/net").iterdir())
    return sorted(name for name in links if name.startswith(LINK) and name != link)


def remember_settings() -> None:
    """Note the machine's settings before a kubelet changes them; the first cluster does, for all."""
    file = RUN / "settings.json"
    if not file.exists():
        values = {name: (SYS / name).read_text().strip() for name in SETTINGS if (SYS / name).exists()}
        file.write_text(json.dumps(values))


def restore_settings(link: str) -> None:
    """Set them back, unless another cluster still needs them."""
    file = RUN / "settings.json"
    if file.exists() and not others(link):
        for name, value in json.loads(file.read_text()).items():
            with contextlib.suppress(OSError):
                (SYS / name).write_text(value)
        file.unlink()
