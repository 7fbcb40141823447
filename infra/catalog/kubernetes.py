"""Kubernetes versions on EKS, with their add-ons, charts and images.

Invariant: every add-on, chart and image of a cluster has a pinned version, so two clusters of a stack are alike.

Where they are from, and how sure they are. No AWS account was at hand; add-on versions are what others' clusters of
that minor version resolved to or what their update scripts wrote, in public repositories up to November 2026.
`unchecked` names the add-ons seen only with a neighbouring minor version. AWS withdraws builds: before first use, and
when one is refused, run for each add-on

    aws eks describe-addon-versions --kubernetes-version 1.36 --addon-name vpc-cni \
        --query 'addons[0].addonVersions[].addonVersion'

and put the newest that its own release notes don't warn of here. What it brings into the cluster must then be looked
at anew (`make reviewed`, docs/guides/aws.md), or a test fails. Ends of support are AWS's (endoflife.date/amazon-eks for
1.34 and 1.35; 1.36's is fourteen months after its release, as EKS's rule has it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Kubernetes:
    """A minor version on EKS: the end of its support, and what goes with it."""

    standard_until: date
    """Its first day without standard support; extended support lasts a year more (EKS User Guide)."""
    autoscaler: str
    """Tag of the cluster autoscaler's image, of the same minor version as the cluster."""
    addons: dict[str, str] = field(hash=False)
    """Version by the add-on's name."""
    unchecked: frozenset[str] = frozenset()
    """Add-ons whose version was not seen with this very minor version."""

    @property
    def extended_until(self) -> date:
        """The first day without any support: AWS upgrades the cluster then."""
        return self.standard_until.replace(year=self.standard_until.year + 1)


_SHARED = {
    "aws-efs-csi-driver": "v3.4.1-eksbuild.1",
    "snapshot-controller": "v8.6.0-eksbuild.4",
    "eks-node-monitoring-agent": "v1.7.0-eksbuild.1",
    "amazon-cloudwatch-observability": "v6.2.0-eksbuild.1",
    "metrics-server": "v0.8.1-eksbuild.10",
}
"""Of 1.35; their builds are the same for several minor versions."""

VERSIONS: dict[str, Kubernetes] = {
    "1.34": Kubernetes(
        date(2026, 12, 2),
        "v1.34.5",
        {
            "vpc-cni": "v1.21.1-eksbuild.7",
            "kube-proxy": "v1.34.6-eksbuild.2",
            "coredns": "v1.13.2-eksbuild.4",
            "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
            "aws-ebs-csi-driver": "v1.57.1-eksbuild.1",
            **_SHARED,
        },
        frozenset({"eks-pod-identity-agent", *_SHARED}),
    ),
    "1.35": Kubernetes(
        date(2027, 3, 27),
        "v1.35.2",
        {
            "vpc-cni": "v1.23.0-eksbuild.1",
            "kube-proxy": "v1.35.3-eksbuild.18",
            "coredns": "v1.14.3-eksbuild.3",
            "eks-pod-identity-agent": "v1.4.0-eksbuild.1",
            "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
            **_SHARED,
        },
        frozenset({"amazon-cloudwatch-observability"}),
    ),
    "1.36": Kubernetes(
        date(2027, 8, 2),
        "v1.36.1",
        {
            "vpc-cni": "v1.22.4-eksbuild.3",
            "kube-proxy": "v1.36.0-eksbuild.21",
            "coredns": "v1.14.3-eksbuild.16",
            "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
            "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
            **_SHARED,
        },
        frozenset(_SHARED),
    ),
}
"""By minor version."""
DEFAULT_VERSION = "1.36"


@dataclass(frozen=True)
class Chart:
    """A Helm chart and where it is from."""

    repository: str
    name: str
    version: str


CHARTS: dict[str, Chart] = {
    "aws-load-balancer-controller": Chart("https://aws.github.io/eks-charts", "aws-load-balancer-controller", "3.5.0"),
    "nvidia-device-plugin": Chart("https://nvidia.github.io/k8s-device-plugin", "nvidia-device-plugin", "0.20.0"),
    # Its Chart.yaml says v0.5.30, with the letter, and image v0.5.20 (aws/eks-charts, August 2026).
    "efa-device-plugin": Chart("https://aws.github.io/eks-charts", "aws-efa-k8s-device-plugin", "v0.5.30"),
    # Newer charts come with an older autoscaler than the cluster's: the image's tag is `Kubernetes.autoscaler`.
    "cluster-autoscaler": Chart("https://kubernetes.github.io/autoscaler", "cluster-autoscaler", "9.59.0"),
}
"""By what they are for; versions as released by November 2026, seen in the projects' repositories or in use."""

_EKS = "602401143452"
_EKS_ELSEWHERE = {
    "af-south-1": "877085696533",
    "ap-east-1": "800184023465",
    "ap-east-2": "533267051163",
    "ap-south-2": "900889452093",
    "ap-southeast-3": "296578399912",
    "ap-southeast-4": "491585149902",
    "ap-southeast-5": "151610086707",
    "ap-southeast-6": "333609536671",
    "ap-southeast-7": "121268973566",
    "ca-west-1": "761377655185",
    "eu-central-2": "900612956339",
    "eu-south-1": "590381155156",
    "eu-south-2": "455263428931",
    "il-central-1": "066635153087",
    "me-central-1": "759879836304",
    "me-south-1": "558608220178",
    "mx-central-1": "730335286997",
}
"""Regions that an account opts in to have accounts of their own (EKS User Guide, container image registries)."""


def registry_of_eks(region: str) -> str:
    """The host name of EKS's image registry in a region.

    A node may ask for a token of its own region only.
    """
    return f"{_EKS_ELSEWHERE.get(region, _EKS)}.dkr.ecr.{region}.amazonaws.com"
