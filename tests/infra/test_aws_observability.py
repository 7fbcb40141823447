"""Alarms, the notification topic, log groups and the budget."""

from __future__ import annotations

import re

import pytest

from infra.preview.graph import Graph
from tests.support.infra.aws_graph import by_name, part, recorded, settings
from tests.support.infra.iam import documents, faults

TOPIC = "arn:aws:sns:eu-central-1:111122223333:alarms"
CPU = {"name": "cpu", "family": "m7i", "size": "large", "max": 1}


def test_alarm_topic_is_encrypted_and_restricted_to_this_account(dev: Graph) -> None:
    graph = part(dev, "Observability")
    topic = graph.one("Topic").inputs
    assert topic["kmsMasterKeyId"] == "arn:aws:kms:eu-central-1:111122223333:alarms"
    policy = documents(graph)["Topic alarms.policy"]
    assert faults(policy) == []
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}


def test_alarm_topic_subscribes_the_configured_addresses(dev: Graph) -> None:
    subscriptions = part(dev, "Observability").of("TopicSubscription")
    assert {node.inputs["endpoint"] for node in subscriptions} == {"ops@example.com", "ml@example.com"}
    assert {node.inputs["protocol"] for node in subscriptions} == {"email"}


def test_alarms_without_addresses_still_exist() -> None:
    graph = part(recorded(settings(observability={})), "Observability")
    assert graph.of("MetricAlarm")
    assert graph.one("Topic")
    assert not graph.of("TopicSubscription")
    assert not graph.of("Budget")


def test_alarms_notify_the_topic_on_alarm_and_ok(dev: Graph) -> None:
    alarms = by_name(part(dev, "Observability"), "MetricAlarm")
    assert set(alarms) == {
        "bastion-unhealthy",
        "bastion-gone",
        "nodes-not-ready",
        "gpus-idle",
        "files-busy",
        "nat-eu-central-1a-full",
        "nat-eu-central-1b-full",
    }
    for node in alarms.values():
        assert node.inputs["alarmActions"] == node.inputs["okActions"] == [TOPIC]
    # No target registered is no count of healthy ones: that nobody can log in must be an alarm then, too.
    silent = {name for name, node in alarms.items() if node.inputs["treatMissingData"] == "breaching"}
    assert silent == {"bastion-gone"}
    assert {node.inputs["treatMissingData"] for node in alarms.values()} == {"breaching", "notBreaching"}
    assert alarms["files-busy"].inputs["dimensions"] == {"FileSystemId": "shared-id"}
    assert alarms["nodes-not-ready"].inputs["dimensions"] == {"ClusterName": "devservers-dev"}


def test_idle_gpu_alarm_queries_each_node(dev: Graph) -> None:
    """One busy node must hide no other: the maximum over the cluster did."""
    alarm = by_name(part(dev, "Observability"), "MetricAlarm")["gpus-idle"].inputs
    assert not {"namespace", "metricName", "dimensions", "statistic", "period"} & {
        key for key, value in alarm.items() if value is not None
    }, "CloudWatch takes a query or a metric, not both"
    (query,) = alarm["metricQueries"]
    select, schema, where, group = re.fullmatch(
        r"SELECT (.*) FROM SCHEMA\((.*)\) WHERE (.*) GROUP BY (.*) ORDER BY MAX\(\) ASC", query["expression"]
    ).groups()  # type: ignore[union-attr]
    assert (select, where) == ("MAX(node_gpu_utilization)", "ClusterName = 'devservers-dev'")
    assert schema.split(", ") == ["ContainerInsights", "ClusterName", "InstanceId", "NodeName"]
    assert group.split(", ") == ["InstanceId", "NodeName"]
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("LessThanThreshold", 5)
    assert query["returnData"]
    assert 3600 < query["period"] * alarm["evaluationPeriods"] < 3 * 3600


@pytest.mark.parametrize(
    ("observability", "pools", "expected"),
    [({"containerInsights": False}, None, set()), ({}, [CPU], {"nodes-not-ready"})],
)
def test_alarm_without_its_metric_is_absent(
    observability: dict[str, bool], pools: list[dict[str, object]] | None, expected: set[str]
) -> None:
    changes = {"observability": observability} | ({"pools": pools} if pools else {})
    graph = recorded(settings(**changes))
    assert {"nodes-not-ready", "gpus-idle"} & set(by_name(graph, "MetricAlarm")) == expected
    assert bool(part(graph, "Logs").of("LogGroup")) is ("containerInsights" not in observability)


def test_container_insights_logs_have_retention_and_a_key(dev: Graph) -> None:
    groups = part(dev, "Logs").of("LogGroup")
    prefix = "/aws/containerinsights/devservers-dev"
    assert {node.inputs["name"] for node in groups} == {
        f"{prefix}/{kind}" for kind in ("application", "dataplane", "host", "performance")
    }
    for node in groups:
        assert node.inputs["retentionInDays"] == 90
        assert node.inputs["kmsKeyId"] == "arn:aws:kms:eu-central-1:111122223333:logs"


def test_budget_limits_and_notifies_by_the_stacks_tag(dev: Graph) -> None:
    budget = part(dev, "Observability").one("Budget").inputs
    assert (budget["limitAmount"], budget["limitUnit"], budget["timeUnit"]) == ("5000.00", "USD", "MONTHLY")
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:Stack$dev"]}]
    assert [(each["notificationType"], each["threshold"]) for each in budget["notifications"]] == [
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    ]
    assert all(each["subscriberSnsTopicArns"] == [TOPIC] for each in budget["notifications"])
