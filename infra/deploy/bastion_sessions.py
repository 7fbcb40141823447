"""Ends the SSH sessions on a bastion before its platform goes; its pods would otherwise drain for an hour."""

from __future__ import annotations

from devservers_core.names import BASTION, BASTION_NAMESPACE, LABEL_APP
from infra.deploy.kubectl import Kubectl

_WHERE = ("--namespace", BASTION_NAMESPACE, "--selector", f"{LABEL_APP}={BASTION}")


def end_sessions(kubectl: Kubectl) -> None:
    """End what is open on the bastion within twenty seconds; done again without harm. Raises KubectlError."""
    # In this order: a pod that is going already, by its Deployment's word, keeps the hour that it was given.
    kubectl.run("delete", "pods", *_WHERE, "--grace-period=20", "--wait=false", "--ignore-not-found")
    # Whoever was cut off would log in at once to those that take their place, and these would wait for them.
    for each in kubectl.get("deployments.apps", *_WHERE):
        kubectl.run("scale", f"deployment/{each['metadata']['name']}", "--namespace", BASTION_NAMESPACE, "--replicas=0")
