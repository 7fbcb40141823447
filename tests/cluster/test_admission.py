"""The rules between a server and its user's namespace, in force with no operator running."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.cluster.client import ApiError, Client, Manifest, eventually
from tests.cluster.conftest import install
from tests.cluster.harness import ApiServer

Namespaces = Callable[[str], str]


def _server(namespace: str, flavor: str = "cpu-small", **spec: object) -> Manifest:
    return {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServer",
        "metadata": {"name": "mydev", "namespace": namespace},
        "spec": {"flavor": flavor, **spec},
    }


def _allow(admin: Client, namespace: str, flavors: str | None) -> None:
    annotation = {"metadata": {"annotations": {"devservers.io/allowed-flavors": flavors}}}
    admin.patch("v1", "Namespace", namespace, annotation)


def _refusal(attempt: Callable[..., object]) -> str:
    """What is said against it; a dry run waits for the policy to see the namespace as it is.

    The API server reads namespaces from a watch of its own: for a moment after a change it judges by what was.
    """

    def refused() -> bool:
        try:
            attempt(dryRun="All")
        except ApiError as error:
            return "is not allowed here" in error.message
        return False

    eventually(refused, "the policy to see the namespace as it is")
    with pytest.raises(ApiError) as caught:
        attempt()
    return caught.value.message


@pytest.mark.parametrize("flavors", ["*", "cpu-small", "cpu-large,cpu-small", " cpu-small , cpu-large", "gpu,*"])
def test_an_allowed_flavor_is_accepted(flavors: str, restricted_namespace: Namespaces, admin: Client) -> None:
    admin.create(_server(restricted_namespace(flavors)))


@pytest.mark.parametrize(
    ("flavors", "advice"),
    [
        ("cpu-large,gpu", "choose one of cpu-large, gpu"),
        ("cpu-small-2", "choose one of cpu-small-2"),
        ("xcpu-small", "choose one of xcpu-small"),
        ("", "ask your administrator for one"),
    ],
)
def test_another_flavor_is_refused(flavors: str, advice: str, restricted_namespace: Namespaces, admin: Client) -> None:
    with pytest.raises(ApiError) as caught:
        admin.create(_server(restricted_namespace(flavors)))
    assert caught.value.status == 403
    assert caught.value.message.endswith(f"denied request: flavor cpu-small is not allowed here; {advice}")


def test_no_annotation_allows_nothing(namespace: str, admin: Client) -> None:
    _allow(admin, namespace, None)
    said = _refusal(partial(admin.create, _server(namespace)))
    assert "flavor cpu-small is not allowed here; ask your administrator for one" in said


def test_changing_to_a_flavor_that_is_not_allowed_is_refused(restricted_namespace: Namespaces, admin: Client) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    with pytest.raises(ApiError, match="flavor gpu is not allowed here; choose one of cpu-small"):
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"flavor": "gpu"}}, namespace)


def test_a_server_whose_flavor_was_taken_away_can_be_changed_and_stopped_but_not_started(
    restricted_namespace: Namespaces, admin: Client
) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    _allow(admin, namespace, "cpu-large")

    def change(dryRun: str = "", **spec: object) -> None:
        query = {"dryRun": dryRun} if dryRun else {}
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": spec}, namespace, **query)

    change(command=["sleep", "9"])
    change(running=False)
    said = _refusal(partial(change, running=True))
    assert "flavor cpu-small is not allowed here; choose one of cpu-large" in said
    change(running=True, flavor="cpu-large")


def test_the_operators_writes_go_through_whatever_is_allowed(restricted_namespace: Namespaces, admin: Client) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    _allow(admin, namespace, "")
    server = ("devservers.io/v1", "DevServer", "mydev")
    admin.patch(*server, {"status": {"phase": "Running"}}, namespace, subresource="status")
    admin.patch(*server, {"metadata": {"annotations": {"devservers.io/applied": "x"}}}, namespace)


def test_a_server_that_is_going_can_lose_its_finalizers(restricted_namespace: Namespaces, admin: Client) -> None:
    namespace = restricted_namespace("cpu-small")
    manifest = _server(namespace)
    manifest["metadata"]["finalizers"] = ["example.org/wait"]
    admin.create(manifest)
    admin.patch("v1", "Namespace", namespace, {"metadata": {"labels": {"devservers.io/user": None}}})
    admin.delete("devservers.io/v1", "DevServer", "mydev", namespace)
    admin.patch("devservers.io/v1", "DevServer", "mydev", {"metadata": {"finalizers": None}}, namespace)
    assert admin.find("devservers.io/v1", "DevServer", "mydev", namespace) is None


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"devservers.io/started-at": "2026-01-01T00:00:00Z"}}},
        {"metadata": {"annotations": {"devservers.io/restarted-at": "2026-01-01T00:00:00Z"}}},
        {"spec": {"lifecycle": {"timeToLive": "9d"}}},
    ],
)
def test_a_withdrawn_flavor_is_not_started_again_or_given_more_time(
    restricted_namespace: Namespaces, admin: Client, change: Manifest
) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace, lifecycle={"timeToLive": "1h"}))
    taken = {"metadata": {"annotations": {"devservers.io/allowed-flavors": "gpu"}}}
    admin.patch("v1", "Namespace", namespace, taken)

    said = _refusal(partial(admin.patch, "devservers.io/v1", "DevServer", "mydev", change, namespace))
    assert "flavor cpu-small is not allowed here; choose one of gpu" in said
    admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"running": False}}, namespace)


@pytest.mark.parametrize("where", ["default", "kube-system"])
def test_a_namespace_that_is_nobodys_is_refused(where: str, admin: Client) -> None:
    with pytest.raises(ApiError) as caught:
        admin.create(_server(where))
    assert caught.value.status == 422
    assert caught.value.message.endswith(f"namespace {where} is not a user's; create the server in dev-<user>")


def test_the_owner_may_be_named(namespace: str, user_name: str, admin: Client) -> None:
    admin.create(_server(namespace, owner=user_name))


def test_another_owner_is_refused(namespace: str, admin: Client) -> None:
    advice = f"owner bob has no part in {namespace}; create it in dev-bob or leave owner out"
    with pytest.raises(ApiError, match=advice):
        admin.create(_server(namespace, owner="bob"))
    admin.create(_server(namespace))
    with pytest.raises(ApiError, match=advice):
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"owner": "bob"}}, namespace)


def test_the_rules_hold_for_every_identity(restricted_namespace: Namespaces, cluster: ApiServer) -> None:
    other = cluster.client_for("somebody", ("system:masters",))
    with pytest.raises(ApiError, match="is not allowed here"):
        other.apply(_server(restricted_namespace("gpu")))


def test_rbac_is_in_force(namespace: str, cluster: ApiServer) -> None:
    account = cluster.service_account(namespace, "user-nobody")
    with pytest.raises(ApiError) as caught:
        cluster.client_for(*account).create(_server(namespace))
    assert caught.value.status == 403
    assert account[0] in caught.value.message


def test_writes_are_counted_by_identity(namespace: str, cluster: ApiServer) -> None:
    mark = cluster.audit_mark()
    other = cluster.client_for("counted", ("system:masters",))
    other.create(_server(namespace))
    other.get("devservers.io/v1", "DevServer", "mydev", namespace)
    other.patch(
        "devservers.io/v1", "DevServer", "mydev", {"status": {"phase": "Pending"}}, namespace, subresource="status"
    )
    written = [(each.verb, each.resource, each.subresource, each.code) for each in cluster.writes("counted", mark)]
    assert written == [("create", "devservers", "", 201), ("patch", "devservers", "status", 200)]


@pytest.mark.parametrize("name", ["devservers.devservers.io", "devservers-operator.devservers.io"])
def test_the_policies_have_no_type_errors(controllers: ApiServer, name: str) -> None:
    """Kubernetes checks the expressions against the real schema and writes what it finds into the policy's status."""
    policy = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", name)
    status = eventually(lambda: controllers.admin.get(*policy).get("status"), "the policy is checked")
    assert status["observedGeneration"] >= 1
    assert status.get("typeChecking", {}).get("expressionWarnings", []) == []


def test_installing_again_changes_nothing(cluster: ApiServer) -> None:
    def generations() -> list[int]:
        crds = cluster.admin.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        policies = cluster.admin.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
        # Not resourceVersion: Kubernetes' own controllers write the status whenever they like.
        return [each["metadata"]["generation"] for each in [*crds, *policies]]

    before = generations()
    install(cluster.admin)
    assert generations() == before
