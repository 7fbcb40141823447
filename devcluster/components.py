"""What the embedded cluster consists of: the processes, their arguments and their files. Pure.

Everything is said from inside the node, where its folder is always ``/run/devservers``: short paths (a socket's
may have 108 bytes) that never depend on where a person keeps their state. Order is start order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from devservers_core.names import CLUSTER_DOMAIN, GROUP, LOCAL_IMAGES

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


def files(site: Site, cni_plugins: str) -> dict[str, str]:
    """Configuration files by their name in the node's folder."""
    forward = f"    forward . {' '.join(site.resolvers)}\n" if site.resolvers else ""
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(INSIDE / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(INSIDE / "pki" / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(INSIDE / "pki" / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{site.cgroup}",
        "failCgroupV1": False,
        "clusterDNS": [site.address],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(INSIDE / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "volumePluginDir": str(INSIDE / "volume-plugins"),
        "podLogsDir": str(INSIDE / "pod-logs"),
        "failSwapOn": False,
        "serializeImagePulls": False,
        # No registry can bring an image back here: it is never collected.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # Naming one threshold turns the others' defaults off. The data store is on the same disk as the pods' files.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "nodefs.inodesFree": "2%"},
        "podPidsLimit": 4096,
        # With cgroup v2 the kernel would end the whole server where one of its programs takes too much memory.
        "singleProcessOOMKill": True,
        # A key that is removed from a person leaves their servers within about this time.
        "syncFrequency": "20s",
        "shutdownGracePeriod": "0s",
    }
    bridge: dict[str, Any] = {
        "cniVersion": "0.4.0",
        "name": "devservers",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "mtu": site.mtu,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-ipam",
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    if site.ipv6:
        # The firewall of network policies is IPv4's; over link-local addresses pods would reach each other past it.
        bridge["plugins"].append({"type": "tuning", "sysctl": {"net.ipv6.conf.all.disable_ipv6": "1"}})
    return {
        "kubelet.yaml": json.dumps(kubelet, indent=1),
        "cni/10-bridge.conflist": json.dumps(bridge, indent=1),
        "audit-policy.yaml": json.dumps(
            {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [
                    # Who wrote what; never a body: a Secret's would be in it.
                    {
                        "level": "Metadata",
                        "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                        "namespaces": [],
                        "userGroups": ["system:serviceaccounts", "system:authenticated"],
                        "resources": [
                            {"group": ""},
                            {"group": "apps"},
                            {"group": GROUP},
                            {"group": "events.k8s.io"},
                            {"group": "rbac.authorization.k8s.io"},
                            {"group": "networking.k8s.io"},
                        ],
                    },
                    {"level": "None"},
                ],
            }
        ),
        "resolv.conf": "".join(f"nameserver {r}\n" for r in site.resolvers) or "nameserver 127.0.0.1\n",
        "Corefile": (
            ".:53 {\n"
            f"    bind {site.address}\n"
            "    errors\n"
            "    ready 127.0.0.1:8181\n"
            "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
            f"        kubeconfig {INSIDE / 'coredns.kubeconfig'}\n"
            "        pods insecure\n"
            "    }\n"
            "    cache 30\n" + forward + "}\n"
        ),
        "containerd.toml": f"""version = 2
root = "{INSIDE / "containerd"}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{INSIDE / "certs.d"}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{INSIDE / "cni"}"
""",
    }
