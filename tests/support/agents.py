"""Fake agents: one HTTP server that answers for many pods, well or badly.

It runs as a program of its own (`python -m tests.support.agents PORT`), so that its processor time is not the
operator's. Which address a request came to decides what the agent is like.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from aiohttp import web

from devservers_core.protocol.agent.exchange import PATH, VERSION

KINDS = ("good", "silent", "huge", "stranger")
"""What an agent may be like: it answers, never answers, answers 100 MB, or answers with another pod's uid."""
HUGE_BYTES = 100 * 2**20


def kind_of(address: str) -> str:
    """What the agent at a loopback address 127.K.x.y is like; K is 10 plus the number of its kind."""
    second = int(address.split(".")[1])
    return KINDS[second - 10] if 10 <= second < 10 + len(KINDS) else "good"


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    plan = json.loads(body["plan"])
    socket = request.transport.get_extra_info("sockname") if request.transport else ("127.0.0.1",)
    kind = kind_of(socket[0])
    if kind == "silent":
        await asyncio.sleep(3600)
    if kind == "huge":
        response = web.StreamResponse(headers={"Content-Length": str(HUGE_BYTES)})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the operator has read enough
            for _ in range(HUGE_BYTES // 65536):
                await response.write(bytes(65536))
        return response
    uid = plan["podUid"] if kind == "good" else "another"
    report = {
        "version": VERSION,
        "podUid": uid,
        "counter": plan["counter"],
        "idleSeconds": 5,
        "source": "terminal",
        "signals": {"terminal": 5, "ssh": 7, "cpu": 30},
        "volumes": [{"path": "/home/dev", "usedBytes": 1 << 30, "sizeBytes": 10 << 30}],
    }
    return web.json_response(report)


def main() -> None:
    """Serves until SIGTERM; silent agents' connections are cut then."""
    application = web.Application()
    application.router.add_post(PATH, _answer)
    web.run_app(application, host="0.0.0.0", port=int(sys.argv[1]), access_log=None, print=None, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
