"""The HTTP server for liveness and readiness probes and for Prometheus.

Invariant: healthy means that the API server answered lately and no key is stuck. The server runs on the event loop that
reconciles, so a stuck loop fails the probe. A standby is healthy and ready while it can read the Lease.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web


class HealthServer:
    """Serves /healthz and /readyz on one port and /metrics on another; port 0 leaves one out."""

    def __init__(
        self,
        listen: str,
        health_port: int,
        metrics_port: int,
        problems: Callable[[], list[str]],
        render: Callable[[], bytes],
    ) -> None:
        """Takes `problems`, which lists what is wrong (empty: healthy), and `render`, the metrics' text."""
        self._listen = listen
        self._ports = (health_port, metrics_port)
        self._problems = problems
        self._render = render
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Opens the ports."""
        health = web.Application()
        health.router.add_get("/healthz", self._health)
        health.router.add_get("/readyz", self._health)
        metrics = web.Application()
        metrics.router.add_get("/metrics", self._metrics)
        for application, port in zip((health, metrics), self._ports, strict=True):
            if port:
                runner = web.AppRunner(application, access_log=None)
                await runner.setup()
                await web.TCPSite(runner, self._listen, port).start()
                self._runners.append(runner)

    async def stop(self) -> None:
        """Closes the ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        problems = self._problems()
        return web.Response(text="; ".join(problems) or "ok", status=503 if problems else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
