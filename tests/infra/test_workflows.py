"""GitHub workflows of the environments: jobs, permissions, pins and roles."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import ROOT
from infra.aws.iam.boundary import DEPLOYER, DRIFT, PREVIEWER, session_seconds
from infra.aws.iam.github_roles import WORKFLOW, claims, environment_of
from infra.catalog.images import PLATFORM
from infra.cost.comparison import MARKER
from infra.deploy.aws.ci import facts
from infra.deploy.aws.tools import PLUGINS
from infra.preview.stackfile import StackFileError, names, read
from infra.settings.aws.access import GitHub

FOLDER = ROOT / ".github"
OURS = ("preview.yml", "deploy.yml", "up.yml", "drift.yml")
ON_AWS = [stack for stack in names() if not read(stack).local]
SHA = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
READ_ONLY = {"contents": "read"}


def workflow(name: str) -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / "workflows" / name).read_text())
    assert isinstance(content, dict)
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in content.items()}


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return dict(workflow(name)["jobs"])


def steps() -> list[tuple[str, dict[str, Any]]]:
    """Every step of ours, the shared action's included, with the file it is in."""
    found = [(name, step) for name in OURS for job in jobs(name).values() for step in job.get("steps", [])]
    action = yaml.safe_load((FOLDER / "actions" / "stack" / "action.yml").read_text())
    return found + [("action.yml", step) for step in action["runs"]["steps"]]


def test_workflow_stacks_equal_the_checkouts() -> None:
    assert jobs("preview.yml")["simulated"]["strategy"]["matrix"]["stack"] == names()
    assert jobs("preview.yml")["preview"]["strategy"]["matrix"]["stack"] == ON_AWS
    assert jobs("drift.yml")["drift"]["strategy"]["matrix"]["stack"] == ON_AWS
    deployed = jobs("deploy.yml")
    assert [job["with"]["stack"] for job in deployed.values()] == list(deployed) == ["dev", "staging", "prod"]
    assert sorted(deployed) == ON_AWS


def test_deploy_jobs_run_in_order_of_environments() -> None:
    deployed = jobs("deploy.yml")
    assert [job.get("needs") for job in deployed.values()] == [None, "dev", "staging"]
    assert jobs("up.yml")["up"]["environment"] == "${{ inputs.stack }}"


def test_workflow_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for where, step in steps():
        run = step.get("run", "")
        for target in re.findall(r"\bmake (?:--silent )?([a-z]+)", run):
            assert re.search(rf"^{target}:", makefile, re.M), (where, target)
        for variable in re.findall(r"\b([A-Z]+)=", run):
            assert f"$({variable})" in makefile or variable == "STACK", (where, variable)
        for module in re.findall(r"python -m ([\w.]+)", run):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), (where, module)
        for folder in re.findall(r"--project (\S+)", run):
            assert (ROOT / folder / "pyproject.toml").exists(), (where, folder)
        uses = step.get("uses", "")
        if uses.startswith("./"):
            assert (ROOT / uses / "action.yml").exists(), (where, uses)
        if "policyPacks" in step.get("with", {}):
            assert (ROOT / step["with"]["policyPacks"] / "PulumiPolicy.yaml").exists()
    for job in jobs("deploy.yml").values():
        assert (ROOT / job["uses"]).exists()
    for name in ("preview.yml", "deploy.yml"):
        on = workflow(name)["on"]
        for path in (on.get("pull_request") or on.get("push"))["paths"]:
            assert (ROOT / path.removesuffix("/**")).exists(), path


def test_foreign_actions_are_pinned_by_commit() -> None:
    for where, step in steps():
        uses = step.get("uses", "./")
        assert uses.startswith("./") or SHA.match(uses), (where, uses)


def test_workflow_permissions_are_minimal() -> None:
    for name in OURS:
        assert workflow(name)["permissions"] == {}, name
    cloud = READ_ONLY | {"id-token": "write"}
    previews = jobs("preview.yml")
    assert previews["simulated"]["permissions"] == READ_ONLY
    assert previews["preview"]["permissions"] == cloud | {"pull-requests": "write"}
    for job in [*jobs("deploy.yml").values(), *jobs("up.yml").values(), *jobs("drift.yml").values()]:
        assert job["permissions"] == cloud


def test_pull_request_of_a_fork_gets_no_token_or_secret() -> None:
    assert "pull_request_target" not in workflow("preview.yml")["on"]
    condition = jobs("preview.yml")["preview"]["if"]
    assert condition == "github.event.pull_request.head.repo.full_name == github.repository"
    for name in OURS:
        assert "secrets." not in (FOLDER / "workflows" / name).read_text(), name


def test_workflow_expressions_from_outside_reach_no_shell() -> None:
    """What somebody else may choose (branch names, titles) is never pasted into a script."""
    for where, step in steps():
        assert "${{" not in step.get("run", ""), (where, step.get("name"))


class TestCostComment:
    """The step that puts a stack's cost on a pull request. Forks have no part in its job."""

    def step(self) -> dict[str, Any]:
        (found,) = [step for step in jobs("preview.yml")["preview"]["steps"] if "GH_TOKEN" in step.get("env", {})]
        return dict(found)

    def test_comment_job_token_is_in_one_step(self) -> None:
        for name in OURS:
            assert (FOLDER / "workflows" / name).read_text().count("github.token") == (name == "preview.yml")
        assert not re.search(r"\b(make|python|uv|\./)", self.step()["run"])

    def test_comment_job_compares_with_state_or_target_branch(self) -> None:
        for name, job in jobs("preview.yml").items():
            (checkout,) = [each for each in job["steps"] if each.get("uses", "").startswith("actions/checkout@")]
            assert checkout["with"]["fetch-depth"] == 2, name
            (run,) = [each["run"] for each in job["steps"] if "make --silent cost" in each.get("run", "")]
            assert "TARGET=HEAD^" in run
            assert "BASE=" not in run
            assert "OUTPUT=markdown" in run
            assert run.endswith({"simulated": '>> "$GITHUB_STEP_SUMMARY"', "preview": "> cost.md"}[name])

    @pytest.mark.parametrize(
        ("before", "method", "where"),
        [("", "POST", "repos/o/r/issues/5/comments"), ("7", "PATCH", "repos/o/r/issues/comments/7")],
    )
    def test_comment_job_creates_then_updates_one_comment(
        self, tmp_path: Path, before: str, method: str, where: str
    ) -> None:
        """With a gh that writes down what it is asked, and knows of one comment or of none."""
        answer = f'case "$*" in *paginate*) printf "{before}";; esac'
        (tmp_path / "gh").write_text(f'#!/bin/sh\necho "$*" >> asked\n{answer}\n')
        (tmp_path / "gh").chmod(0o755)
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REPOSITORY": "o/r", "NUMBER": "5", "STACK": "prod"}
        subprocess.run(["bash", "-e", "-c", self.step()["run"]], cwd=tmp_path, env=env, check=True)
        asked = (tmp_path / "asked").read_text()
        assert MARKER.format("\\(env.STACK)") in asked.splitlines()[1]
        assert asked.splitlines()[-1] == f"api --silent --method {method} {where} --field body=@cost.md"


def test_workflow_concurrency_is_one_per_stack() -> None:
    up = jobs("up.yml")["up"]["concurrency"]
    assert up == {"group": "up-${{ inputs.stack }}", "cancel-in-progress": False}
    for name, job in (("preview.yml", "preview"), ("preview.yml", "simulated"), ("drift.yml", "drift")):
        assert "${{ matrix.stack }}" in jobs(name)[job]["concurrency"]["group"]


def test_workflow_pulumi_version_equals_the_sdks() -> None:
    pinned = re.search(r'"pulumi==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned
    runs = [step["with"] for _, step in steps() if step.get("uses", "").startswith("pulumi/actions@")]
    assert [each["pulumi-version"] for each in runs] == [pinned[1]] * 3
    # up.yml only installs it there: `make up` runs it, with the policy pack (test_teardown.py).
    assert [(each.get("command"), each.get("policyPacks")) for each in runs].count(("preview", "infra/policy")) == 2
    assert [each for each in runs if "command" not in each] == [{"pulumi-version": pinned[1]}]


def test_up_workflow_runs_make_up_after_login_and_plugins() -> None:
    """By the command that checks offerings, runs the policy pack and waits for rollouts, with nobody to ask."""
    found = [step.get("run", "") for step in jobs("up.yml")["up"]["steps"]]
    (update,) = [number for number, run in enumerate(found) if re.match(r'make up STACK="\$STACK" YES=1 ', run)]
    (prepare,) = [number for number, run in enumerate(found) if "python -m infra.deploy.aws.tools" in run]
    assert prepare < update
    assert 'pulumi login "$BACKEND"' in found[prepare]
    assert 'pulumi plugin install resource "$name" "$version"' in found[prepare]


def test_tools_module_prints_the_missing_plugins_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.deploy.aws.tools"]
    env = {"PATH": "", "HOME": str(tmp_path), "PULUMI_HOME": str(tmp_path)}
    expected = {name: f"v{version(package)}" for name, package in PLUGINS.items()}
    printed = subprocess.check_output(command, cwd=ROOT, env=env, text=True).splitlines()
    assert dict(line.split() for line in printed) == expected
    for name, pinned in expected.items():
        plugin = tmp_path / "plugins" / f"resource-{name}-{pinned}" / f"pulumi-resource-{name}"
        plugin.parent.mkdir(parents=True)
        plugin.touch()
    assert subprocess.check_output(command, cwd=ROOT, env=env, text=True) == ""


def test_role_trust_matches_the_workflows_jobs() -> None:
    """GitHub's word about a job, and what the roles of infra/aws/iam/github_roles.py believe."""
    github = GitHub(repository="example/devservers")
    branch = workflow("deploy.yml")["on"]["push"]["branches"]
    assert branch == [github.branch] == workflow("preview.yml")["on"]["pull_request"]["branches"]
    for role, file, job in WHO:
        for stack in ON_AWS:
            said = re.sub(r"\$\{\{ (matrix|inputs)\.stack \}\}", stack, jobs(file)[job]["environment"])
            assert said == environment_of(stack, role)
            assert claims(stack, github, role)["sub"] == f"repo:{github.repository}:environment:{said}"
    roles = [step["with"]["role"] for _, step in steps() if step.get("uses") == "./.github/actions/stack"]
    assert roles == [PREVIEWER, DEPLOYER, DRIFT]
    deploys = {each["uses"].removeprefix("./") for each in jobs("deploy.yml").values()}
    assert deploys == {WORKFLOW}
    assert claims("dev", github, DEPLOYER)["job_workflow_ref"].startswith(f"{github.repository}/{WORKFLOW}@")


WHO = ((PREVIEWER, "preview.yml", "preview"), (DRIFT, "drift.yml", "drift"), (DEPLOYER, "up.yml", "up"))


def test_pull_request_code_never_runs_with_the_deployer_role() -> None:
    """A runner keeps what ran on it; only GitHub's own are new for each job."""
    runners = {role: re.findall(r"RUNNER_[A-Z]+", jobs(file)[job]["runs-on"]) for role, file, job in WHO}
    assert runners[DEPLOYER] == ["RUNNER_DEPLOY"]
    assert runners[PREVIEWER] == runners[DRIFT] == ["RUNNER_PREVIEW"]


def test_credentials_last_as_long_as_the_job() -> None:
    for role, file, job in WHO:
        assert facts("dev", role)["seconds"] == str(session_seconds(role))
        assert jobs(file)[job]["timeout-minutes"] * 60 <= session_seconds(role), role
    (taken,) = [
        step for _, step in steps() if step.get("uses", "").startswith("aws-actions/configure-aws-credentials@")
    ]
    assert taken["with"]["role-duration-seconds"] == "${{ steps.facts.outputs.seconds }}"


def test_docker_login_precedes_image_push() -> None:
    found = jobs("up.yml")["up"]["steps"]
    (place,) = [number for number, step in enumerate(found) if "docker login" in step.get("run", "")]
    (update,) = [number for number, step in enumerate(found) if step.get("run", "").startswith("make up ")]
    assert place < update
    login = found[place]
    assert login["if"] == "steps.stack.outputs.registry != ''"
    assert "--password-stdin" in login["run"]
    assert login["env"] == {name: f"${{{{ steps.stack.outputs.{name.lower()} }}}}" for name in ("REGION", "REGISTRY")}
    action = yaml.safe_load((FOLDER / "actions" / "stack" / "action.yml").read_text())
    for name in ("backend", "region", "registry"):
        assert action["outputs"][name]["value"] == f"${{{{ steps.facts.outputs.{name} }}}}"
    assert facts("dev", DEPLOYER)["registry"] == "111122223333.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(("name", "event"), [("preview.yml", "pull_request"), ("deploy.yml", "push")])
def test_workflow_paths_cover_images_and_stacks(name: str, event: str) -> None:
    paths = workflow(name)["on"][event]["paths"]
    files = {image.dockerfile for image in PLATFORM}
    files |= {f"{image.context}/{each}" for image in PLATFORM for each in image.files}
    parts = {file.removeprefix("./").partition("/") for file in files}
    wanted = {f"{first}/**" if (ROOT / first).is_dir() else first for first, _, _ in parts}
    assert wanted | {"Makefile", "Pulumi.yaml", "devcluster/**", "infra/**", "stacks/**", ".github/**"} == set(paths)


@pytest.mark.parametrize("stack", ON_AWS)
def test_workflow_settings_come_from_the_stack_file(stack: str) -> None:
    aws = read(stack).config
    found = facts(stack, DEPLOYER)
    assert (found["region"], found["account"]) == (aws["region"], aws["accountId"])
    assert found["role"] == f"arn:aws:iam::{aws['accountId']}:role/devservers-{stack}-{DEPLOYER}"
    assert found["backend"].startswith("s3://")
    assert found["registry"].startswith(aws["accountId"])


def test_local_stack_has_no_workflow_role() -> None:
    with pytest.raises(StackFileError, match="no role"):
        facts("local", DEPLOYER)


@pytest.mark.parametrize("path", sorted((FOLDER / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflow_jobs_have_a_time_limit(path: Path) -> None:
    for job in workflow(path.name)["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job
