"""The configuration files of the embedded cluster's processes.

Paths are the node's own, whose folder is always ``/run/devservers``.
"""

from __future__ import annotations

import json
from typing import Any

from devcluster.node.components import CONTAINERD_SOCKET, INSIDE, PAUSE_IMAGE, POD_CIDR, Site
from devservers_core.names import CLUSTER_DOMAIN, GROUP


def files(site: Site, cni_plugins: str) -> dict[str, str]:
    """Configuration files by their name in the node's folder; ``cni_plugins`` is the folder with the CNI programs."""
    return {
        "kubelet.yaml": json.dumps(_kubelet(site), indent=1),
        "cni/10-bridge.conflist": json.dumps(_network(site), indent=1),
        "audit-policy.yaml": json.dumps(_AUDIT_POLICY),
        "resolv.conf": "".join(f"nameserver {r}\n" for r in site.resolvers) or "nameserver 127.0.0.1\n",
        "Corefile": _corefile(site),
        "containerd.toml": _containerd(cni_plugins),
    }


def _kubelet(site: Site) -> dict[str, Any]:
    return {
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
        # A key that is removed from a person leaves their servers within about this time (at most half as much more).
        "syncFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }


def _network(site: Site) -> dict[str, Any]:
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
    return bridge


_AUDIT_POLICY = {
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


def _corefile(site: Site) -> str:
    forward = f"    forward . {' '.join(site.resolvers)}\n" if site.resolvers else ""
    return (
        ".:53 {\n"
        f"    bind {site.address}\n"
        "    errors\n"
        "    ready 127.0.0.1:8181\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        f"        kubeconfig {INSIDE / 'coredns.kubeconfig'}\n"
        "        pods insecure\n"
        "    }\n"
        "    cache 30\n" + forward + "}\n"
    )


def _containerd(cni_plugins: str) -> str:
    return f"""version = 2
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
"""
