"""A person of the cluster tests: the account `devctl` of a namespace, with the roles that the platform gives people."""

from __future__ import annotations

from pathlib import Path

from devservers_core.errors import ApiError
from infra.platform import rbac
from tests.support.cluster.client import Client
from tests.support.cluster.devctl import API, Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.wait import eventually

ACCOUNT = "devctl"
_RBAC = "rbac.authorization.k8s.io"


def give_role(cluster: ApiServer, namespace: str) -> None:
    """Bind the role of people in their own namespace, and that of everybody who is logged in."""
    for role, kind, place, subject in (
        (
            rbac.user_role(),
            "RoleBinding",
            {"namespace": namespace},
            {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace},
        ),
        (
            rbac.flavor_reader_role(),
            "ClusterRoleBinding",
            {},
            {"apiGroup": _RBAC, "kind": "Group", "name": "system:authenticated"},
        ),
    ):
        name = role["metadata"]["name"]
        cluster.admin.apply(role)
        cluster.admin.apply(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": kind,
                "metadata": {"name": name, **place},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [subject],
            }
        )


def person_of(cluster: ApiServer, namespace: str) -> Client:
    """A client with a person's rights, which are in force."""
    give_role(cluster, namespace)
    client = cluster.client_for(*cluster.service_account(namespace, ACCOUNT))

    def in_force() -> bool:
        try:
            client.list(API, "DevServer", namespace)
        except ApiError:
            return False
        return True

    eventually(in_force, "the role")
    return client


def devctl_of(cluster: ApiServer, namespace: str, home: Path) -> Devctl:
    """A person's devctl, whose rights are in force."""
    person_of(cluster, namespace)
    name, groups = cluster.service_account(namespace, ACCOUNT)
    kubeconfig = cluster.kubeconfig_for(name, (*groups, "system:authenticated"))
    return Devctl(home, kubeconfig, namespace.removeprefix("dev-"))
