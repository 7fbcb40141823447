"""Limits on storage, servers and spec size, with Kubernetes' own quota controller."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.limits import LIMITS, claim_of, counted, person_of, quota_when
from tests.support.cluster.operator_process import (
    API,
    OPERATOR,
    SYSTEM,
    FakeKubelet,
    OperatorProcess,
    World,
    condition_of,
    flavor,
    operator_for,
    ready,
    server_of,
)
from tests.support.wait import eventually

_names = itertools.count(1)


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    with FakeKubelet(controllers.admin, steps=False), operator_for(controllers, **LIMITS) as process:
        yield process


@pytest.fixture(scope="module")
def world(controllers: ApiServer) -> World:
    return World(controllers.admin)


@pytest.fixture
def eve() -> str:
    """A name of this test's own."""
    return f"eve{next(_names)}"


def test_claim_made_by_hand_is_held_to_both_limits(operator: OperatorProcess, world: World, eve: str) -> None:
    """A person may make claims without a server; each has a largest size, and all together have one."""
    world.add_user(eve)
    counted(world, eve)
    person = person_of(operator, eve)
    with pytest.raises(ApiError, match="maximum storage usage per PersistentVolumeClaim is 30Gi, but request is 500Ti"):
        person.create(claim_of(eve, "huge", "500Ti"))
    person.create(claim_of(eve, "one", "30Gi"))
    with pytest.raises(ApiError, match=r"exceeded quota: dev-user, requested: requests.storage=30Gi, used: .*=30Gi"):
        person.create(claim_of(eve, "two", "30Gi"))
    person.create(claim_of(eve, "two", "20Gi"))


def test_user_quota_overrides_the_stacks(operator: OperatorProcess, world: World, eve: str) -> None:
    world.add_user(eve, quota={"storage": "5Gi", "servers": 1})
    hard = counted(world, eve)
    assert (hard["requests.storage"], hard["count/devservers.devservers.io"]) == ("5Gi", "1")
    with pytest.raises(ApiError, match="exceeded quota"):
        person_of(operator, eve).create(claim_of(eve, "one", "6Gi"))


def test_server_count_quota_includes_stopped_servers(
    operator: OperatorProcess, world: World, eve: str, tmp_path: Path
) -> None:
    """The quota controller knows a new kind within half a minute of its installation; devctl waits for that."""
    world.add_user(eve)
    devctl = Devctl(tmp_path, operator.server.kubeconfig_for("test-admin", ("system:masters",)), eve)
    for name in ("one", "two", "three"):
        devctl("create", name, "cpu-small", "--ephemeral")
    devctl("stop", "one")
    refused = devctl("create", "four", "cpu-small", "--ephemeral", code=6)
    assert "3" in refused.stderr


def test_home_over_the_quota_waits_with_the_numbers_until_there_is_room(
    operator: OperatorProcess, world: World, eve: str
) -> None:
    world.add_user(eve)
    counted(world, eve)
    world.admin.create(server_of(eve, "first", persistentHomeSize="30Gi"))
    world.wait_reason(eve, "first", "Running")
    # Its home stays, and counts.
    world.admin.delete(API, "DevServer", "first", f"dev-{eve}")
    world.admin.create(server_of(eve, "second", persistentHomeSize="21Gi"))
    waiting = world.wait_reason(eve, "second", "QuotaExceeded")
    assert waiting["status"]["phase"] == "Pending"
    assert ready(waiting)["message"].startswith("Its home asks for 21Gi; 30Gi of the 50Gi that all your volumes may")
    world.admin.create(server_of(eve, "huge", persistentHomeSize="31Gi"))
    assert "Its home asks for 31Gi, and a volume may have 30Gi at most." in ready(
        world.wait_reason(eve, "huge", "QuotaExceeded")
    )["message"]  # fmt: skip
    world.admin.patch(API, "DevServer", "second", {"spec": {"persistentHomeSize": "20Gi"}}, f"dev-{eve}")
    world.wait_reason(eve, "second", "Running")


def test_devctl_create_over_the_storage_quota_lists_homes_by_size(
    operator: OperatorProcess, world: World, eve: str, tmp_path: Path
) -> None:
    world.add_user(eve)
    counted(world, eve)
    devctl = Devctl(tmp_path, operator.server.kubeconfig_for("test-admin", ("system:masters",)), eve)
    for name, size in (("small", "5Gi"), ("large", "30Gi")):
        devctl("create", name, "cpu-small", "--home-size", size)
        world.wait_reason(eve, name, "Running")
    devctl("delete", "large", "--yes")
    _used(world, eve, "35Gi")

    refused = devctl("create", "more", "cpu-small", "--home-size", "16Gi", code=6)
    assert "16Gi" in refused.stderr
    assert "35Gi" in refused.stderr
    assert "50Gi" in refused.stderr
    assert refused.stderr.index("large-home 30Gi (kept)") < refused.stderr.index("small-home 5Gi")
    assert "devctl delete NAME --purge" in refused.stderr
    assert "30Gi at most" in devctl("create", "more", "cpu-small", "--home-size", "31Gi", code=6).stderr
    assert not world.admin.find(API, "DevServer", "more", f"dev-{eve}")
    # The home that is there already is counted, and asks for nothing more.
    devctl("create", "large", "cpu-small", "--home-size", "30Gi")
    devctl("create", "more", "cpu-small", "--home-size", "15Gi")


def test_deployment_refused_by_the_api_server_is_not_retried_endlessly(
    operator: OperatorProcess, world: World, eve: str
) -> None:
    """Control characters are six bytes each in the annotation that holds the pod: above what the API server takes."""
    world.add_user(eve)
    writer = operator.server.service_account(SYSTEM, OPERATOR)[0]
    mark = operator.server.audit_mark()
    world.admin.create(server_of(eve, "big", env=_unreadable()))
    refused = world.wait_reason(eve, "big", "InvalidSpec")
    assert refused["status"]["phase"] == "Failed"
    assert "metadata.annotations: Too long" in ready(refused)["message"]
    for name in ("a1", "a2"):  # time for more tries: each takes many passes
        world.admin.create(server_of(eve, name))
        world.wait_reason(eve, name, "Running")
    tried = [
        each for each in operator.server.writes(writer, mark) if each.resource == "deployments" and each.code == 422
    ]
    assert len(tried) <= 2, tried
    world.admin.patch(API, "DevServer", "big", {"spec": {"env": []}}, f"dev-{eve}")
    world.wait_reason(eve, "big", "Running")
    # A running one goes on as it was, and says so.
    world.admin.patch(API, "DevServer", "big", {"spec": {"env": _unreadable()}}, f"dev-{eve}")
    told = world.wait(eve, "big", lambda server: "without the last change" in ready(server)["message"], "told")
    assert ready(told)["reason"] == "Running"


def test_user_with_an_unknown_flavor_has_a_condition_until_it_exists(
    operator: OperatorProcess, world: World, eve: str
) -> None:
    world.add_user(eve, flavors=["cpu-small", f"{eve}-typo"])

    def found() -> Json:
        return condition_of(world.admin.get(API, "DevServerUser", eve), "FlavorsFound")

    said = eventually(found, "the condition")
    assert (said["status"], said["reason"]) == ("False", "FlavorNotFound")
    assert said["message"].startswith(f"There is no flavor {eve}-typo. ")
    world.admin.apply(flavor(f"{eve}-typo"))
    eventually(lambda: not found(), "no condition")


def test_server_without_owner_shows_its_user_in_the_status(operator: OperatorProcess, world: World, eve: str) -> None:
    world.add_user(eve)
    server = server_of(eve, "mydev")
    del server["spec"]["owner"]
    world.admin.create(server)
    assert world.wait_reason(eve, "mydev", "Running")["status"]["user"] == eve


def test_operator_role_binding_for_another_account_is_refused(
    operator: OperatorProcess, world: World, eve: str
) -> None:
    world.add_user(eve)
    stolen = operator.server.client_for(*operator.server.service_account(SYSTEM, OPERATOR))
    me = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM}
    everybody = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}
    person = {"kind": "ServiceAccount", "name": "devctl", "namespace": f"dev-{eve}"}
    for role, subjects in (
        ("dev-user", [me]),
        ("dev-user", [everybody]),
        ("dev-user", [person, everybody]),
        ("dev-user", [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "devctl"}]),
        ("dev-user", [{**person, "namespace": "dev-somebody"}]),
        ("devservers-person-token", [me]),
        ("devservers-operator-tenant", [person]),
    ):
        with pytest.raises(ApiError, match="binds each of its three roles to the one account") as caught:
            stolen.create(_binding(eve, role, subjects))
        assert caught.value.status == 403
    for role, subject in (
        ("dev-user", person),
        ("devservers-person-token", {"kind": "ServiceAccount", "name": "bastion", "namespace": "devservers-bastion"}),
        ("devservers-operator-tenant", me),
    ):
        stolen.create(_binding(eve, role, [subject]), dryRun="All")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    with pytest.raises(ApiError) as caught:
        stolen.request("POST", f"/api/v1/namespaces/dev-{eve}/serviceaccounts/devctl/token", body)
    assert caught.value.status == 403


def _binding(user: str, role: str, subjects: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "stolen", "namespace": f"dev-{user}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _unreadable() -> list[Json]:
    return [{"name": f"V{number}", "value": "\x01" * 25000} for number in range(2)]


def _used(world: World, user: str, storage: str) -> None:
    quota_when(
        world,
        user,
        lambda quota: ((quota.get("status") or {}).get("used") or {}).get("requests.storage") == storage,
        f"{user} to use {storage}",
    )
