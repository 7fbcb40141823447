"""The processes of the embedded cluster and their arguments, in start order.

All paths are as seen from inside the node, where its folder is always ``/run/devservers``: short paths (a socket's
may have 108 bytes) that never depend on where a person keeps their state.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from devservers_core.names import LOCAL_IMAGES

INSIDE = PurePosixPath("/run/devservers")
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
NODE = "devservers"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = f"{LOCAL_IMAGES}/pause:1"
CGROUP_ROOT = "devservers"
ETCD = "https://127.0.0.1:2379"
ETCD_CLIENT = (INSIDE / "pki" / "apiserver-etcd-client.crt", INSIDE / "pki" / "apiserver-etcd-client.key")
"""What etcd lets in, signed by an authority that signs nothing else: the node's loopback is where containerd fetches
images from as well, by whatever name a person's spec gives."""


@dataclass(frozen=True)
class Site:
    """What differs from one embedded cluster to another.

    ``address`` is the node's, ``gateway`` the host's end of the link, ``mtu`` the link's in bytes,
    ``resolvers`` where names outside the cluster are asked for, ``cgroup`` the folder below each controller, ``ipv6``
    whether the kernel has it.
    """

    address: str
    gateway: str
    mtu: int
    resolvers: tuple[str, ...]
    cgroup: str
    ipv6: bool


@dataclass(frozen=True)
class Component:
    """One process: its argv, and where it answers when it is healthy."""

    name: str
    argv: tuple[str, ...]
    health: str


def components(site: Site, tools: dict[str, str]) -> list[Component]:
    """The processes in start order. ``tools`` maps a program to its path."""
    pki = INSIDE / "pki"

    def kubeconfig(name: str) -> str:
        return f"--kubeconfig={INSIDE / (name + '.kubeconfig')}"

    return [
        Component(
            "etcd",
            (
                tools["etcd"],
                f"--data-dir={INSIDE / 'etcd'}",
                f"--listen-client-urls={ETCD}",
                f"--advertise-client-urls={ETCD}",
                # It has no peer. What a data folder of an older version says of this address is kept and not used.
                "--listen-peer-urls=https://127.0.0.1:2380",
                "--initial-advertise-peer-urls=https://127.0.0.1:2380",
                "--initial-cluster=default=https://127.0.0.1:2380",
                *(
                    option
                    for kind in ("", "peer-")
                    for option in (
                        f"--{kind}client-cert-auth",
                        f"--{kind}trusted-ca-file={pki / 'etcd-ca.crt'}",
                        f"--{kind}cert-file={pki / 'etcd.crt'}",
                        f"--{kind}key-file={pki / 'etcd.key'}",
                    )
                ),
                "--auto-compaction-retention=1",
                "--quota-backend-bytes=4294967296",
                "--log-level=warn",
            ),
            f"{ETCD}/health",
        ),
        Component(
            "kube-apiserver",
            (
                tools["kube-apiserver"],
                f"--etcd-servers={ETCD}",
                f"--etcd-cafile={pki / 'etcd-ca.crt'}",
                f"--etcd-certfile={ETCD_CLIENT[0]}",
                f"--etcd-keyfile={ETCD_CLIENT[1]}",
                f"--advertise-address={site.address}",
                "--bind-address=0.0.0.0",
                "--secure-port=6443",
                f"--service-cluster-ip-range={SERVICE_CIDR}",
                "--authorization-mode=Node,RBAC",
                "--anonymous-auth=true",  # kubelets' and our own health checks; RBAC gives it /healthz only
                "--allow-privileged=true",
                "--enable-admission-plugins=NodeRestriction",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
                f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={pki / 'sa.key'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}",
                # The aggregation layer: without it an APIService (Kueue's visibility) never becomes available.
                f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
                f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
                "--enable-aggregator-routing=true",
                f"--audit-policy-file={INSIDE / 'audit-policy.yaml'}",
                f"--audit-log-path={INSIDE / 'audit.log'}",
                "--audit-log-maxsize=50",
                "--audit-log-maxbackup=1",
            ),
            "https://127.0.0.1:6443/readyz",
        ),
        Component(
            "kube-controller-manager",
            (
                tools["kube-controller-manager"],
                kubeconfig("controller-manager"),
                f"--authentication-kubeconfig={INSIDE / 'controller-manager.kubeconfig'}",
                f"--authorization-kubeconfig={INSIDE / 'controller-manager.kubeconfig'}",
                f"--root-ca-file={pki / 'ca.crt'}",
                f"--service-account-private-key-file={pki / 'sa.key'}",
                f"--cluster-signing-cert-file={pki / 'ca.crt'}",
                f"--cluster-signing-key-file={pki / 'ca.key'}",
                "--use-service-account-credentials=true",
                "--enable-hostpath-provisioner=true",
                # One instance: waiting for a dead one's lease would only slow a restart down.
                "--leader-elect=false",
                # Servers are counted once the controller has found their kind (it looks every 30 s) and looks at the
                # quotas again. The default of five minutes would refuse everybody's first server for as long.
                "--resource-quota-sync-period=10s",
            ),
            "https://127.0.0.1:10257/healthz",
        ),
        Component(
            "kube-scheduler",
            (
                tools["kube-scheduler"],
                kubeconfig("scheduler"),
                f"--authentication-kubeconfig={INSIDE / 'scheduler.kubeconfig'}",
                f"--authorization-kubeconfig={INSIDE / 'scheduler.kubeconfig'}",
                "--leader-elect=false",
            ),
            "https://127.0.0.1:10259/healthz",
        ),
        Component(
            "containerd",
            (tools["containerd"], f"--config={INSIDE / 'containerd.toml'}"),
            f"unix:{CONTAINERD_SOCKET}",
        ),
        Component(
            "kubelet",
            (
                tools["kubelet"],
                f"--config={INSIDE / 'kubelet.yaml'}",
                kubeconfig("kubelet"),
                f"--root-dir={INSIDE / 'kubelet'}",
                f"--node-ip={site.address}",
                f"--hostname-override={NODE}",
            ),
            "http://127.0.0.1:10248/healthz",
        ),
        Component(
            "kube-proxy",
            (
                tools["kube-proxy"],
                kubeconfig("proxy"),
                f"--hostname-override={NODE}",
                "--proxy-mode=iptables",
                f"--cluster-cidr={POD_CIDR}",
                # The connection tables are the host's to size.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=0",
            ),
            "http://127.0.0.1:10256/healthz",
        ),
        Component(
            "kube-router",
            (
                tools["kube-router"],
                "--run-firewall=true",
                "--run-router=false",
                "--run-service-proxy=false",
                f"--hostname-override={NODE}",
                kubeconfig("router"),
                f"--service-cluster-ip-range={SERVICE_CIDR}",
                "--health-port=20244",
            ),
            "http://127.0.0.1:20244/healthz",
        ),
        Component(
            "coredns",
            (tools["coredns"], f"-conf={INSIDE / 'Corefile'}"),
            "http://127.0.0.1:8181/ready",
        ),
    ]
