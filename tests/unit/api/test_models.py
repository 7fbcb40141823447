"""The models read what the API accepts, and say in one line what is wrong with the rest."""

from __future__ import annotations

import copy

import pydantic
import pytest

from devservers.api.crdgen import KINDS
from devservers.api.devserver import DevServer
from devservers.api.errors import InvalidObjectError
from devservers.api.flavor import DevServerFlavor
from devservers.api.shipped_flavors import SHIPPED
from devservers.api.user import DevServerUser
from devservers.observe.times import format_time
from devservers_core.names import DEFAULT_FLAVOR, namespace_of, user_of
from devservers_core.quantity import parse_quantity
from tests.support.cluster.crd_cases import with_value
from tests.support.cluster.crd_tables import ACCEPTED, EXAMPLES, REFUSED, STATUSES

MODELS = {kind.names.kind: kind for kind in KINDS}
# Rules of one string hold in Python too; these are the ones about a whole object, which only the API server judges.
_OBJECT_RULES = (
    "not a server name", "Invalid value", "args need command", "not available yet", "only for mode distributed",
    "worldSize is not replicas", "variables of NCCL only", "mode distributed needs", "names that end in -replicas",
    "two volumes", "is where", "has a . or .. part", "is the platform's own", "are the platform's own",
    "are the account's own", "is either a variable or a file", "two secrets",
    "the name is too long", "above limits", "devices such as", "is reserved", "differs from",
    "more than 64 KiB", "has a control character", "not a time from 1970 to 2199", "that servers clone",
)  # fmt: skip
STRING_RULES = [row for row in REFUSED if row[1][:1] == ("spec",) and not any(each in row[3] for each in _OBJECT_RULES)]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_parse_full_object_reads_and_writes_every_field(kind: str) -> None:
    """Nothing is lost, renamed or given another value; a number that stands for a quantity becomes a string."""
    example = with_value(EXAMPLES[kind], ("status",), STATUSES[kind])
    expected = copy.deepcopy(example)
    for amounts in expected["spec"].get("resources", {}).values():
        amounts |= {resource: str(amount) for resource, amount in amounts.items()}
    assert MODELS[kind].parse(example).manifest() == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00Z"),
        ("9999-12-31T23:59:59-01:00", "2200-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"),
        ("2026-12-24T18:00:00.5+24:00", "2026-12-23T18:00:00Z"),
        ("2026-12-24T18:00:00+01:60", "2026-12-24T16:00:00Z"),
        ("2026-12-24T18:00:00-99:99", "2026-12-28T22:39:00Z"),
        ("9999-12-31T23:59:59-99:99", "2200-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+99:99", "1970-01-01T00:00:00Z"),
    ],
)
def test_parse_time_beyond_the_range_is_the_nearest_within(text: str, read: str) -> None:
    """The API server takes offsets that no zone has, and stored objects may be from before the rule."""
    server = with_value(EXAMPLES["DevServer"], ("spec", "lifecycle", "hold", "until"), text)
    hold = DevServer.parse(server).spec.lifecycle.hold
    assert hold is not None
    assert format_time(hold.until) == read


@pytest.mark.parametrize("text", ["2026-12-01T00:00:00ZTx", "0000-01-01T00:00:00Z", "tomorrow", "2026-12-01T00:00:00"])
def test_parse_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidObjectError, match="until"):
        DevServer.parse(with_value(EXAMPLES["DevServer"], ("spec", "lifecycle", "hold", "until"), text))


@pytest.mark.parametrize(("kind", "path", "value"), ACCEPTED)
def test_parse_value_the_api_accepts_is_read(kind: str, path: tuple[str | int, ...], value: object) -> None:
    MODELS[kind].parse(with_value(EXAMPLES[kind], path, value))


@pytest.mark.parametrize(("kind", "path", "value", "message"), STRING_RULES)
def test_parse_string_the_api_refuses_is_refused_with_the_same_message(
    kind: str, path: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(InvalidObjectError) as caught:
        MODELS[kind].parse(with_value(EXAMPLES[kind], path, value))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{kind}: spec.")


def test_parse_unknown_fields_are_ignored() -> None:
    server = DevServer.parse(with_value(EXAMPLES["DevServer"], ("spec", "fromTheFuture"), {"a": 1}))
    assert server.spec.flavor == "cpu-small"


def test_parse_unknown_phase_of_a_newer_operator_is_read() -> None:
    newer = {**EXAMPLES["DevServer"], "status": {"phase": "Hibernating", "timeline": [], "somethingNew": 1}}
    assert DevServer.parse(newer).status.phase == "Hibernating"


def test_parse_several_errors_give_one_line() -> None:
    with pytest.raises(InvalidObjectError) as caught:
        DevServer.parse({"spec": {"image": "A B", "volumes": [{"claimName": "a"}]}})
    text = str(caught.value)
    assert text.startswith("DevServer: metadata: Field required; spec.flavor: Field required; spec.image: not an image")
    assert "spec.volumes.0.mountPath: Field required" in text
    assert "\n" not in text


def test_parse_number_for_a_quantity_is_read_as_text() -> None:
    flavor = DevServerFlavor.parse(EXAMPLES["DevServerFlavor"])
    assert flavor.spec.resources.limits["cpu"] == "2"
    assert flavor.spec.resources.requests["nvidia.com/gpu"] == "1"
    user = DevServerUser.parse(with_value(EXAMPLES["DevServerUser"], ("spec", "quota", "cpu"), 16))
    assert user.spec.quota.cpu == "16"


def test_model_assignment_is_refused() -> None:
    server = DevServer.parse(EXAMPLES["DevServer"])
    with pytest.raises(pydantic.ValidationError):
        server.spec.running = False


@pytest.mark.parametrize(
    ("owner", "namespace", "expected"),
    [("ann", "dev-ann", "ann"), (None, "dev-ann", "ann"), (None, "default", ""), (None, "dev-", "")],
)
def test_owner_is_the_specs_else_the_namespaces(owner: str | None, namespace: str, expected: str) -> None:
    spec = {"flavor": "x"} | ({"owner": owner} if owner else {})
    server = DevServer.parse({"metadata": {"name": "a", "namespace": namespace}, "spec": spec})
    assert server.owner == expected


def test_namespace_of_and_user_of_are_inverse() -> None:
    assert namespace_of("ann") == "dev-ann"
    assert user_of(namespace_of("dev-x")) == "dev-x"
    assert user_of("kube-system") is None


@pytest.mark.parametrize("flavor", SHIPPED, ids=lambda each: each.name)
def test_shipped_flavor_has_requests_within_limits(flavor: DevServerFlavor) -> None:
    resources = flavor.spec.resources
    for name, amount in resources.requests.items():
        assert parse_quantity(amount) <= parse_quantity(resources.limits[name])
    assert parse_quantity(flavor.spec.shm_size) * 2 <= parse_quantity(resources.limits["memory"])
    assert DevServerFlavor.parse(flavor.manifest()) == flavor


def test_shipped_flavors_include_the_default() -> None:
    assert DEFAULT_FLAVOR in {flavor.name for flavor in SHIPPED}
