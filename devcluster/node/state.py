"""Writes a cluster's state folder: certificates, kubeconfigs and configuration files."""

from __future__ import annotations

from pathlib import Path

from devcluster.node.components import API_SERVICE, NODE, Site
from devcluster.node.config_files import files
from devcluster.node.pki import Authority, service_account_key, write_kubeconfig

CONTEXT = "devservers"
CNI_PLUGINS = "/usr/lib/cni"


def write_state(folder: Path, kubeconfig: Path, site: Site) -> None:
    """Write what a cluster's processes read into its state ``folder``, and the administrator's ``kubeconfig``.

    Certificates that exist are kept; configuration files are written anew.
    """
    pki = folder / "pki"
    ca = Authority(pki)
    front = Authority(pki, "front-proxy-ca")
    server = f"https://{site.address}:6443"
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    ca.issue("apiserver", "kube-apiserver", hosts=(*names, site.address, API_SERVICE, "127.0.0.1"))
    ca.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", ("system:masters",))
    ca.issue("kubelet-server", f"system:node:{NODE}", hosts=(NODE, site.address))
    etcd = Authority(pki, "etcd-ca")
    etcd.issue("etcd", "etcd", hosts=("localhost", "127.0.0.1"))
    etcd.issue("apiserver-etcd-client", "kube-apiserver")
    front.issue("front-proxy-client", "front-proxy-client")
    service_account_key(pki / "sa.key")
    for file, user, groups in (
        ("controller-manager", "system:kube-controller-manager", ()),
        ("scheduler", "system:kube-scheduler", ()),
        ("kubelet", f"system:node:{NODE}", ("system:nodes",)),
        ("proxy", "system:kube-proxy", ()),
        ("router", "devservers:kube-router", ()),
        ("coredns", "devservers:coredns", ()),
    ):
        pair = ca.issue(file, user, groups)
        write_kubeconfig(folder / f"{file}.kubeconfig", server, ca.certificate, pair, CONTEXT)
    admin = ca.issue("admin", "devservers:admin", ("system:masters",))
    write_kubeconfig(kubeconfig, server, ca.certificate, admin, CONTEXT)
    for name, text in files(site, CNI_PLUGINS).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
