"""Constraints of every CRD schema, at and beyond their limits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from devservers.api.crdgen import KINDS, root_schema
from devservers.api.flavor import DevServerFlavor
from devservers.api.meta import Resource
from devservers.api.shipped_flavors import SHIPPED
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.cluster.crd_cases import Case, constraint_cases, messages, with_value, without
from tests.support.cluster.crd_tables import ACCEPTED, EXAMPLES, REFUSED, STATUSES
from tests.support.cluster.shipped import SHIPPED as CRDS

# What the whole example can't have, because a rule refuses it today: the places for their schema cases only.
_UNAVAILABLE: dict[str, dict[str, Any]] = {
    "DevServerUser": {
        "budget": 250,
    },
}


def _send(admin: Client, manifest: Json, namespace: str) -> Json:
    """Create as a dry run: schema, CEL and admission all run, nothing is stored."""
    manifest = copy.deepcopy(manifest)
    if manifest["kind"] == "DevServer":
        manifest["metadata"]["namespace"] = namespace
        if isinstance(manifest["spec"], dict) and manifest["spec"].get("owner") == "ann":
            manifest["spec"]["owner"] = namespace.removeprefix("dev-")
    return admin.create(manifest, dryRun="All")


def _schema(kind: str) -> dict[str, Any]:
    return next(root_schema(each) for each in KINDS if each.names.kind == kind)


def _spec_cases() -> list[Any]:
    found = []
    for kind, example in EXAMPLES.items():
        whole = example["spec"] | _UNAVAILABLE.get(kind, {})
        for case in constraint_cases(_schema(kind)["properties"]["spec"], whole, ("spec",)):
            found.append(pytest.param(kind, case, id=f"{kind}-{case}"))
    return found


def _status_cases() -> list[Any]:
    return [
        pytest.param(kind, case, id=f"{kind}-{case}")
        for kind, status in STATUSES.items()
        for case in constraint_cases(_schema(kind)["properties"]["status"], status, ("status",))
        if case.path != ("status",)
    ]


def _refusal(error: ApiError) -> str:
    assert error.status in {400, 422}, error
    assert "\n" not in error.message
    return error.message


@pytest.mark.parametrize("kind", EXAMPLES)
def test_object_with_every_field_is_accepted(kind: str, admin: Client, namespace: str) -> None:
    _send(admin, EXAMPLES[kind], namespace)


@pytest.mark.parametrize(("kind", "case"), _spec_cases())
def test_spec_schema_accepts_limits_and_refuses_violations(
    kind: str, case: Case, admin: Client, namespace: str
) -> None:
    example = EXAMPLES[kind]
    unavailable = _UNAVAILABLE.get(kind, {})
    if len(case.path) > 1 and case.path[1] in unavailable:
        example = with_value(example, ("spec",), example["spec"] | unavailable)
    if case.expected == "Required value":
        spoilt = without(example, case.path)
    else:
        spoilt = with_value(example, case.path, case.value)
    try:
        _send(admin, spoilt, namespace)
    except ApiError as error:
        message = _refusal(error)
        if case.expected:
            assert case.expected in message
            assert "spec" in message
        else:
            # What isn't available yet is refused whatever its value, but not for its value; and a mode or a number of
            # replicas on its own contradicts the rest of the example.
            contradictions = ("not available yet", "only for mode distributed", "worldSize is not replicas times")
            assert any(text in message for text in contradictions)
            assert "should be" not in message
            assert "Unsupported" not in message
    else:
        assert not case.expected, "accepted"


@pytest.mark.parametrize(("kind", "case"), _status_cases())
def test_status_schema_accepts_limits_and_refuses_violations(
    kind: str, case: Case, admin: Client, namespace: str
) -> None:
    whole = with_value(EXAMPLES[kind], ("status",), STATUSES[kind])
    spoilt = (
        without(whole, case.path) if case.expected == "Required value" else with_value(whole, case.path, case.value)
    )
    live = _stored(admin, EXAMPLES[kind], namespace)
    live["status"] = spoilt["status"]
    try:
        admin.replace(live, subresource="status", dryRun="All")
    except ApiError as error:
        assert case.expected, error
        assert case.expected in _refusal(error)
    else:
        assert not case.expected, "accepted"


def _stored(admin: Client, example: Json, namespace: str) -> Json:
    """The example as an object that exists, by a name that no other test uses."""
    user = namespace.removeprefix("dev-")
    manifest = copy.deepcopy(example)
    manifest["metadata"] = {"name": user}
    if manifest["kind"] == "DevServer":
        manifest["metadata"]["namespace"] = namespace
        manifest["spec"]["owner"] = user
    if manifest["kind"] == "DevServerUser":
        manifest["spec"]["username"] = user
    name = user
    found = admin.find(manifest["apiVersion"], manifest["kind"], name, manifest["metadata"].get("namespace"))
    return found or admin.create(manifest)


@pytest.mark.parametrize(("kind", "path", "value"), ACCEPTED)
def test_value_in_the_accepted_table_is_accepted(
    kind: str, path: tuple[str | int, ...], value: object, admin: Client, namespace: str
) -> None:
    _send(admin, with_value(EXAMPLES[kind], path, value), namespace)


@pytest.mark.parametrize(("kind", "path", "value", "message"), REFUSED)
def test_value_in_the_refused_table_is_refused_with_its_message(
    kind: str, path: tuple[str | int, ...], value: object, message: str, admin: Client, namespace: str
) -> None:
    with pytest.raises(ApiError) as caught:
        _send(admin, with_value(EXAMPLES[kind], path, value), namespace)
    assert message in _refusal(caught.value)


@pytest.mark.parametrize("text", ["2026-12-01T00:00:00ZTx", "0000-01-01T00:00:00Z", "2026-12-01T00:00:00+99:99"])
def test_text_that_passes_for_a_time_is_refused_by_its_rule(text: str, admin: Client, namespace: str) -> None:
    """The server's check of the format reads only a part of it, and the operator couldn't read such an object."""
    with pytest.raises(ApiError, match="422"):
        _send(admin, with_value(EXAMPLES["DevServer"], ("spec", "lifecycle", "extendUntil"), text), namespace)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_refused_table_covers_every_rule(kind: str) -> None:
    tried = [message for each, _, _, message in REFUSED if each == kind]
    untried = [rule for rule in messages(_schema(kind)) if not any(message and message in rule for message in tried)]
    assert not set(untried) - (_OF_CHANGES if kind == "DevServer" else set())


_OF_CHANGES = {
    "mode can't be changed; create another server of the other mode",
    "a distributed server keeps or lacks its homes for good; create another server",
}
"""Rules about a change of a stored server."""


def test_standalone_server_may_have_a_name_of_40_characters(admin: Client, namespace: str) -> None:
    server = with_value(EXAMPLES["DevServer"], ("spec",), {"flavor": "x"})
    _send(admin, with_value(server, ("metadata", "name"), "a" * 40), namespace)


def test_mode_and_homes_of_a_distributed_server_can_not_be_changed(admin: Client, namespace: str) -> None:
    distributed = {"flavor": "x", "mode": "distributed", "distributed": {"replicas": 2}, "persistentHomeSize": "1Gi"}
    specs: dict[str, Json] = {"many": distributed, "one": {"flavor": "x"}, "ephemeral": {**distributed}}
    del specs["ephemeral"]["persistentHomeSize"]
    for name, spec in specs.items():
        manifest = with_value(EXAMPLES["DevServer"], ("spec",), spec)
        manifest["metadata"] = {"name": name, "namespace": namespace}
        admin.create(manifest)

    def change(name: str, **spec: object) -> None:
        admin.patch("devservers.io/v1", "DevServer", name, {"spec": spec}, namespace, dryRun="All")

    changes: list[tuple[str, Json, str]] = [
        ("many", {"mode": "standalone", "distributed": None}, "mode can't be changed"),
        ("one", {"mode": "distributed", "distributed": {"replicas": 2}}, "mode can't be changed"),
        ("many", {"persistentHomeSize": None}, "keeps or lacks its homes for good"),
        ("ephemeral", {"persistentHomeSize": "1Gi"}, "keeps or lacks its homes for good"),
    ]
    for name, spec, message in changes:
        with pytest.raises(ApiError, match=message):
            change(name, **spec)
    change("many", distributed={"replicas": 4}, persistentHomeSize="2Gi", running=False)
    change("one", persistentHomeSize="1Gi")


@pytest.mark.parametrize("flavor", SHIPPED, ids=lambda flavor: flavor.name)
def test_shipped_flavor_is_accepted(flavor: DevServerFlavor, admin: Client) -> None:
    manifest = flavor.manifest()
    # Another test's flavor may have the shipped one's name.
    manifest["metadata"]["name"] = f"shipped-{flavor.name}"
    admin.create(manifest, dryRun="All")


def test_minimal_server_gets_its_defaults(admin: Client, namespace: str) -> None:
    made = _send(
        admin,
        {
            "apiVersion": "devservers.io/v1",
            "kind": "DevServer",
            "metadata": {"name": "least"},
            "spec": {"flavor": "cpu-small", "volumes": [{"claimName": "data", "mountPath": "/data"}]},
        },
        namespace,
    )
    assert made["spec"] == {
        "flavor": "cpu-small",
        "mode": "standalone",
        "enableSSH": True,
        "running": True,
        "lifecycle": {"onExpiry": "stop"},
        "volumes": [{"claimName": "data", "mountPath": "/data", "readOnly": False}],
    }


def test_minimal_flavor_gets_its_defaults(admin: Client) -> None:
    made = admin.create(with_value(EXAMPLES["DevServerFlavor"], ("spec",), {"resources": {}}), dryRun="All")
    assert made["spec"] == {"resources": {}, "shmSize": "1Gi"}


def test_minimal_user_gets_its_defaults(admin: Client) -> None:
    made = admin.create(with_value(EXAMPLES["DevServerUser"], ("spec",), {"username": "ann"}), dryRun="All")
    assert made["spec"] == {"username": "ann", "flavors": ["*"], "suspended": False}


@pytest.mark.parametrize("field", ["image", "mode", "volumes", "lifecycle", "running", "persistentHomeSize"])
def test_null_in_an_optional_field_counts_as_absent(field: str, admin: Client, namespace: str) -> None:
    example = without(EXAMPLES["DevServer"], ("spec", field))
    if field == "mode":
        example = without(example, ("spec", "distributed"))
    bare = _send(admin, example, namespace)
    assert _send(admin, with_value(example, ("spec", field), None), namespace)["spec"] == bare["spec"]


def test_null_in_a_required_field_is_refused(admin: Client, namespace: str) -> None:
    with pytest.raises(ApiError, match=r"spec\.flavor: Required value"):
        _send(admin, with_value(EXAMPLES["DevServer"], ("spec", "flavor"), None), namespace)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("DevServer", ("spec", "flavour")),
        ("DevServer", ("spec", "lifecycle", "ttl")),
        ("DevServer", ("spec", "volumes", 0, "readonly")),
        ("DevServer", ("spec", "enableSsh")),
        ("DevServerFlavor", ("spec", "resources", "request")),
        ("DevServerUser", ("spec", "sshPublicKey")),
    ],
)
def test_unknown_field_is_refused(kind: str, path: tuple[str | int, ...], admin: Client, namespace: str) -> None:
    with pytest.raises(ApiError, match="strict decoding error: unknown field") as caught:
        _send(admin, with_value(EXAMPLES[kind], path, "x"), namespace)
    assert str(path[-1]) in caught.value.message


def test_status_in_a_create_request_is_dropped(admin: Client, namespace: str) -> None:
    made = _send(admin, with_value(EXAMPLES["DevServer"], ("status",), STATUSES["DevServer"]), namespace)
    assert "status" not in made


def test_kubectl_get_table_has_the_printer_columns(admin: Client, namespace: str) -> None:
    live = _stored(admin, EXAMPLES["DevServer"], namespace)
    live["status"] = STATUSES["DevServer"]
    admin.replace(live, subresource="status")
    tables = admin.accepting("application/json;as=Table;v=v1;g=meta.k8s.io")
    table = tables.get(f"/apis/devservers.io/v1/namespaces/{namespace}/devservers")
    names = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    shown = dict(zip([each["name"] for each in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert names == ["Name", "Phase", "Ready", "Flavor", "User", "Reason", "Age"]
    assert shown["Ready"] == "1/2"
    assert shown["Phase"] == "Running"
    assert shown["Reason"] == "Running"
    assert shown["User"] == "ann"
    assert shown["Endpoint"] == "mydev.dev-ann.svc:22"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names.kind)
def test_discovery_has_short_names_and_category(kind: type[Resource], admin: Client) -> None:
    resources = admin.request("GET", "/apis/devservers.io/v1")["resources"]
    found = {each["name"]: each for each in resources}
    names = kind.names
    served = found[names.plural]
    assert served["shortNames"] == [names.short]
    # Never the plural of a kind: `kubectl get devservers` would list all three.
    assert served["categories"] == ["devservers-all"]
    assert served["namespaced"] is names.namespaced
    assert f"{names.plural}/status" in found


def test_short_names_collide_with_no_kubernetes_name(admin: Client) -> None:
    """`kubectl get ds` is DaemonSets for everybody; a second kind of that name makes it warn."""
    groups = [f"/apis/{each['preferredVersion']['groupVersion']}" for each in admin.request("GET", "/apis")["groups"]]
    theirs = {
        name
        for group in ("/api/v1", *groups)
        if "devservers.io" not in group
        for each in admin.request("GET", group)["resources"]
        for name in (*each.get("shortNames", ()), each["name"], each.get("singularName"))
    }
    assert "ds" in theirs
    assert not theirs & {kind.names.short for kind in KINDS}


def test_shipped_crds_are_established(admin: Client) -> None:
    for file in Path(CRDS).glob("devserver*.yaml"):
        shipped = yaml.safe_load(file.read_text())
        live = admin.get(shipped["apiVersion"], shipped["kind"], shipped["metadata"]["name"])
        for condition in live["status"]["conditions"]:
            # NonStructuralSchema would appear here, and never goes with a CRD that v1 accepts.
            assert condition["type"] in {"Established", "NamesAccepted"}
