"""`make preview`: choice of engine or simulation, and the simulation's report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from infra import ROOT
from infra.deploy.aws.tools import PLUGINS, PrerequisiteError, Tools, find_tools
from infra.deploy.preview_mode import PreviewMode, choose
from infra.policy.subject import Subject
from infra.preview import tree
from infra.preview.report import FOOTER, HEADER, Report
from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import SECRET, StackFile, StackFileError, names, read
from infra.preview.subjects import subjects
from infra.settings.problems import SettingsError
from tests.support.infra.simulated import simulated

WHOLE = Tools({name: Path("/usr/bin") / name for name in ("pulumi", "aws", "kubectl")}, (), "s3://state")
ON_AWS = [stack for stack in names() if stack != "local"]


@pytest.fixture(scope="module")
def prod() -> Simulation:
    return simulated("prod")


class TestTheWay:
    """Simulated only where the real engine can't run."""

    def test_choose_for_the_local_stack_takes_the_platform_engine(self) -> None:
        assert choose(True, Tools({}, (), "")).mode is PreviewMode.PLATFORM

    def test_choose_with_all_tools_takes_the_engine(self) -> None:
        assert choose(False, WHOLE).mode is PreviewMode.ENGINE

    @pytest.mark.parametrize(
        ("tools", "what", "remedy"),
        [
            (replace(WHOLE, programs={**WHOLE.programs, "aws": None}), "aws is not on this machine", "AWS CLI"),
            (replace(WHOLE, programs={**WHOLE.programs, "pulumi": None}), "pulumi is not", "install Pulumi"),
            (
                replace(WHOLE, missing_plugins=("eks v4.4.0",)),
                "plugin eks v4.4.0",
                "plugin install resource eks v4.4.0",
            ),
            (replace(WHOLE, backend=""), "no backend", "pulumi login"),
        ],
    )
    def test_choose_with_a_missing_tool_takes_the_simulation_with_a_reason(
        self, tools: Tools, what: str, remedy: str
    ) -> None:
        chosen = choose(False, tools)
        assert chosen.mode is PreviewMode.SIMULATION
        (reason,) = chosen.reasons
        problem, cure = reason.splitlines()
        assert what in problem
        assert remedy in cure
        with pytest.raises(PrerequisiteError, match=what):
            tools.require("pulumi", "aws", "kubectl")

    def test_choose_with_simulated_takes_the_simulation(self) -> None:
        assert (
            choose(False, WHOLE, simulated=True).mode
            is choose(True, WHOLE, simulated=True).mode
            is PreviewMode.SIMULATION
        )

    def test_look_finds_plugins_and_backend(self, tmp_path: Path) -> None:
        env = {"HOME": str(tmp_path)}
        bare = find_tools(env, lambda name: None)
        assert (len(bare.missing_plugins), bare.backend) == (len(PLUGINS), "")
        for each in bare.missing_plugins:
            name, version = each.split()
            folder = tmp_path / ".pulumi" / "plugins" / f"resource-{name}-{version}"
            folder.mkdir(parents=True)
            (folder / f"pulumi-resource-{name}").touch()
        (tmp_path / ".pulumi" / "credentials.json").write_text(json.dumps({"current": "s3://bucket"}))
        found = find_tools(env, lambda name: Path("/bin") / name)
        assert found.problems() == []
        assert find_tools(env | {"PULUMI_BACKEND_URL": "file:///x"}, lambda name: None).backend == "file:///x"

    def test_look_with_broken_credentials_finds_no_backend(self, tmp_path: Path) -> None:
        (tmp_path / "credentials.json").write_text("{")
        assert find_tools({"PULUMI_HOME": str(tmp_path)}, lambda name: None).backend == ""


class TestStackFile:
    """Read as Pulumi gives it to a program."""

    def test_read_stack_file_keeps_text_json_and_secrets(self, tmp_path: Path) -> None:
        config = {
            "devservers:cluster": "aws",
            "devservers:await": False,
            "devservers:users": [{"username": "ann", "token": {"secure": "v1:abc"}}],
            "aws:region": "eu-central-1",
        }
        (tmp_path / "Pulumi.x.yaml").write_text(yaml.safe_dump({"config": config}))
        assert read("x", tmp_path).config == {
            "cluster": "aws",
            "await": "false",
            "users": json.dumps([{"token": SECRET, "username": "ann"}]),
        }

    def test_read_unknown_stack_names_the_known_ones(self, tmp_path: Path) -> None:
        (tmp_path / "Pulumi.dev.yaml").touch()
        with pytest.raises(StackFileError) as caught:
            read("prdo", tmp_path)
        problem, remedy = str(caught.value).splitlines()
        assert "no stack 'prdo'" in problem
        assert "use one of dev" in remedy

    @pytest.mark.parametrize("content", ["config: [", "- a", "config: [a]"])
    def test_read_broken_stack_file_raises_with_its_name(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "Pulumi.dev.yaml").write_text(content)
        with pytest.raises(StackFileError, match=r"Pulumi\.dev\.yaml can't be read"):
            read("dev", tmp_path)


class TestSimulation:
    """The report of prod."""

    def test_report_begins_and_ends_with_simulated(self, prod: Simulation) -> None:
        lines = Report(prod).text().splitlines()
        assert lines[0] == HEADER.format("prod")
        assert lines[-1] == FOOTER
        assert "SIMULATED" in lines[0]
        assert "no AWS account" in lines[0]
        assert "SIMULATED" in lines[-1]

    def test_report_text_begins_with_cost_and_budget(self, prod: Simulation) -> None:
        report = Report(prod)
        text = report.text()
        assert report.cost
        assert report.cost.budget == 60000 < report.cost.maximum
        order = [text.index(each) for each in ("Cost of stack prod a month", "Policy:", "Counts:", "Resources\n")]
        assert order == sorted(order)
        (line,) = [line for line in text.splitlines() if "monthlyBudget" in line]
        assert "60,000.00" in line
        assert f"{report.cost.maximum - 60000:,.2f} above it" in line

    def test_report_summary_has_the_figures_without_lists(self, prod: Simulation) -> None:
        report = Report(prod)
        summary, whole = report.text(whole=False), report.text()
        assert len(summary.splitlines()) < 60 < len(whole.splitlines())
        assert set(summary.splitlines()) <= set(whole.splitlines())
        assert "Cost of stack" in summary
        assert "Policy:" in summary
        assert "Counts:" in summary

    def test_report_json_has_everything_of_the_text(self, prod: Simulation) -> None:
        record = json.loads(json.dumps(Report(prod).record()))
        assert record["simulated"] is True
        assert record["stack"] == "prod"
        assert len(record["resources"]) == len(prod.graph)
        assert sum(record["counts"].values()) == sum(
            not node.type.startswith(tree.COMPONENT_PREFIX) for node in prod.graph.values()
        )
        assert prod.cost
        assert record["cost"] == prod.cost.record()
        assert record["cost"]["month"]["budget"] == 60000

    def test_report_tree_counts_every_resource(self, prod: Simulation) -> None:
        counted = sum(
            int(line.rpartition(": ")[2].split()[0])
            for line in tree.lines(prod.graph)
            if line.endswith(("resources", "resource"))
        )
        top = sum(
            not node.type.startswith(tree.COMPONENT_PREFIX)
            for node in prod.graph.values()
            if node.parent not in prod.graph
        )
        assert counted + top == sum(tree.counts(prod.graph).values())

    @pytest.mark.parametrize("stack", names())
    def test_report_of_a_committed_stack_has_no_mandatory_finding(self, stack: str) -> None:
        found = Report(simulated(stack)).findings
        assert [str(each) for each in found if each.rule.severity == "mandatory"] == []

    def test_report_finds_a_rule_broken_in_the_real_graph(self, prod: Simulation) -> None:
        """The rules see the very keys the SDK sends: without the switch a resource of the graph is found."""
        from infra.policy.baseline import RULES
        from infra.policy.rule import findings

        def without(kind: str, key: str) -> set[str]:
            spoiled = [
                replace(each, inputs={k: v for k, v in each.inputs.items() if k != key}) if each.type == kind else each
                for each in subjects(prod.graph)
            ]
            return {finding.rule.id for finding in findings(RULES, spoiled)}

        assert "imds-v2-one-hop" in without("aws:ec2/launchTemplate:LaunchTemplate", "metadataOptions")
        assert "disks-encrypted" in without("aws:ec2/launchTemplate:LaunchTemplate", "blockDeviceMappings")
        assert "tags" in without("aws:ec2/launchTemplate:LaunchTemplate", "tagSpecifications")
        assert "log-groups" in without("aws:cloudwatch/logGroup:LogGroup", "kmsKeyId")
        assert "kms-rotation" in without("aws:kms/key:Key", "enableKeyRotation")
        assert "eks-secrets-encrypted" in without("eks:index:Cluster", "encryptionConfigKeyArn")
        assert "eks-logs" in without("eks:index:Cluster", "enabledClusterLogTypes")
        assert "eks-private-in-prod" in without("eks:index:Cluster", "endpointPublicAccess")
        assert "cni-network-policy" in without("aws:eks/addon:Addon", "configurationValues")
        assert "no-auto-instrumentation" in without("aws:eks/addon:Addon", "configurationValues")
        assert "versions-pinned" in without("aws:eks/addon:Addon", "addonVersion")
        unprotected = [replace(each, protect=False) for each in subjects(prod.graph)]
        assert "protect-in-prod" in {finding.rule.id for finding in findings(RULES, unprotected)}
        no_flow: list[Subject] = [each for each in subjects(prod.graph) if each.kind != "FlowLog"]
        assert "flow-logs" in {finding.rule.id for finding in findings(RULES, no_flow)}

    def test_preview_with_wrong_settings_is_refused(self) -> None:
        config = read("prod").config
        with pytest.raises(SettingsError) as caught:
            simulate(StackFile("prod", config | {"region": "mars", "accountId": "12"}))
        assert len(str(caught.value).splitlines()) == 4


class TestCommand:
    """`make preview`'s command, as a person runs it."""

    def run(self, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "PULUMI_HOME": str(home)}
        command = [sys.executable, "-m", "infra.deploy", "preview", *words]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    def test_preview_prints_data_to_stdout_and_reasons_to_stderr(self, tmp_path: Path) -> None:
        done = self.run("--stack", "dev", "-o", "json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["simulated"] is True
        assert "simulated, because:" in done.stderr
        assert "plugin aws" in done.stderr

    def test_preview_of_an_unknown_stack_prints_two_lines(self, tmp_path: Path) -> None:
        done = self.run("--stack", "nope", home=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        problem, remedy = done.stderr.strip().splitlines()
        assert "there is no stack 'nope'" in problem
        assert "use one of" in remedy
