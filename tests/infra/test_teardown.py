"""Taking an environment down: order, ending of servers, leftovers and protection."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from devcluster.progress import Progress
from infra import ROOT
from infra.aws.cluster.pool_layout import groups_of, system_of
from infra.deploy.__main__ import app
from infra.deploy.aws import docker_login, enis, leftovers, offerings, policy_pack, state
from infra.deploy.aws.end_servers_plan import KINDS, RETAIN, WORKLOADS, ClusterObjects, UserClaim, first_steps, sweep
from infra.deploy.aws.enis import NetworkInterface
from infra.deploy.aws.environment import Environment, RefusedError, refuse_protected
from infra.deploy.aws.state import StateResource, resources
from infra.deploy.aws.tools import PLUGINS, PrerequisiteError
from infra.deploy.stack_runner import PulumiError
from infra.preview.graph import Graph, Node
from infra.preview.simulation import settings_of
from infra.preview.stackfile import StackFile, names, read
from infra.settings.problems import SettingsError
from tests.support.infra.simulated import simulated

ON_AWS = [stack for stack in names() if stack != "local"]


@pytest.fixture(scope="module", params=ON_AWS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return simulated(request.param).graph


def urns(graph: Graph, *kinds: str) -> set[str]:
    """URNs of resources by whole type, by kind, or by the name of a component."""
    return {urn for urn, node in graph.items() if node.type in kinds or node.kind in kinds}


def inside(graph: Graph, component: str) -> list[Node]:
    """Plain resources below a component, however deep."""
    tops = {urn for urn, node in graph.items() if node.type == f"devservers:{component}"}
    assert tops, f"no component {component}"
    grown = True
    while grown:
        more = {urn for urn, node in graph.items() if node.parent in tops} - tops
        grown = bool(more)
        tops |= more
    return [graph[urn] for urn in tops if not graph[urn].type.startswith("devservers:")]


NETWORK = ("aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/natGateway:NatGateway", "aws:ec2/route:Route")
SYSTEM = "system"
"""The node group that the platform and its controllers run on."""
GONE_BEFORE = [
    # On destroy everything in the first goes before anything of the second.
    ("platform:Operator", ("aws:eks/nodeGroup:NodeGroup", "eks:index:Cluster", *NETWORK)),
    ("platform:Flavors", ("aws:eks/nodeGroup:NodeGroup", "eks:index:Cluster", *NETWORK)),
    ("aws:Controllers", (SYSTEM, "eks:index:Cluster", *NETWORK)),
    ("aws:Addons", (SYSTEM, "eks:index:Cluster", *NETWORK)),
    ("aws:Nodes", ("eks:index:Cluster", *NETWORK)),
]
HOLDING = ("NodeGroup", "Addon", "Release", "Deployment", "DevServerFlavor", "CustomResourceDefinition")
"""What runs, or whose controller does: an IAM role holds nothing fast."""


@pytest.mark.parametrize(("component", "later"), GONE_BEFORE, ids=[name for name, _ in GONE_BEFORE])
def test_destroy_removes_workloads_before_nodes_and_network(
    graph: Graph, component: str, later: tuple[str, ...]
) -> None:
    """Pulumi deletes backwards along dependencies: before, in the graph, is after, on destroy."""
    wanted = urns(graph, *later)
    if SYSTEM in later:
        wanted |= {urn for urn in urns(graph, "NodeGroup") if graph[urn].name == SYSTEM}
    holding = [node for node in inside(graph, component) if node.kind in HOLDING]
    assert wanted
    assert holding
    for node in holding:
        missing = wanted - graph.before(node)
        assert not missing, (node.name, sorted(missing)[:3])


def test_destroy_removes_nodes_before_the_cni(graph: Graph) -> None:
    """The CNI takes its interfaces off a node that goes; without it they hold security groups and subnets fast."""
    cni = {urn for urn in urns(graph, "aws:eks/addon:Addon") if graph[urn].name == "vpc-cni"}
    assert cni
    for node in graph.of("NodeGroup"):
        assert cni <= graph.before(node), node.name


def test_destroy_removes_users_before_the_operator(graph: Graph) -> None:
    deployments = {urn for urn in urns(graph, "kubernetes:apps/v1:Deployment") if "Bastion$" not in urn}
    users = [each for urn, each in graph.items() if each.type == "devservers:platform:Users"]
    assert deployments
    assert users
    for node in [*users, *graph.of("DevServerUser")]:
        assert deployments <= graph.before(node)


def test_destroy_removes_load_balancers_before_the_network(graph: Graph) -> None:
    held_fast = urns(graph, "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/internetGateway:InternetGateway")
    for node in [each for each in graph.of("LoadBalancer") if each.type.startswith("aws:")]:
        assert held_fast <= graph.before(node)
    assert graph.of("TargetGroupBinding")
    for node in graph.of("TargetGroupBinding"):
        releases = {urn for urn in urns(graph, "Release") if "load-balancer" in graph[urn].name}
        assert releases
        assert releases <= graph.before(node)
        assert urns(graph, "aws:lb/targetGroup:TargetGroup") <= graph.before(node)


def meta(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    labels = more.pop("labels", {})
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "metadata": metadata, **more}


USER = meta("Namespace", "dev-ann", labels={"devservers.io/user": "ann"})
CLAIM = meta(
    "PersistentVolumeClaim",
    "box-home",
    "dev-ann",
    spec={"volumeName": "pv-1", "resources": {"requests": {"storage": "10Gi"}}},
)
VOLUME = meta("PersistentVolume", "pv-1", spec={"csi": {"volumeHandle": "vol-1"}})
OBJECTS = ClusterObjects(
    [USER, meta("Namespace", "kube-system")],
    [CLAIM, meta("PersistentVolumeClaim", "cache", "kube-system", spec={"volumeName": "pv-2"})],
    [VOLUME, meta("PersistentVolume", "pv-2", spec={"csi": {"volumeHandle": "vol-2"}})],
    [
        meta("Service", "web", "default", spec={"type": "LoadBalancer"}),
        meta("Service", "box", "dev-ann", spec={"type": "ClusterIP"}),
    ],
    KINDS,
)
HOME = UserClaim("dev-ann", "box-home", "pv-1", "vol-1", "10Gi")


class TestEndServersPlan:
    """The plan."""

    def test_first_steps_retain_homes_then_delete_servers_and_load_balancers(self) -> None:
        found = [command.arguments for command in first_steps(OBJECTS)]
        assert found[0] == ("patch", "persistentvolume", "pv-1", "--type", "merge", "--patch", RETAIN)
        assert found[1][:4] == ("delete", KINDS[0], "--all", "--all-namespaces")
        assert found[2][:3] == ("delete", "service", "web")
        assert len(found) == 3

    def test_sweep_deletes_workloads_of_user_namespaces(self) -> None:
        running = {kind: [meta("X", "x", namespace) for namespace in ("dev-ann", "kube-system")] for kind in WORKLOADS}
        found = [command.arguments for command in sweep(OBJECTS, running)]
        assert [words[1] for words in found] == list(WORKLOADS)
        assert all(words[2:6] == ("--all", "--namespace", "dev-ann", "--cascade=foreground") for words in found)
        assert sweep(OBJECTS, {"pods": [meta("Pod", "x", "kube-system")]}) == []

    def test_plan_deletes_own_kinds_only_and_no_claim(self) -> None:
        for command in [*first_steps(OBJECTS), *sweep(OBJECTS, {"pods": [meta("Pod", "x", "dev-ann")]})]:
            words = command.arguments
            assert "persistentvolumeclaims" not in words
            assert "namespace" not in words[1:2]
            if "--all-namespaces" in words:
                assert words[1] in KINDS
            elif "--all" in words:
                assert words[words.index("--namespace") + 1] == "dev-ann"
            assert "pv-2" not in words

    def test_first_steps_are_repeatable_and_have_a_timeout(self) -> None:
        for command in first_steps(OBJECTS, seconds=5):
            if command.arguments[0] == "delete":
                assert "--ignore-not-found" in command.arguments
                assert "--timeout=5s" in command.arguments

    def test_user_claims_name_their_disks(self) -> None:
        assert OBJECTS.user_claims() == [HOME]
        assert str(HOME) == "dev-ann/box-home (10Gi, vol-1)"

    def test_claim_of_a_volume_that_is_gone_names_no_disk(self) -> None:
        """Kubectl would end the whole plan at the first volume that it doesn't find."""
        objects = replace(OBJECTS, volumes=())
        assert [claim.volume for claim in objects.user_claims()] == [""]
        assert not any("persistentvolume" in command.arguments for command in first_steps(objects))

    def test_first_steps_of_an_empty_cluster_are_none(self) -> None:
        assert first_steps(ClusterObjects()) == []


def resource(kind: str, name: str, id_: str = "", **more: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:dev::devservers::{kind}::{name}", "type": kind, "custom": True, "id": id_, **more}


EXPORT = {
    "deployment": {
        "resources": [
            {"urn": "urn:pulumi:dev::devservers::devservers:aws:Network::network", "type": "x", "custom": False},
            resource("aws:eks/cluster:Cluster", "cluster", "devservers-dev", outputs={"name": "devservers-dev"}),
            resource("aws:kms/key:Key", "data", "key-1", inputs={"deletionWindowInDays": 7}),
            resource("aws:efs/fileSystem:FileSystem", "shared", "fs-1", retainOnDelete=True),
            resource("aws:ecr/repository:Repository", "base", "devservers/base", protect=True),
            resource("aws:ecr/repository:Repository", "old", "devservers/old", delete=True),
        ]
    }
}


class TestLeftovers:
    """What destroy leaves."""

    def test_state_of_an_export_lists_live_resources(self) -> None:
        found = resources(EXPORT)
        assert [each.name for each in found] == ["cluster", "data", "shared", "base"]
        assert state.cluster_name(found) == "devservers-dev"
        assert state.cluster_name([]) == ""
        assert resources({"deployment": None}) == []

    def test_leftovers_name_each_resource_with_a_command(self) -> None:
        before = resources(EXPORT)
        after = [each for each in before if each.name == "base"]
        left = leftovers.leftovers(before, after, [HOME], "eu-central-1")
        shown = {each.what: " ".join(each.command) for each in left}
        assert shown["disk vol-1"] == "aws ec2 delete-volume --volume-id vol-1 --region eu-central-1"
        assert "efs delete-file-system --file-system-id fs-1" in shown["file system fs-1"]
        assert "--repository-name devservers/base --force" in shown["repository devservers/base"]
        assert "kms cancel-key-deletion --key-id key-1" in shown["key data (key-1)"]
        (key,) = [each for each in left if each.what.startswith("key")]
        assert "7 days" in key.why
        assert len(str(key).splitlines()) == 2

    def test_leftovers_include_the_control_planes_log_group(self) -> None:
        """EKS writes it when it is gone; the next `up` would stop at a group that exists."""
        names = ("/aws/eks/devservers-dev/cluster", "/aws/containerinsights/devservers-dev/application")
        before = [StateResource("aws:cloudwatch/logGroup:LogGroup", "a", name, {}, {}) for name in names]
        (left,) = leftovers.leftovers(before, [], [], "eu-central-1")
        assert left.command == (
            "aws", "logs", "delete-log-group", "--log-group-name", names[0], "--region", "eu-central-1"
        )  # fmt: skip
        assert leftovers.leftovers(before, before, [], "eu-central-1") == []

    def test_leftovers_omit_a_deleted_repository(self) -> None:
        before = resources(EXPORT)
        left = leftovers.leftovers(before, [], [], "eu-central-1")
        assert not [each for each in left if each.what.startswith("repository")]

    def test_protected_resources_refuse_the_teardown(self) -> None:
        with pytest.raises(RefusedError) as caught:
            refuse_protected("prod", resources(EXPORT), "eu-central-1")
        text = str(caught.value)
        assert "protects 1 resources: Repository base" in text
        assert "pulumi state unprotect 'urn:pulumi:dev::devservers::aws:ecr/repository:Repository::base'" in text
        assert "aws " not in text, "nothing here has AWS's own protection"

    def test_protected_by_aws_names_the_unprotect_command(self) -> None:
        balancer = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/devservers-prod-edge/1"
        guarded = [
            resource(
                "aws:eks/cluster:Cluster", "c", "devservers-prod", inputs={"deletionProtection": True}, protect=True
            ),
            resource("aws:lb/loadBalancer:LoadBalancer", "e", balancer, inputs={"enableDeletionProtection": True}),
        ]
        with pytest.raises(RefusedError) as caught:
            refuse_protected("prod", resources({"deployment": {"resources": guarded}}), "eu-central-1")
        commands = [line.strip() for line in str(caught.value).splitlines() if line.strip().startswith("aws ")]
        assert commands == [
            "aws eks update-cluster-config --name devservers-prod --no-deletion-protection --region eu-central-1",
            f"aws elbv2 modify-load-balancer-attributes --load-balancer-arn {balancer} "
            "--attributes Key=deletion_protection.enabled,Value=false --region eu-central-1",
        ]


class TestInterfaces:
    """Only this cluster's, only unused ones."""

    def test_interface_listing_asks_for_this_clusters_unused_ones(self) -> None:
        command = enis.list_command("aws", "devservers-dev", "eu-central-1")
        assert "Name=tag:cluster.k8s.amazonaws.com/name,Values=devservers-dev" in command
        assert "Name=status,Values=available" in command
        with pytest.raises(ValueError, match="every cluster's"):
            enis.list_command("aws", "", "eu-central-1")

    def test_interface_in_use_is_never_deleted(self) -> None:
        text = json.dumps(
            [
                {"id": "eni-2", "description": "aws-K8S-i-1", "status": "available"},
                {"id": "eni-1", "description": None, "status": "available"},
                {"id": "eni-3", "description": "", "status": "in-use"},
            ]
        )
        assert enis.parse(text) == [NetworkInterface("eni-1", ""), NetworkInterface("eni-2", "aws-K8S-i-1")]
        assert enis.parse("") == enis.parse("null") == []


SCRIPT = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
with (folder / "log").open("a") as log:
    log.write(json.dumps(words) + "\\n")
if words[:2] == ["pulumi", "preview"]:
    # An engine as old as this one's version writes events to a file, and automation wants the summary.
    summary = {{"maybeCorrupt": False, "durationSeconds": 0, "resourceChanges": {{}}, "PolicyPacks": {{}}}}
    pathlib.Path(words[words.index("--event-log") + 1]).write_text(json.dumps({{"summaryEvent": summary}}) + "\\n")
count = sum(json.loads(line)[:2] == words[:2] for line in (folder / "log").read_text().splitlines())
for answer in json.loads((folder / "answers").read_text()):
    if words[: len(answer["words"])] == answer["words"] and answer.get("times", count) >= count:
        print(answer.get("out", ""))
        sys.exit(answer.get("rc", 0))
"""


HISTORY = json.dumps(
    [
        {
            "kind": "update",
            "startTime": "2026-01-01T00:00:00.000Z",
            "message": "",
            "environment": {},
            "config": {},
            "result": "succeeded",
        }
    ]
)
"""What Pulumi says of the last update, which automation asks for after each."""


def offers(*zones: str) -> str:
    """What the AWS CLI says of where stack dev's instance types are to be had."""
    aws = settings_of(read("dev")).aws
    assert aws is not None
    kinds = {group.instance_type for group in (system_of(aws), *groups_of(aws))}
    return json.dumps([{"type": kind, "zone": zone} for kind in sorted(kinds) for zone in zones])


class Programs:
    """Stand-ins for pulumi, aws and kubectl, which write down how they are called; no AWS is to be had here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("pulumi", "aws", "kubectl"):
            path = folder / "bin" / name
            path.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
            path.chmod(0o755)
        self.answers: list[dict[str, Any]] = [
            {"words": ["pulumi", "stack", "ls"], "out": '[{"name": "dev", "current": false}]'},
            {"words": ["pulumi", "stack", "output"], "out": '{"kubeconfig": {"kind": "Config"}}'},
            {"words": ["pulumi", "stack", "history"], "out": HISTORY},
            {"words": ["pulumi", "version"], "out": "v3.200.0"},
            {"words": ["kubectl"], "out": '{"items": []}'},
            {"words": ["aws", "ec2", "describe-instance-type-offerings"], "out": offers("us-east-1a", "us-east-1b")},
        ]

    def environment(self) -> Environment:
        home = self.folder / "home"
        for name, package in PLUGINS.items():
            plugin = home / "plugins" / f"resource-{name}-v{version(package)}"
            plugin.mkdir(parents=True, exist_ok=True)
            (plugin / f"pulumi-resource-{name}").touch()
        (self.folder / "answers").write_text(json.dumps(self.answers))
        env = {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder),
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": "s3://state",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        return Environment(read("dev"), env, Progress())

    def calls(self) -> list[list[str]]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def of(self, *words: str) -> list[int]:
        """Where in the log a command begins with these words."""
        found = [place for place, call in enumerate(self.calls()) if all(word in call for word in words)]
        assert found, (words, self.calls())
        return found


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs(tmp_path)
    monkeypatch.setenv("DEVSERVERS_TOOLS_DIR", str(tmp_path / "bin"))
    return made


def exported(*kept: str) -> str:
    whole = EXPORT["deployment"]["resources"]
    some = [each for each in whole if not each.get("protect") and (not kept or each["urn"].endswith(kept))]
    return json.dumps({"deployment": {"resources": some}})


def yes_to(asked: list[str]) -> Callable[[str], bool]:
    """Says yes, and keeps what was asked."""

    def answer(question: str) -> bool:
        asked.append(question)
        return True

    return answer


class TestDown:
    """`make down STACK=dev`, with programs that only write down how they are called."""

    def test_down_ends_servers_then_destroys_then_lists_leftovers(self, programs: Programs) -> None:
        programs.answers.insert(0, {"words": ["pulumi", "stack", "export"], "out": exported()})
        asked: list[str] = []
        left = programs.environment().down(yes_to(asked))
        (question,) = asked
        assert "stack dev" in question
        assert "homes stay" in question
        (destroyed,) = programs.of("pulumi", "destroy")
        assert max(programs.of("kubectl")) < destroyed
        command = programs.calls()[destroyed]
        assert command[:4] == ["pulumi", "destroy", "--skip-preview", "--yes"]
        assert command[command.index("--stack") + 1] == "dev"
        assert any(each.what == "file system fs-1" for each in left)

    def test_down_without_confirmation_does_nothing(self, programs: Programs) -> None:
        programs.answers.insert(0, {"words": ["pulumi", "stack", "export"], "out": exported()})
        with pytest.raises(RefusedError, match="nothing was taken down"):
            programs.environment().down(lambda question: False)
        assert {call[0] for call in programs.calls()} == {"pulumi"}
        assert all(call[1] == "stack" for call in programs.calls())

    def test_down_deletes_leftover_interfaces_and_retries_destroy(self, programs: Programs) -> None:
        listed = json.dumps([{"id": "eni-1", "description": "", "status": "available"}])
        programs.answers[:0] = [
            {"words": ["pulumi", "stack", "export"], "out": exported()},
            {"words": ["pulumi", "destroy"], "rc": 255, "times": 1},
            {"words": ["aws", "ec2", "describe-network-interfaces"], "out": listed},
        ]
        asked: list[str] = []
        programs.environment().down(yes_to(asked))
        assert len(asked) == 2
        assert "eni-1" in asked[1]
        first, second = programs.of("pulumi", "destroy")
        (deleted,) = programs.of("aws", "delete-network-interface", "eni-1")
        assert first < deleted < second

    def test_down_of_a_protected_stack_changes_nothing(self, programs: Programs) -> None:
        programs.answers.insert(0, {"words": ["pulumi", "stack", "export"], "out": json.dumps(EXPORT)})
        with pytest.raises(RefusedError, match="state unprotect"):
            programs.environment().down(lambda question: True)
        assert not [call for call in programs.calls() if call[0] == "kubectl" or "destroy" in call]

    def test_down_of_an_unknown_stack_names_the_init_command(self, programs: Programs) -> None:
        programs.answers[0]["out"] = "[]"
        with pytest.raises(PulumiError, match="pulumi stack init dev --secrets-provider"):
            programs.environment().down(lambda question: True)

    def test_up_without_terminal_and_yes_is_refused(self, programs: Programs) -> None:
        with pytest.raises(RefusedError, match="YES=1"):
            programs.environment().up(yes=False)
        assert programs.calls() == []

    def test_preview_and_up_run_the_engine_with_the_policy_pack(
        self, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (programs.folder / "stamp").touch()
        monkeypatch.setattr(policy_pack, "_STAMP", programs.folder / "stamp")  # as if its environment were made
        docker = programs.folder / ".docker"
        docker.mkdir()
        (docker / "config.json").write_text(json.dumps({"auths": {REGISTRY: {}}}))
        programs.environment().preview()
        programs.environment().up(yes=True)
        preview, up = programs.calls()[programs.of("preview")[0]], programs.calls()[programs.of("up")[0]]
        for call in (preview, up):
            assert call[call.index("--policy-pack") + 1] == str(policy_pack.PACK)
            assert call[call.index("--stack") + 1] == "dev"
        assert "--yes" in up
        assert "--yes" not in preview

    @pytest.mark.parametrize("command", ["preview", "up"])
    def test_up_with_an_unavailable_type_stops_before_the_engine(
        self, programs: Programs, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        monkeypatch.setattr(docker_login, "require", lambda *_: None)
        programs.answers[-1]["out"] = offers("us-east-1a")
        environment = programs.environment()
        with pytest.raises(SettingsError) as caught:
            environment.preview() if command == "preview" else environment.up(yes=True)
        first, remedy, *_ = str(caught.value).splitlines()
        assert first == "devservers:system.size = large: AWS does not offer m7i.large in us-east-1b"
        assert remedy.strip() == 'set network.zones to ["us-east-1a"], or take another size'
        assert not [call for call in programs.calls() if call[:2] in (["pulumi", "preview"], ["pulumi", "up"])]

    def test_preview_without_an_answer_of_aws_warns_and_continues(
        self, programs: Programs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (programs.folder / "stamp").touch()
        monkeypatch.setattr(policy_pack, "_STAMP", programs.folder / "stamp")
        programs.answers[-1] |= {"out": "", "rc": 254}
        programs.environment().preview()
        assert programs.of("pulumi", "preview")
        assert "not checked whether AWS offers the instance types in their zones" in capfd.readouterr().err

    def test_preview_by_the_engine_ends_with_the_cost_comparison(
        self, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (programs.folder / "stamp").touch()
        monkeypatch.setattr(policy_pack, "_STAMP", programs.folder / "stamp")
        cost = simulated("dev").cost
        assert cost
        programs.answers[1]["out"] = json.dumps({"cost": replace(cost, budget=1.0).record()})
        done = CliRunner().invoke(app, ["preview", "--stack", "dev"], env=dict(programs.environment().env))
        assert done.exit_code == 0, done.output
        assert programs.of("pulumi", "preview") < programs.of("pulumi", "output")
        said = done.output.partition("Compared with the last deployed state of dev\n")[2].splitlines()
        assert [line.split()[0] for line in said[1:]] == ["all", "all", "budget"]


class TestOfferings:
    """Which types AWS has in which zone is known to AWS alone."""

    def test_offerings_listing_asks_for_every_type(self) -> None:
        aws = settings_of(read("prod")).aws
        assert aws is not None
        command = offerings.list_command("aws", aws)
        (types,) = (word for word in command if word.startswith("Name=instance-type"))
        assert set(types.partition("Values=")[2].split(",")) == {
            "m7i.xlarge", "m7i.4xlarge", "g6e.2xlarge", "g6e.12xlarge", "p5.4xlarge", "p5.48xlarge"
        }  # fmt: skip
        assert command[command.index("--region") + 1] == "us-east-1"
        assert "availability-zone" in command

    def test_offerings_problems_name_each_pool(self) -> None:
        aws = settings_of(read("prod")).aws
        assert aws is not None
        whole = {
            (group.instance_type, f"us-east-1{letter}")
            for group in (system_of(aws), *groups_of(aws))
            for letter in "abc"
        }
        assert offerings.problems_of(aws, whole) == []
        less = whole - {("g6e.2xlarge", "us-east-1c"), ("p5.48xlarge", "us-east-1b"), ("p5.48xlarge", "us-east-1a")}
        gpu, block = offerings.problems_of(aws, less)
        assert gpu.key == "devservers:pools[1].size"
        assert gpu.reason == "AWS does not offer g6e.2xlarge in us-east-1c"
        assert gpu.remedy == 'set pools[1].zones to ["us-east-1a", "us-east-1b"], or take another size'
        # Its one zone has none of it: which zone does is no matter of the pool's size.
        assert (block.key, block.remedy) == ("devservers:pools[4].size", "take another size or family")

    @pytest.mark.parametrize(
        ("words", "answer", "code", "said"),
        [
            (["dev"], ("us-east-1a", "us-east-1b"), 0, ""),
            (["dev"], ("us-east-1a",), 1, "does not offer"),
            (["nowhere"], (), 1, "there is no stack 'nowhere'"),
            ([], (), 2, "no stack is named"),
        ],
    )
    def test_offerings_module_as_a_program_returns_its_exit_code(
        self, programs: Programs, words: list[str], answer: tuple[str, ...], code: int, said: str
    ) -> None:
        programs.answers[-1]["out"] = offers(*answer)
        programs.environment()
        command = [sys.executable, "-m", "infra.deploy.aws.offerings", *words]
        env = {"PATH": str(programs.folder / "bin"), "HOME": str(programs.folder)}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (code, True), done

    def test_offerings_without_the_aws_cli_warn_and_succeed(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "infra.deploy.aws.offerings", "dev"]
        env = {"PATH": "", "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "the AWS CLI is not on this machine" in done.stderr

    def test_offerings_of_empty_output_are_empty(self) -> None:
        assert offerings.parse("[]") == offerings.parse("null") == set()
        assert offerings.parse('[{"type": "m7i.large", "zone": "us-east-1a"}]') == {("m7i.large", "us-east-1a")}


REGISTRY = "111122223333.dkr.ecr.us-east-1.amazonaws.com"


class TestLogin:
    """`make up` of a stack that builds its images."""

    @pytest.mark.parametrize(
        ("content", "logged_in"),
        [
            (None, False),
            ("not JSON", False),
            ("[]", False),
            (json.dumps({"auths": {"registry.example.com": {}}, "credsStore": "desktop"}), False),
            (json.dumps({"auths": {REGISTRY: {}}}), True),
            (json.dumps({"credHelpers": {REGISTRY: "ecr-login"}}), True),
        ],
    )
    def test_login_check_needs_docker_logged_in(self, tmp_path: Path, content: str | None, logged_in: bool) -> None:
        if content is not None:
            (tmp_path / "config.json").write_text(content)
        env = {"DOCKER_CONFIG": str(tmp_path)}
        if logged_in:
            docker_login.require(read("dev"), env)
            return
        with pytest.raises(PrerequisiteError) as caught:
            docker_login.require(read("dev"), env)
        wrong, remedy = str(caught.value).splitlines()
        assert REGISTRY in wrong
        assert remedy.strip() == (
            "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin " + REGISTRY
        )

    def test_login_check_stops_before_pulumi(self, programs: Programs) -> None:
        with pytest.raises(PrerequisiteError, match="docker login"):
            programs.environment().up(yes=True)
        assert not [call for call in programs.calls() if call[1] == "up"]

    def test_login_check_with_given_images_is_skipped(self, tmp_path: Path) -> None:
        dev = read("dev")
        images = json.dumps(
            {name: f"registry.example.com/{name}:1" for name in ("operator", "agent", "base", "bastion")}
        )
        given = StackFile("dev", dev.config | {"registry": "{}", "images": images})
        docker_login.require(given, {"DOCKER_CONFIG": str(tmp_path)})


def test_leftovers_include_a_retained_resource() -> None:
    one = StateResource("aws:efs/fileSystem:FileSystem", "a", "fs-1", {}, {}, retain=True)
    assert [each.what for each in leftovers.leftovers([one], [], [], "r")] == ["file system fs-1"]
