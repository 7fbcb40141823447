"""Fetches a Go module and renders its Helm chart to webhooks and DaemonSets.

The Helm library is the one in Pulumi's Kubernetes provider, which installs our charts: its `kubernetes:helm:template`,
which needs no cluster.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from devcluster.gotool import go
from devservers_core.types import Json
from infra.reviewed.entry import DaemonSet, Webhook
from infra.reviewed.matching import required_node_terms

NAMESPACE = "kube-system"
_KINDS = {"MutatingWebhookConfiguration": "mutating", "ValidatingWebhookConfiguration": "validating"}
_NO_SERVER = "127.0.0.1:1"
"""Where the provider would report to its engine: nobody listens, and nothing it says there is needed."""


def fetch(module: str, version: str, scratch: Path, env: Mapping[str, str]) -> tuple[Path, str]:
    """The folder and the checksum of a module.

    Raises :class:`~devcluster.gotool.ToolchainError`.
    """
    flags = f"{env.get('GOFLAGS', '')} -modcacherw"  # or nobody could delete it again
    kept = dict(env) | {"GOMODCACHE": str(scratch / "modules"), "GOFLAGS": flags}
    found = json.loads(go(["mod", "download", "-json", f"{module}@{version}"], scratch, kept))
    return Path(found["Dir"]), str(found["Sum"])


def manifests(folder: Path, provider: Path, values: Mapping[str, Any]) -> list[Json]:
    """What a folder's chart renders to, or its plain manifests where it has no chart."""
    if (folder / "Chart.yaml").exists():
        return _rendered(folder, provider, values)
    texts = (path.read_text() for path in sorted(folder.glob("*.yaml")))
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def _rendered(chart: Path, provider: Path, values: Mapping[str, Any]) -> list[Json]:
    options = {
        "path": str(chart),
        "release_name": chart.name,
        "namespace": NAMESPACE,
        "values": dict(values),
        "skip_crd_rendering": True,
    }
    arguments = struct_pb2.Struct()
    arguments.update({"jsonOpts": json.dumps(options)})
    with _running(provider) as stub:
        stub.Configure(provider_pb2.ConfigureRequest(variables={"kubernetes:config:renderYamlToDirectory": "."}))
        answer = stub.Invoke(provider_pb2.InvokeRequest(tok="kubernetes:helm:template", args=arguments))
    # The answer's keys come in another order each time.
    found: list[Json] = json.loads(json.dumps(json_format.MessageToDict(answer)["return"]["result"], sort_keys=True))
    return found


@contextmanager
def _running(provider: Path) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """The provider's process, which says its port first."""
    with subprocess.Popen([provider, _NO_SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout
        with grpc.insecure_channel(f"127.0.0.1:{run.stdout.readline().strip()}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
        run.terminate()


def webhooks(found: Iterable[Json]) -> list[Webhook]:
    """The webhooks among manifests."""
    made = [
        Webhook.model_validate(
            {
                "name": hook["name"],
                "kind": _KINDS[each["kind"]],
                "rules": [rule for given in hook["rules"] for rule in _rules(given)],
                "failure": hook.get("failurePolicy", "Fail"),
                "namespaces": hook.get("namespaceSelector") or {},
                "objects": hook.get("objectSelector") or {},
            }
        )
        for each in found
        if each["kind"] in _KINDS
        for hook in each["webhooks"]
    ]
    return sorted(made, key=lambda hook: hook.name)


def _rules(rule: Mapping[str, Any]) -> Iterator[str]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            yield f"{','.join(rule['operations'])} {f'{group}/' if group else ''}{resource}"


def daemonsets(found: Iterable[Json]) -> list[DaemonSet]:
    """The DaemonSets among manifests."""
    made = []
    for each in found:
        if each["kind"] == "DaemonSet":
            pod = each["spec"]["template"]["spec"]
            made.append(
                DaemonSet(
                    name=each["metadata"]["name"],
                    tolerations=pod.get("tolerations") or [],
                    node_selector=pod.get("nodeSelector") or {},
                    affinity=required_node_terms(pod.get("affinity") or {}),
                )
            )
    return sorted(made, key=lambda daemonset: daemonset.name)
