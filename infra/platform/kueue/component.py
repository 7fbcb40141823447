"""Kueue's Helm release and the queues of a stack.

Invariant: when the queues are there, so is Kueue, and it answers; when Kueue goes, the queues are gone.

Everything that has pods in a queue is made after this component and goes before it: Kueue puts a finalizer on such
pods, and without it they would stay for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pulumi
from pulumi_kubernetes.helm.v3 import Release

from devservers_core.names import KUEUE_NAMESPACE
from infra.platform.kueue import installation, objects
from infra.platform.manifest import TIMEOUT_SECONDS, WAIT_FOR, Component, annotated
from infra.platform.pools import Pool
from infra.settings.stack import Settings

_WEBHOOK_UNREACHABLE = "failed calling webhook"
"""What the API server says of an object whose webhook it can't reach."""
_MAX_TRIES = 90
"""Pulumi itself gives up after 100."""
_SHORT_PAUSES = 20
_SHORT_PAUSE_SECONDS = 0.5
"""Seconds between the first tries."""


class Queueing(Component):
    """Kueue with its namespace, then the queues of the pools (objects.py)."""

    def __init__(self, pools: Sequence[Pool], settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__("queueing", opts)
        namespace = self.add(installation.namespace())
        policies = [self.add(policy, [namespace]) for policy in installation.policies()]
        chart = settings.queueing.chart
        release = Release(
            "kueue",
            name=installation.RELEASE,
            namespace=KUEUE_NAMESPACE,
            chart=chart or installation.CHART,
            version=None if chart else installation.VERSION,
            values=installation.values(settings),
            timeout=settings.await_seconds,
            skip_await=not settings.await_,
            # Each is kept in a Secret; that many to go back to are enough.
            max_history=3,
            opts=self.options([namespace, *policies]),
        )
        ready = pulumi.ErrorHook("kueue-answers", retry_while_webhook_starts(settings.await_seconds))
        hooks = pulumi.ResourceHookBinding(on_error=[ready])
        flavors = [self.add(each, [release], hooks) for each in objects.resource_flavors(pools)]
        for manifest in objects.priority_classes():
            self.add(manifest, [release])
        active = {WAIT_FOR: "condition=Active", TIMEOUT_SECONDS: str(settings.await_seconds)}
        for manifest in objects.cluster_queues(pools, settings.queueing.interactive_share):
            self.add(annotated(manifest, active if settings.await_ else {}), [release, *flavors])
        self.register_outputs({"version": installation.VERSION, "pools": [pool.name for pool in pools]})


def retry_while_webhook_starts(seconds: int) -> Callable[[pulumi.ErrorHookArgs], Coroutine[None, None, bool]]:
    """An error hook that retries objects while Kueue's webhook isn't reachable yet.

    A pod is ready a moment before the Service routes to it.
    """

    async def answer(failed: pulumi.ErrorHookArgs) -> bool:
        tries = len(failed.errors)
        if tries > _MAX_TRIES or _WEBHOOK_UNREACHABLE not in failed.errors[0]:
            return False
        await asyncio.sleep(_SHORT_PAUSE_SECONDS if tries <= _SHORT_PAUSES else seconds / _MAX_TRIES)
        return True

    return answer
