"""CloudWatch alarms, their SNS topic and the monthly budget.

Invariant: whatever keeps people from working, or burns money unseen, changes an alarm, and alarms go to one topic.

The alarms are there without anybody to be told by e-mail, too: the topic can have other subscribers (chat, pagers), and
an alarm's history says when a thing began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import budgets, cloudwatch, sns

from infra.aws import arns
from infra.aws.cluster.control_plane import Cluster
from infra.aws.component import Component, document, rendered
from infra.aws.kms_keys import Security, for_alarms
from infra.aws.load_balancer import Edge
from infra.aws.network.vpc import Network
from infra.aws.storage.volumes import Storage
from infra.catalog import FAMILIES
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

GPU_IDLE_PERCENT = 5
GPU_IDLE_HOURS = 2
"""An alarm on a query may look back three hours at most (CloudWatch User Guide, limits of alarms)."""
IO_LIMIT_PERCENT = 95
SPENT_PERCENT, FORECAST_PERCENT = 80, 100


@dataclass(frozen=True)
class Alarm:
    """An alarm on a metric over ``periods`` periods in a row.

    ``query`` stands in for namespace, metric, dimensions and statistic: a Metrics Insights query, each of whose series
    is an alarm's contributor of its own.
    """

    name: str
    description: str
    namespace: str | None
    metric: str | None
    dimensions: Mapping[str, pulumi.Input[str]] = field(hash=False)
    threshold: float
    comparison: str = "GreaterThanOrEqualToThreshold"
    statistic: str = "Maximum"
    period: int = 60
    periods: int = 5
    query: str = ""
    breaching: bool = False
    """Whether nothing measured is an alarm."""


class Observability(Component):
    """Topic, alarms and budget."""

    topic_arn: pulumi.Output[str]
    """What else is to hear of alarms subscribes to it."""

    def __init__(
        self,
        stack: str,
        aws: Aws,
        network: Network,
        cluster: Cluster,
        storage: Storage,
        edge: Edge,
        security: Security,
        opts: pulumi.ResourceOptions,
        bastion: bool = True,
    ) -> None:
        """``bastion`` says whether anything is to be behind the load balancer."""
        super().__init__("observability", opts)
        self._stack, self._aws = stack, aws
        self.topic_arn = self._topic(security)
        for alarm in [
            *(_edge(edge) if bastion else ()),
            *_nodes(cluster.name, aws),
            *_file_system(storage.file_system_id),
            *_nat_gateways(network.nat_gateways),
        ]:
            self._make_alarm(alarm)
        if aws.observability.monthly_budget:
            self._budget(aws.observability.monthly_budget)
        self.register_outputs({"topic": self.topic_arn})

    def _topic(self, security: Security) -> pulumi.Output[str]:
        stack, aws = self._stack, self._aws
        name = named(stack, "alarms")
        topic = sns.Topic(
            "alarms",
            name=name,
            kms_master_key_id=security.alarms_key.arn,
            policy=rendered(document(for_alarms(aws, "sns:Publish", resource=arns.arn(aws, "sns", name)))),
            opts=self.options(),
        )
        for address in aws.observability.emails:
            # Each must be confirmed by who reads it; AWS sends a link.
            sns.TopicSubscription(address, topic=topic.arn, protocol="email", endpoint=address, opts=self.options())
        return topic.arn

    def _make_alarm(self, alarm: Alarm) -> None:
        query = cloudwatch.MetricAlarmMetricQueryArgs(
            id="query", expression=alarm.query, period=alarm.period, return_data=True
        )
        cloudwatch.MetricAlarm(
            alarm.name,
            name=named(self._stack, alarm.name, limit=255),
            alarm_description=alarm.description,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=dict(alarm.dimensions) or None,
            statistic=None if alarm.query else alarm.statistic,
            period=None if alarm.query else alarm.period,
            metric_queries=[query] if alarm.query else None,
            evaluation_periods=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=alarm.comparison,
            # Mostly nothing measured is nothing there: no GPU node, no NAT gateway's error.
            treat_missing_data="breaching" if alarm.breaching else "notBreaching",
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            opts=self.options(),
        )

    def _budget(self, dollars: float) -> None:
        def notification(kind: str, percent: float) -> budgets.BudgetNotificationArgs:
            return budgets.BudgetNotificationArgs(
                comparison_operator="GREATER_THAN",
                notification_type=kind,
                threshold=percent,
                threshold_type="PERCENTAGE",
                subscriber_sns_topic_arns=[self.topic_arn],
            )

        budgets.Budget(
            "monthly",
            name=named(self._stack, limit=MAX_ROLE_NAME),
            account_id=self._aws.account_id,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{dollars:.2f}",
            limit_unit="USD",
            # Works once Stack is activated as a cost allocation tag in the account that pays.
            cost_filters=[budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:Stack${self._stack}"])],
            notifications=[notification("ACTUAL", SPENT_PERCENT), notification("FORECASTED", FORECAST_PERCENT)],
            opts=self.options(),
        )


def _edge(edge: Edge) -> list[Alarm]:
    of = {"LoadBalancer": edge.load_balancer.arn_suffix, "TargetGroup": edge.target_group.arn_suffix}
    return [
        Alarm(
            "bastion-unhealthy",
            "A bastion pod fails its health check; see docs/runbooks/failures.md",
            "AWS/NetworkELB",
            "UnHealthyHostCount",
            of,
            1,
        ),
        Alarm(
            "bastion-gone",
            "No bastion pod takes sessions: nobody can log in",
            "AWS/NetworkELB",
            "HealthyHostCount",
            of,
            1,
            comparison="LessThanThreshold",
            periods=2,
            # With no target registered there is no count of healthy ones either.
            breaching=True,
        ),
    ]


def _nodes(cluster: str, aws: Aws) -> list[Alarm]:
    if not aws.observability.container_insights:
        return []
    of = {"ClusterName": cluster}
    found = [
        Alarm(
            "nodes-not-ready",
            "A node is not ready for ten minutes; node repair should have replaced it",
            "ContainerInsights",
            "cluster_failed_node_count",
            of,
            1,
            period=300,
            periods=2,
        )
    ]
    if any(FAMILIES[pool.family].gpu for pool in aws.pools):
        found.append(
            Alarm(
                "gpus-idle",
                f"A GPU node's GPUs do nothing for {GPU_IDLE_HOURS} hours: the alarm's contributors name it; see "
                "devctl list --all",
                None,
                None,
                {},
                GPU_IDLE_PERCENT,
                comparison="LessThanThreshold",
                period=900,
                periods=GPU_IDLE_HOURS * 4,
                # By node: the maximum over all of them would be one busy node's. An alarm on several series has to have
                # both clauses (CloudWatch User Guide, alarm data queries); 500 series are looked at, idle ones first.
                query="SELECT MAX(node_gpu_utilization) "
                "FROM SCHEMA(ContainerInsights, ClusterName, InstanceId, NodeName) "
                f"WHERE ClusterName = '{cluster}' GROUP BY InstanceId, NodeName ORDER BY MAX() ASC",
            )
        )
    return found


def _file_system(file_system_id: pulumi.Input[str] | None) -> list[Alarm]:
    """The alarm on the file system's limit of operations.

    Elastic throughput has no credits to run out of.
    """
    if file_system_id is None:
        return []
    return [
        Alarm(
            "files-busy",
            "The shared file system is at its limit of operations: many small files are slow",
            "AWS/EFS",
            "PercentIOLimit",
            {"FileSystemId": file_system_id},
            IO_LIMIT_PERCENT,
            statistic="Average",
            period=300,
            periods=3,
        )
    ]


def _nat_gateways(nat_gateways: Mapping[str, pulumi.Input[str]]) -> list[Alarm]:
    return [
        Alarm(
            f"nat-{name}-full",
            "A NAT gateway has no port left: connections to the internet fail",
            "AWS/NATGateway",
            "ErrorPortAllocation",
            {"NatGatewayId": gateway},
            1,
            statistic="Sum",
            period=300,
            periods=1,
        )
        for name, gateway in nat_gateways.items()
    ]
