"""The cost estimate: sums, text, differences and the base of a comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.catalog import FAMILIES
from infra.catalog.prices import FILE
from infra.cost import fees, text
from infra.cost.comparison import MARKER, Comparison
from infra.cost.difference import difference
from infra.cost.estimate import Estimate, EstimateError
from infra.cost.estimator import estimate
from infra.cost.resource_counter import ResourceCounter
from infra.deploy import cost_base as bases
from infra.deploy.__main__ import app
from infra.deploy.cost_base import CostBaseError, compare
from infra.preview.graph import Graph
from infra.preview.simulation import simulate
from infra.preview.stackfile import names, read
from tests.support.infra.simulated import simulated

ON_AWS = [stack for stack in names() if not read(stack).local]
LIST: dict[str, float] = json.loads(FILE.read_text())["prices"]
AMOUNT = re.compile(r"-?[\d,]+\.\d+")


def of(stack: str) -> Estimate:
    found = simulated(stack).cost
    assert found
    return found


def changed(stack: str, pool: str, **changes: Any) -> Estimate:
    """The estimate of a stack's settings with a pool's entry changed; nothing registered."""
    aws = simulated(stack).settings.aws
    assert aws
    entries = tuple(each.model_copy(update=changes) if each.name == pool else each for each in aws.pools)
    return estimate(stack, aws.model_copy(update={"pools": entries}), ResourceCounter())


def amounts(line: str) -> list[float]:
    """The two amounts in their columns."""
    start = text.WIDTH + 2
    return [float(each.replace(",", "")) for each in AMOUNT.findall(line[start : start + 24])]


def disk(graph: Graph, pool: str) -> int:
    """GB of a node's root disk, by the launch template of one of the pool's groups."""
    (size,) = {
        int(mapping["ebs"]["volumeSize"])
        for node in graph.of("LaunchTemplate")
        for mapping in node.inputs["blockDeviceMappings"]
        if re.fullmatch(rf"{pool}(-\d[a-z])?", node.name)
    }
    return size


@pytest.mark.parametrize("stack", ON_AWS)
class TestEstimate:
    """Every committed stack, its sums worked out anew from its file, the price list and the recorded resources."""

    def test_estimate_fixed_lines_equal_resources_times_fees(self, stack: str) -> None:
        graph, config = simulated(stack).graph, read(stack).config
        network = json.loads(config["network"])
        zones = len(network["zones"])
        gateways = len(graph.of("NatGateway")) * (zones if network.get("nat", "regional") == "regional" else 1)
        balancers = [node for node in graph.of("LoadBalancer") if node.type.startswith("aws:")]
        public = sum(not node.inputs.get("internal") for node in balancers)
        endpoints = [node.inputs for node in graph.of("VpcEndpoint") if node.inputs["vpcEndpointType"] == "Interface"]
        aws = [node for node in graph.values() if node.type.startswith("aws:")]
        expected = {
            "EKS control plane": 0.10 * 730,
            "NAT gateways": gateways * 0.045 * 730,
            "interface endpoints": sum(len(each["subnetIds"]) for each in endpoints) * 0.01 * 730,
            "network load balancers": len(balancers) * 0.0225 * 730,
            "public IPv4 addresses": (gateways + public * zones) * 0.005 * 730,
            "KMS keys": sum(node.kind == "Key" for node in aws) * 1.0,
            "hosted zones": sum(node.kind == "Zone" for node in aws) * 0.5,
            "alarms": sum(node.kind == "MetricAlarm" and not node.inputs.get("metricQueries") for node in aws) * 0.1,
        }
        found = {line.what: line.minimum for line in of(stack).fixed}
        assert found == pytest.approx({what: month for what, month in expected.items() if month}, abs=0.01)
        assert all(line.minimum == line.maximum for line in of(stack).fixed)

    def test_estimate_pool_line_equals_nodes_and_disks(self, stack: str) -> None:
        config, graph = read(stack).config, simulated(stack).graph
        system = {"family": "m7i", **json.loads(config["system"]), "name": "system"}
        for entry in (system, *json.loads(config["pools"])):
            price = entry.get("pricePerHour") or LIST[f"{entry['family']}.{entry['size']}"]
            month = price * 730 + disk(graph, entry["name"]) * 0.08
            (line,) = [line for line in of(stack).pools if line.what == entry["name"]]
            expected = (entry.get("min", 0) * month, entry["max"] * month)
            assert (line.minimum, line.maximum) == pytest.approx(expected, abs=0.01), entry["name"]
            assert ("pricePerHour" in line.source) == bool(entry.get("pricePerHour"))

    def test_estimate_server_line_equals_its_share_of_a_node(self, stack: str) -> None:
        servers = {server.flavor: server for server in of(stack).servers}
        pools = [each for each in json.loads(read(stack).config["pools"]) if each["family"][0] in "gp"]
        assert sorted(servers) == sorted(each["name"] for each in pools) != []
        for entry in pools:
            kind = f"{entry['family']}.{entry['size']}"
            gpus = FAMILIES[entry["family"]].sizes[entry["size"]].gpus
            share = entry.get("gpusPerServer", gpus) / gpus
            hour = share * (entry.get("pricePerHour") or LIST[kind])
            found = servers[entry["name"]]
            assert (found.hour, found.month) == pytest.approx((hour, hour * 8 * 21), abs=0.02)

    def test_estimate_total_equals_the_sum_in_the_text(self, stack: str) -> None:
        found = of(stack)
        whole = "\n".join(text.lines(found))
        month = whole.partition("\nA GPU server")[0].splitlines()
        lines = {line[2 : text.WIDTH].strip(): line for line in month}
        parts = [amounts(lines[each]) for each in ("fixed, whatever runs", "nodes, by pool")]
        total = [sum(ends) for ends in zip(*parts, strict=True)]
        assert amounts(lines["all together"]) == pytest.approx(total, abs=0.02)
        assert amounts(lines["all together"]) == pytest.approx([found.minimum, found.maximum], abs=0.01)
        shown = [amounts(lines[line.what]) for line in (*found.fixed, *found.pools)]
        assert [sum(ends) for ends in zip(*shown, strict=True)] == pytest.approx(total, abs=0.2)
        for server in found.servers:
            assert f"{server.hour:,.4f}" in (row := lines_of(found, server.flavor))
            assert f"{server.month:,.2f}" in row
        assert "8 hours on each of 21 working days" in whole
        assert found.hours == 8 * 21
        assert f"instances of {json.loads(FILE.read_text())['generated']}" in whole

    def test_estimate_of_a_preview_with_unknowns_is_the_same(self, stack: str) -> None:
        if stack == "dev":  # one is enough: it takes seconds
            assert simulate(read(stack), preview=True).cost == of(stack)

    def test_estimate_record_survives_pulumis_number_format(self, stack: str) -> None:
        """A number of a state is a double."""
        record = json.loads(json.dumps(of(stack).record()), parse_int=float)
        assert Estimate.from_record(record) == of(stack)


def lines_of(found: Estimate, flavor: str) -> str:
    """The line of a flavor's server."""
    whole = list(text.lines(found))
    start = next(place for place, line in enumerate(whole) if line.startswith("A GPU server"))
    (row,) = [line for line in whole[start:] if line.split()[:1] == [flavor]]
    return row


class TestText:
    """What is said beside the sums."""

    def test_text_with_a_maximum_above_the_budget_shows_the_excess(self) -> None:
        (line,) = [line for line in text.lines(of("prod")) if "monthlyBudget" in line]
        assert "60,000.00" in line
        assert f"{of('prod').maximum - 60000:,.2f} above it" in line

    def test_text_with_a_maximum_within_the_budget_says_so(self) -> None:
        (line,) = [line for line in text.lines(replace(of("dev"), budget=1e6)) if "monthlyBudget" in line]
        assert "within it" in line

    def test_text_for_another_region_warns_and_omits_the_verdict(self) -> None:
        elsewhere = replace(of("dev"), region="sa-east-1", budget=1e6)
        whole = "\n".join(text.lines(elsewhere))
        assert "This stack is in sa-east-1, and prices are us-east-1's" in whole
        assert "within it" not in whole
        assert "**This stack is in sa-east-1" in Comparison(elsewhere, None, why_no_before="x").markdown()
        assert "This stack is in" not in "\n".join(text.lines(of("dev")))
        assert Estimate.from_record(elsewhere.record()).region == "sa-east-1"

    def test_text_without_budget_and_gpus_omits_their_lines(self) -> None:
        whole = "\n".join(text.lines(replace(of("dev"), budget=0, servers=())))
        assert "monthlyBudget" not in whole
        assert "No pool has GPUs." in whole

    def test_estimate_with_an_unpriced_pool_names_and_omits_it(self) -> None:
        unknown = changed("prod", "gpu-l40s", family="p5e", size="48xlarge", price_per_hour=0)
        assert "gpu-l40s" not in [line.what for line in unknown.pools]
        assert any("nodes of pool gpu-l40s" in each and "pricePerHour" in each for each in unknown.not_counted)

    def test_estimate_names_what_depends_on_use(self) -> None:
        named = " ".join(of("prod").not_counted)
        for each in ("homes", "shared volumes", "traffic", "logs", "Container Insights", "capacity block"):
            assert each in named
        # The alarm on idle GPUs looks at every GPU node.
        assert "alarms on a query (1): $0.1 for each metric a month that they read" in named

    def test_fees_have_a_source_page_and_date(self) -> None:
        assert len(fees.ALL) >= 13
        for fee in fees.ALL:
            assert fee.usd > 0
            assert fee.page.startswith("aws.amazon.com/")
            assert re.fullmatch(r"\d{4}(-\d\d){2}", fee.as_of)
        sources = {line.source for stack in ON_AWS for line in of(stack).fixed}
        assert all(source.startswith("https://aws.amazon.com/") for source in sources)

    @pytest.mark.parametrize(
        "record", [None, [], {}, {"form": 2}, {"form": 1}, {"form": 1, "fixed": [{}], "stack": "x"}, "text"]
    )
    def test_record_of_another_form_raises_one_line(self, record: object) -> None:
        with pytest.raises(EstimateError) as caught:
            Estimate.from_record(record)
        assert len(str(caught.value).splitlines()) == 1


class TestDifference:
    """Two estimates of a stack."""

    def test_difference_of_a_grown_pool_equals_its_nodes(self) -> None:
        aws = simulated("prod").settings.aws
        assert aws
        before = changed("prod", "")
        most = next(pool.max for pool in aws.pools if pool.name == "gpu-l40s")
        found = difference(before, changed("prod", "gpu-l40s", max=most + 2))
        (change,) = found.others
        more = 2 * (LIST["g6e.2xlarge"] * 730 + 200 * 0.08)
        assert change.what == "pool gpu-l40s, maximum"
        assert change.amount == pytest.approx(more)
        minimum, maximum = found.totals
        assert minimum.amount == 0
        assert maximum.amount == pytest.approx(more)

    def test_difference_of_a_flavors_price_is_by_the_hour(self) -> None:
        before, now = changed("prod", ""), changed("prod", "gpu-l40s-pair", price_per_hour=8.0)
        found = {change.what: change for change in difference(before, now).others}
        hour = found["a server of flavor gpu-l40s-pair, an hour"]
        # Two of four GPUs.
        assert hour.before == pytest.approx(LIST["g6e.12xlarge"] / 2, abs=1e-4)
        assert hour.now == 4.0
        assert set(found) == {hour.what, "pool gpu-l40s-pair, maximum"}

    def test_difference_with_an_added_and_a_removed_pool_lists_both(self) -> None:
        before = changed("prod", "")
        now = changed("prod", "gpu-h100", name="gpu-new")
        found = {change.what: (change.before, change.now) for change in difference(before, now).others}
        assert found["pool gpu-h100, maximum"][1] is None
        assert found["pool gpu-new, maximum"][0] is None
        assert found["a server of flavor gpu-new, an hour"] == (None, LIST["p5.4xlarge"])

    def test_difference_of_budget_and_price_date_is_listed(self) -> None:
        before = of("prod")
        found = difference(before, replace(before, budget=7.0, instances_as_of="2030-01-01"))
        assert [(each.what, each.before, each.now) for each in found.others] == [("budget", 60000, 7.0)]
        assert found.prices == (f"instances: of {before.instances_as_of} before, of 2030-01-01 now",)

    def test_difference_below_a_cent_is_nothing(self) -> None:
        line = of("prod").fixed[0]
        cent = replace(of("prod"), fixed=(replace(line, maximum=line.maximum + 0.004), *of("prod").fixed[1:]))
        for now in (of("prod"), cent):
            assert difference(of("prod"), now).empty
            assert "nothing costs more or less" in Comparison(now, of("prod"), "x").text()
            assert "Nothing costs more or less" in Comparison(now, of("prod"), "x").markdown()


class TestComparison:
    """What a person and a pull request are shown."""

    def test_comparison_text_and_comment_have_the_same_amounts(self) -> None:
        before, now = changed("prod", ""), changed("prod", "gpu-l40s", max=30)
        comparison = Comparison(now, before, "the last deployed state of prod")
        rows = [line for line in comparison.markdown().splitlines() if line.startswith("| ")][1:]
        assert len(rows) == 3
        after = comparison.text().partition("Compared with the last deployed state of prod\n")[2]
        for row in rows:
            what, *cells = (cell.strip() for cell in row.strip("|").split("|"))
            (line,) = [line for line in after.splitlines() if line.strip().startswith(what)]
            assert line.split()[-3:] == cells
        more = f"+{now.maximum - before.maximum:,.2f}"
        assert more in rows[1]

    def test_comparison_comment_begins_with_its_marker(self) -> None:
        body = Comparison(of("prod"), None, why_not_deployed="no backend", why_no_before="there is nothing").markdown()
        assert body.startswith(MARKER.format("prod") + "\n")
        assert "Not compared: the last deployed state can't be read (no backend), and there is nothing." in body
        assert body.index("<details>") < body.index("Cost of stack prod a month") < body.index("</details>")


PROGRAM = """
import json, pathlib, sys
assert sys.argv[1:] == ["preview", "--stack", "prod", "--simulated", "-o", "json"], sys.argv
print(json.dumps({"cost": json.loads(pathlib.Path("estimate.json").read_text())}))
"""


@pytest.fixture(params=["deploy", "local"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A repository whose main estimates a prod of another size; older ones have infra/local instead of infra/deploy."""
    root = tmp_path / "repository"
    package = root / "infra" / request.param
    package.mkdir(parents=True)
    for folder in (root / "infra", package):
        (folder / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    (root / "estimate.json").write_text(json.dumps(changed("prod", "gpu-l40s", max=1).record()))
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    (root / "estimate.json").write_text("not committed")
    return root


def pulumi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> dict[str, str]:
    """An environment with a backend and a Pulumi that answers so."""
    program = folder / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.delenv("DEVSERVERS_TOOLS_DIR", raising=False)
    return {"HOME": str(folder), "PATH": path, "PULUMI_BACKEND_URL": "s3://state"}


class TestBase:
    """What an estimate is compared with, and that it says which."""

    def test_base_with_a_readable_state_is_the_last_deployment(
        self, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = changed("prod", "gpu-l40s", max=2).record()
        (tmp_path / "outputs").write_text(json.dumps({"cost": record, "region": "x"}))
        answer = f'[ "$*" = "stack output --stack prod --json --non-interactive" ] && cat {tmp_path}/outputs'
        found = compare(of("prod"), pulumi(tmp_path, monkeypatch, answer), root=repository)
        assert (found.before_label, found.why_not_deployed) == ("the last deployed state of prod", "")
        assert found.before == Estimate.from_record(record)
        assert "Compared with the last deployed state of prod\n" in found.text()

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ("echo 'error: AccessDenied' >&2; exit 255", "pulumi stack output failed: error: AccessDenied"),
            ('echo \'{"region": "x"}\'', "the state of stack prod holds no estimate"),
            ('echo \'{"cost": {"form": 9}}\'', "the state of stack prod holds no estimate of form 1 (it has form 9)"),
            ("echo no", "outputs of stack prod are no JSON"),
        ],
    )
    def test_base_with_an_unreadable_state_is_the_target_branch(
        self, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, answer: str, reason: str
    ) -> None:
        found = compare(of("prod"), pulumi(tmp_path, monkeypatch, answer), root=repository)
        commit = subprocess.check_output(["git", "-C", str(repository), "rev-parse", "main"], text=True)[:12]
        assert found.before_label == f"the estimate of main ({commit})"
        assert reason in found.why_not_deployed
        assert found.before
        assert found.difference
        assert not found.difference.empty
        for said in (found.text(), found.markdown()):
            assert f"Compared with the estimate of main ({commit}), as the last deployed state can't be read (" in said
            assert reason in said

    def test_base_without_a_backend_is_the_named_branch(self, tmp_path: Path, repository: Path) -> None:
        subprocess.run(["git", "-C", str(repository), "branch", "release"], check=True)
        found = compare(of("prod"), {"HOME": str(tmp_path)}, target="release", root=repository)
        assert found.before_label.startswith("the estimate of release (")
        assert "not on this machine" in found.why_not_deployed or "no backend" in found.why_not_deployed

    def test_base_without_state_and_branch_is_none_with_a_reason(self, tmp_path: Path, repository: Path) -> None:
        found = compare(of("prod"), {"HOME": str(tmp_path)}, target="gone", root=repository)
        assert found.before is None
        assert "no revision gone" in found.why_no_before
        assert found.why_not_deployed
        assert "Not compared: " in found.text()
        assert "Cost of stack prod" in found.text()

    def test_base_by_name_is_used_or_refused(self, tmp_path: Path, repository: Path) -> None:
        file = tmp_path / "before.json"
        file.write_text(json.dumps(changed("prod", "").record()))
        assert compare(of("prod"), {}, str(file)).before_label == str(file)
        assert compare(of("prod"), {}, "HEAD", root=repository).before_label.startswith("the estimate of HEAD (")
        for named in ("gone", str(tmp_path / "no.json")):
            with pytest.raises(CostBaseError) as caught:
                compare(of("prod"), {}, named, root=repository)
            assert len(str(caught.value).splitlines()) == 2

    def test_base_file_of_another_stack_or_content_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "before.json"
        for content, said in ((json.dumps(of("dev").record()), "of stack dev"), ("{}", "no estimate"), ("{", "can't")):
            file.write_text(content)
            with pytest.raises(CostBaseError, match=said):
                bases.estimate_of_file("prod", file)

    def test_base_revision_that_fails_shows_its_error(self, repository: Path) -> None:
        with pytest.raises(CostBaseError, match=r"HEAD has no estimate of stack dev; it says: AssertionError"):
            bases.estimate_of_revision("dev", "HEAD", repository)


def test_cost_command_with_a_base_file_prints_markdown(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_text(json.dumps(replace(of("dev"), budget=1.0).record()))
    done = CliRunner().invoke(app, ["cost", "--stack", "dev", "--base", str(file), "-o", "markdown"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(MARKER.format("dev"))
    assert "| budget | 1.00 | 1,500.00 | +1,499.00 |" in done.stdout
