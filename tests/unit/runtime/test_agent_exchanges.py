"""Exchanges with agents on loopback, good ones and hostile ones."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from devservers.observe.agent import AgentPlan, Outcome
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.interfaces import Key
from devservers.runtime.agents import exchange_client
from devservers.runtime.agents.agent_pods import may_be_pod
from devservers.runtime.agents.exchange_client import MAX_ANSWER_BYTES, ExchangeClient, ExchangeError
from devservers.runtime.agents.exchanger import Exchanger
from devservers.runtime.agents.schedule import Agent
from devservers_core.errors import ApiError
from devservers_core.names import AGENT_KEY_ENTRY
from devservers_core.protocol.agent.plan import CONTEXT, IdleRule, Plan, WishAnswer
from devservers_core.types import Json
from tests.support.wait import eventually_async

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RULE = IdleRule(3600, 100, 5, 600)
PLAN = AgentPlan(None, "", deletes=False, grace_seconds=120, idle=RULE, extend_seconds=0, hold_seconds=0)
MESSAGE = Plan("uid-1", "dev-ann/mydev", 1, None, RULE, 0, 0)

Handler = Callable[[Json, asyncio.StreamWriter], Awaitable[None]]


class FakeAgent:
    """An agent on 127.0.0.1 that answers as its handler does, and keeps the plans it got."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.handler = handler or answer()
        self.plans: list[Json] = []
        self.envelopes: list[Json] = []
        self.port = 0

    async def __aenter__(self) -> FakeAgent:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = int(head.lower().split("content-length:")[1].split("\r\n")[0])
            self.envelopes.append(json.loads(await reader.readexactly(size)))
            self.plans.append(json.loads(self.envelopes[-1]["plan"]))
            await self.handler(self.plans[-1], writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def answer(status: str = "200 OK", **changes: Any) -> Handler:
    """A handler that sends a report, with some fields changed."""

    async def handle(plan: Json, writer: asyncio.StreamWriter) -> None:
        report = {"version": 1, "podUid": plan["podUid"], "counter": plan["counter"], "idleSeconds": 60,
                  "source": "cpu"} | changes  # fmt: skip
        writer.write(f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{json.dumps(report)}".encode())
        await writer.drain()

    return handle


def raw(*pieces: bytes, pause: float = 0.0) -> Handler:
    """A handler that sends bytes."""

    async def handle(_: Json, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return handle


async def hang(_: Json, writer: asyncio.StreamWriter) -> None:
    """A handler that never answers."""
    await asyncio.sleep(3600)


def drip() -> Handler:
    """A handler that sends a byte now and then, so that no read ever takes long."""
    return raw(*[b"H"] * 1000, pause=0.05)


def test_client_with_a_good_agent_returns_its_report() -> None:
    async def main() -> None:
        async with FakeAgent() as agent:
            report = await ExchangeClient(agent.port).exchange("127.0.0.1", MESSAGE, MESSAGE.envelope(lambda _: b"s"))
        assert (report.idle_seconds, report.source) == (60, "cpu")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        pytest.param(hang, "did not answer in time", id="silent"),
        pytest.param(drip(), "did not answer in time", id="dripping"),
        pytest.param(raw(b"HTTP/1.0 200 OK\r\n\r\n", *[b" " * 65536] * 2000), "larger than 16384 bytes", id="huge"),
        pytest.param(raw(b"x" * 4096), "is not HTTP", id="no HTTP"),
        pytest.param(raw(b""), "is not HTTP", id="closing"),
        pytest.param(raw(b"HTTP/1.0\r\n\r\n"), "is not HTTP", id="no status"),
        pytest.param(answer("302 Found"), "status 302", id="redirecting"),
        pytest.param(answer("500 \xff"), "status 500", id="failing"),
        pytest.param(answer(podUid="another"), "another pod's", id="stranger"),
        pytest.param(answer(counter=0), "answers another plan", id="replaying"),
        pytest.param(answer(idleSeconds=-(10**9)), "idleSeconds is not", id="from 2099"),
        pytest.param(answer(idleSeconds=10**12), "idleSeconds is not", id="from the past"),
    ],
)
def test_client_with_a_hostile_agent_refuses_its_answer_in_time(
    handler: Handler, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_client, "EXCHANGE_SECONDS", 0.5)

    async def main() -> None:
        async with FakeAgent(handler) as agent:
            began = time.monotonic()
            with pytest.raises(ExchangeError, match=message):
                await ExchangeClient(agent.port).exchange("127.0.0.1", MESSAGE, MESSAGE.envelope(lambda _: b"s"))
            assert time.monotonic() - began < 5

    asyncio.run(main())


def test_client_with_a_closed_port_says_so() -> None:
    async def main() -> None:
        async with FakeAgent() as agent:
            port = agent.port
        with pytest.raises(ExchangeError, match="can't be reached"):
            await ExchangeClient(port).exchange("127.0.0.1", MESSAGE, b"{}")

    asyncio.run(main())


def test_client_reads_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def flood(_: Json, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _number in range(1600):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async def main() -> None:
        async with FakeAgent(flood) as agent:
            with pytest.raises(ExchangeError, match="larger"):
                await ExchangeClient(agent.port).exchange("127.0.0.1", MESSAGE, MESSAGE.envelope(lambda _: b"s"))

    asyncio.run(main())
    # What the kernel's buffers take besides is the kernel's.
    assert sent < 16 * 2**20 + MAX_ANSWER_BYTES


class FakeKeys:
    """The Secrets of a namespace."""

    def __init__(self) -> None:
        self.secrets: dict[str, Json] = {}

    async def get(self, kind: str, namespace: str, name: str) -> Json:

        if name not in self.secrets:
            raise ApiError(404, "NotFound", "not found")
        return self.secrets[name]

    async def create(self, obj: Json) -> Json:
        self.secrets[obj["metadata"]["name"]] = obj
        return obj


def pod(uid: str = "uid-1", name: str = "mydev", address: str = "127.0.0.1", **spec: Any) -> Json:
    return {
        "metadata": {"name": f"{name}-x", "namespace": "dev-ann", "uid": uid, "labels": {"devservers.io/name": name}},
        "spec": {"containers": [{"name": "dev", "ports": [{"name": "agent"}]}], **spec},
        "status": {
            "phase": "Running",
            "podIP": address,
            "containerStatuses": [{"name": "dev", "state": {"running": {"startedAt": "2026-11-30T11:00:00Z"}}}],
        },
    }


class Scene:
    """An exchanger over pods, with one agent for all of them."""

    def __init__(self, agent: FakeAgent, *pods: Json) -> None:
        self.pods = list(pods or [pod()])
        self.lists = 0
        self.keys: list[Key] = []
        self.now = NOW
        self.secrets = FakeKeys()
        self.exchanger = Exchanger(
            self,  # type: ignore[arg-type]
            SigningKey(self.secrets, "devservers-system"),  # type: ignore[arg-type]
            ExchangeClient(agent.port),
            self.keys.append,
            now=lambda: self.now,
            allowed=lambda address: address.startswith("127."),
        )

    def list(self, kind: str, namespace: str | None = None) -> list[Json]:
        self.lists += 1
        return self.pods

    def changes(self, kind: str) -> int:
        return zlib.crc32(json.dumps(self.pods).encode())

    async def final(self, plan: AgentPlan, of: Json | None = None) -> Outcome:
        """What a reconcile gets that asks, and comes back when its key is queued."""
        return await self._asked(lambda: self.exchanger.final("dev-ann", "mydev", of or self.pods[0], plan))

    async def refresh(self) -> Outcome:
        return await self._asked(lambda: self.exchanger.refresh("dev-ann", "mydev", self.pods[0]))

    async def _asked(self, ask: Callable[[], Outcome | None]) -> Outcome:
        queued = len(self.keys)
        outcome = ask()
        if outcome is None:
            await eventually_async(lambda: len(self.keys) > queued and ask() is not None, "the key")
            outcome = ask()
        assert outcome is not None
        return outcome


def run(
    test: Callable[[Scene, FakeAgent], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    *pods: Json,
    handler: Handler | None = None,
) -> None:
    monkeypatch.setattr("devservers.runtime.agents.exchanger.TICK_SECONDS", 0.01)
    monkeypatch.setattr("devservers.runtime.agents.exchanger.LIST_SECONDS", 0.05)
    monkeypatch.setattr("devservers.runtime.agents.schedule.INTERVAL", 0.2)
    monkeypatch.setattr("devservers.runtime.agents.schedule.SHORT_INTERVAL", 0.1)

    async def main() -> None:
        async with FakeAgent(handler) as agent:
            scene = Scene(agent, *pods)
            running = asyncio.create_task(scene.exchanger.run())
            try:
                await test(scene, agent)
                assert not running.done()
            finally:
                running.cancel()

    asyncio.run(main())


def test_exchanger_without_a_plan_asks_for_a_reconcile_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        await eventually_async(lambda: Key("DevServer", "dev-ann", "mydev") in scene.keys, "the exchange")
        assert agent.plans == []

    run(test, monkeypatch)


def test_exchanger_sends_the_signed_plan_and_keeps_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        stop = NOW + timedelta(minutes=14)
        plan = AgentPlan(stop, "expired", False, 120, RULE, 3600, 60, hold_until=NOW + timedelta(seconds=9),
                         hold_reason="run", answers=(WishAnswer("w", True, "ok"),))  # fmt: skip
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", plan)
        await eventually_async(lambda: len(agent.plans) >= 2, "the exchange")
        first, second = agent.plans[:2]
        assert first["stop"] == {"inSeconds": 840, "reason": "expired", "deletes": False, "gracePeriodSeconds": 120}
        assert first["hold"] == {"secondsLeft": 9, "reason": "run"}
        assert (first["podUid"], first["server"]) == ("uid-1", "dev-ann/mydev")
        assert second["counter"] > first["counter"]
        state = scene.exchanger.state("dev-ann", "mydev", "uid-1")
        assert state is not None
        assert (state.last_activity, state.source) == (NOW - timedelta(seconds=60), "cpu")
        assert scene.exchanger.state("dev-ann", "mydev", "uid-2") is None, "another pod of that name"
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(await scene.exchanger._key.public()))
        envelope = agent.envelopes[0]
        public.verify(base64.b64decode(envelope["signature"]), CONTEXT + envelope["plan"].encode())

    run(test, monkeypatch)


def _stops_in(agent: FakeAgent, seconds: int) -> bool:
    return bool((agent.plans[-1]["stop"] or {}).get("inSeconds") == seconds)


def test_exchanger_sends_a_changed_stop_out_of_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 1, "the exchange")
        monkeypatch.setattr("devservers.runtime.agents.schedule.INTERVAL", 3600.0)
        # The first change may go with an exchange that was due before; the next one is an hour away then.
        for hours in (2, 3):
            extended = AgentPlan(NOW + timedelta(hours=hours), "expired", False, 120, RULE, 0, 0)
            scene.exchanger.plan("dev-ann", "mydev", "uid-1", extended)
            await eventually_async(partial(_stops_in, agent, hours * 3600), "the exchange")

    run(test, monkeypatch)


def test_exchanger_sends_nothing_after_the_last_plan_until_the_server_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old plan after the last one would call the stop off in the terminals."""

    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 1, "the exchange")
        await scene.final(PLAN)
        await asyncio.sleep(0.05)  # a turn that had begun before
        sent = len(agent.plans)
        await asyncio.sleep(0.6)  # three turns
        assert len(agent.plans) == sent
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) > sent, "the exchange")
        assert not agent.plans[-1]["final"]

    run(test, monkeypatch)


def test_exchanger_brings_answers_alone_out_of_turn_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 1, "the exchange")
        monkeypatch.setattr("devservers.runtime.agents.schedule.INTERVAL", 3600.0)
        monkeypatch.setattr("devservers.runtime.agents.schedule.SHORT_INTERVAL", 3600.0)
        await asyncio.sleep(0.5)  # what was due before
        sent = len(agent.plans)
        for number in range(10):
            answered = replace(PLAN, answers=(WishAnswer(f"w{number}", False, "no"),))
            scene.exchanger.plan("dev-ann", "mydev", "uid-1", answered)
            await asyncio.sleep(0.1)
        assert len(agent.plans) == sent + 1

    run(test, monkeypatch)


@pytest.mark.parametrize(
    ("report", "queued"),
    [
        ({}, False),
        ({"idleSeconds": None}, True),
        ({"unreadable": ["ssh"]}, True),
        ({"oomKills": 1}, True),
        ({"setup": [{"step": "script", "exitCode": 1, "seconds": 9}]}, True),
        ({"wishes": [{"id": "a", "kind": "extend", "seconds": 60}]}, True),
    ],
)
def test_exchanger_queues_a_server_when_a_report_changes_what_is_decided(
    report: dict[str, Any], queued: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 2, "the exchange")
        assert scene.keys == [Key("DevServer", "dev-ann", "mydev")], "the first report, and nothing after it"
        agent.handler = answer(**report)
        seen = len(agent.plans)
        await eventually_async(lambda: len(agent.plans) >= seen + 3, "the exchange")
        assert len(scene.keys) == (2 if queued else 1), "once, however often the report comes"

    run(test, monkeypatch)


def test_exchanger_with_activity_that_moves_back_keeps_the_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile agent that is idle for an hour in every other report announces no stop in each of them."""

    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 2, "the exchange")
        agent.handler = answer(idleSeconds=3600, source="ssh")
        seen = len(agent.plans)
        await eventually_async(lambda: len(agent.plans) >= seen + 3, "the exchange")
        state = scene.exchanger.state("dev-ann", "mydev", "uid-1")
        assert state is not None
        assert (state.last_activity, state.source) == (NOW - timedelta(seconds=60), "cpu")

    run(test, monkeypatch)


def test_exchanger_asks_only_pods_of_people_that_run_and_have_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pod()
    elsewhere = pod("uid-2", "other")
    elsewhere["metadata"]["namespace"] = "kube-system"
    older = pod("uid-3", "old")
    del older["spec"]["containers"][0]["ports"]
    starting = pod("uid-4", "starting")
    starting["status"]["containerStatuses"] = []
    ended = pod("uid-5", "ended")
    ended["status"]["phase"] = "Failed"
    not_allowed = pod("uid-6", "odd", address="10.0.0.1")
    node = pod("uid-7", "node", hostNetwork=True)

    async def test(scene: Scene, agent: FakeAgent) -> None:
        for item in scene.pods:
            metadata = item["metadata"]
            name = metadata["labels"]["devservers.io/name"]
            scene.exchanger.plan(metadata["namespace"], name, metadata["uid"], PLAN)
        await eventually_async(lambda: len(agent.plans) >= 4, "the exchange")
        assert {plan["podUid"] for plan in agent.plans} == {"uid-1"}

    run(test, monkeypatch, asked, elsewhere, older, starting, ended, not_allowed, node)


def test_exchanger_with_hostile_agents_goes_on_asking_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """More silent agents than there are exchanges at a time delay the others by the bound of one exchange."""
    monkeypatch.setattr(exchange_client, "EXCHANGE_SECONDS", 0.3)
    good = pod("good", "good")
    silent = [pod(f"uid-{number}", f"s{number}") for number in range(40)]

    async def handle(plan: Json, writer: asyncio.StreamWriter) -> None:
        await (answer() if plan["podUid"] == "good" else hang)(plan, writer)

    async def test(scene: Scene, agent: FakeAgent) -> None:
        for item in scene.pods:
            metadata = item["metadata"]
            scene.exchanger.plan("dev-ann", metadata["labels"]["devservers.io/name"], metadata["uid"], PLAN)
        await eventually_async(lambda: [plan["podUid"] for plan in agent.plans].count("good") >= 5, "the exchange")

    run(test, monkeypatch, good, *silent, handler=handle)


def test_exchanger_final_returns_the_last_lines_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devservers.runtime.agents.out_of_turn.ASKING_SECONDS", 0.3)
    stop = AgentPlan(NOW, "expired", False, 120, RULE, 0, 0)

    async def test(scene: Scene, agent: FakeAgent) -> None:
        outcome = await scene.final(stop)
        assert outcome.state is not None
        assert outcome.state.report.lines == ("Epoch 3",)
        assert agent.plans[-1]["final"] is True
        assert agent.plans[-1]["stop"]["inSeconds"] == 0
        agent.handler = hang
        assert await scene.final(stop) == outcome, "once is enough"
        assert (await scene.final(stop, scene.pods[1])).state is None
        assert (await scene.final(stop, pod("uid-3", address="10.0.0.1"))).state is None

    run(test, monkeypatch, pod(), pod("uid-2"), handler=answer(lines=["Epoch 3"]))


def test_exchanger_leaves_an_agent_alone_that_is_silent_out_of_turn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers in its turn, so it never fails twice in a row; the slots of requests are for others too."""

    async def test(scene: Scene, agent: FakeAgent) -> None:
        for _ in range(2):
            scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
            exchanged = scene.exchanger._agents[Agent("dev-ann", "mydev", "uid-1")]
            before = exchanged.silences
            monkeypatch.setattr(scene.exchanger._client, "_port", 1)
            assert await scene.refresh() == Outcome(None)
            assert exchanged.silences == before + 1
            monkeypatch.setattr(scene.exchanger._client, "_port", agent.port)
            exchanged.failures = 0  # as by an answer in its turn
            scene.exchanger._out_of_turn.forget(Agent("dev-ann", "mydev", "uid-1"))
        assert scene.exchanger.refresh("dev-ann", "mydev", scene.pods[0]) == Outcome(None), "at once"
        scene.now += timedelta(minutes=5)
        scene.exchanger._out_of_turn.forget(Agent("dev-ann", "mydev", "uid-1"))
        assert (await scene.refresh()).state is not None

    run(test, monkeypatch)


def test_exchanger_waits_for_no_agent_that_failed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that died with a hundred servers delays no other server's stop."""
    monkeypatch.setattr("devservers.runtime.agents.schedule.MAX_BACKOFF", 0.05)
    stop = AgentPlan(NOW, "expired", False, 120, RULE, 0, 0)

    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 4, "the exchanges that fail")
        assert scene.exchanger.final("dev-ann", "mydev", scene.pods[0], stop) == Outcome(None)
        assert not any(plan["final"] for plan in agent.plans)

    run(test, monkeypatch, handler=answer("500 Internal Server Error"))


def test_exchanger_refresh_returns_what_the_agent_reports_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        assert scene.exchanger.refresh("dev-ann", "mydev", scene.pods[0]) == Outcome(None), "no plan yet"
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 1, "the exchange")
        agent.handler = answer(idleSeconds=0, source="terminal")
        state = (await scene.refresh()).state
        assert state is not None
        assert (state.last_activity, state.source) == (NOW, "terminal")
        assert agent.plans[-1]["final"] is False
        assert (await scene.refresh()).state is state, "until the next plan"
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        agent.handler = answer("500 failing")
        assert (await scene.refresh()).state is None, "an old answer is none"

    run(test, monkeypatch)


def test_exchanger_lists_pods_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        await eventually_async(lambda: len(agent.plans) >= 5, "five exchanges")
        assert scene.lists == 1
        scene.pods = [*scene.pods, pod()]
        await eventually_async(lambda: scene.lists == 2, "a list after the change")

    run(test, monkeypatch)


def test_exchanger_keeps_nothing_of_pods_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not of one that was never seen running between two looks, or of which the last report was asked for."""
    monkeypatch.setattr("devservers.runtime.agents.out_of_turn.RETRY", timedelta(seconds=0.1))
    monkeypatch.setattr("devservers.runtime.agents.exchanger.LIST_ANYWAY_SECONDS", 0.05)

    async def test(scene: Scene, agent: FakeAgent) -> None:
        scene.exchanger.plan("dev-ann", "mydev", "uid-1", PLAN)
        scene.exchanger.plan("dev-ann", "mydev", "uid-never", PLAN)
        await scene.final(PLAN)
        scene.pods = []
        await eventually_async(lambda: not scene.exchanger._agents, "what is kept of them to go")
        assert scene.exchanger._out_of_turn.get(Agent("dev-ann", "mydev", "uid-1")) is None

    run(test, monkeypatch)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "fe80::1", "::1", "0.0.0.0", "224.0.0.1", "", "host"]
)
def test_address_that_belongs_to_no_pod_is_not_asked(address: str) -> None:
    assert not may_be_pod(address)


@pytest.mark.parametrize("address", ["10.244.0.7", "100.64.0.9", "fd00::7", "192.168.1.2"])
def test_address_of_a_pod_is_asked(address: str) -> None:
    assert may_be_pod(address)


def test_signing_key_that_is_broken_is_named_and_not_quoted() -> None:

    keys = FakeKeys()
    keys.secrets["agent-signing-key"] = {"data": {AGENT_KEY_ENTRY: "c2VjcmV0"}}

    async def main() -> None:
        with pytest.raises(ApiError, match="agent-signing-key can't be used; delete it") as error:
            await SigningKey(keys, "devservers-system").signer()  # type: ignore[arg-type]
        assert "c2VjcmV0" not in str(error.value)

    asyncio.run(main())


def test_signing_key_is_created_once_and_read_again() -> None:
    keys = FakeKeys()

    async def main() -> None:
        first = await SigningKey(keys, "devservers-system").public()  # type: ignore[arg-type]
        again = await SigningKey(keys, "devservers-system").public()  # type: ignore[arg-type]
        assert first == again
        private = Ed25519PrivateKey.from_private_bytes(
            base64.b64decode(keys.secrets["agent-signing-key"]["data"][AGENT_KEY_ENTRY])
        )
        assert base64.b64encode(private.public_key().public_bytes_raw()).decode() == first

    asyncio.run(main())
