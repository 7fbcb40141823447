"""Committed inventories of the stacks, compared with what the program makes."""

from __future__ import annotations

import pytest

from infra import ROOT
from infra.preview.graph import Node
from infra.preview.inventory import COMMAND, INVENTORIES, inputs, path_of, text, without_noise
from infra.preview.simulation import Simulation
from infra.preview.stackfile import names
from tests.support.infra.simulated import simulated


@pytest.fixture(scope="module", params=names())
def simulation(request: pytest.FixtureRequest) -> Simulation:
    return simulated(request.param)


def test_inventory_file_equals_the_programs(simulation: Simulation) -> None:
    path = path_of(simulation.stack)
    fresh = text(simulation)
    committed = path.read_text() if path.exists() else ""
    if committed != fresh:
        before, after = set(committed.splitlines()), set(fresh.splitlines())
        changed = [f"- {each}" for each in sorted(before - after)] + [f"+ {each}" for each in sorted(after - before)]
        pytest.fail(
            f"{path.relative_to(ROOT)} is stale: run `{COMMAND}` and commit what it writes\n" + "\n".join(changed[:40]),
            pytrace=False,
        )


def test_inventory_lists_every_resource_once(simulation: Simulation) -> None:
    lines = text(simulation).splitlines()
    for node in simulation.graph.values():
        head = without_noise(simulation, f"{node.type.removeprefix('devservers:')} {node.name}")
        found = [line for line in lines if line.strip() == head or line.strip().startswith(f"{head} (")]
        same = [each for each in simulation.graph.values() if (each.type, each.name) == (node.type, node.name)]
        assert len(found) == len(same), head


def test_inventory_contains_no_account_or_path(simulation: Simulation) -> None:
    whole = text(simulation)
    account = simulation.settings.aws.account_id if simulation.settings.aws else "111122223333"
    assert account not in whole
    assert "111122223333" not in whole
    assert str(ROOT) not in whole
    assert "/tmp/" not in whole


def test_inventory_exists_for_every_stack_only() -> None:
    assert sorted(path.stem for path in INVENTORIES.glob("*.txt")) == names()


def test_inventory_digests_long_values() -> None:
    def shown(user_data: str) -> dict[str, str]:
        return dict(inputs(Node("aws:ec2/launchTemplate:LaunchTemplate", "n", {"userData": user_data}, "", "")))

    one, other = shown("a" * 500), shown("a" * 499 + "b")
    assert one["userData"].startswith("(500 characters, sha256 ")
    assert one != other


def test_inventory_shows_policy_statements() -> None:
    statement = '{"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::one/*"}]}'
    found = dict(inputs(Node("aws:iam/rolePolicy:RolePolicy", "n", {"policy": statement}, "", "")))
    assert found == {"policy.Statement[0]": "Action=s3:GetObject; Effect=Allow; Resource=arn:aws:s3:::one/*"}
