"""Quantity parsing compared with a real API server."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devservers_core.errors import ApiError, InvalidValueError
from devservers_core.quantity import canonical
from tests.support.cluster.client import Client

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]

numbers = st.one_of(
    st.integers(0, 10**6).map(str),
    st.builds(lambda whole, part: f"{whole}.{part}", st.integers(0, 5000), st.integers(0, 99999)),
    st.sampled_from(["0.5", ".5", "5.", "1024", "1000", "1023", "1536", "007"]),
)
exponents = st.builds(lambda letter, power: f"{letter}{power}", st.sampled_from("eE"), st.integers(-12, 15))
quantities = st.builds(str.__add__, numbers, st.one_of(st.sampled_from(SUFFIXES), exponents))


def _as_the_server_has_it(api: Client, text: str) -> str:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "judge", "namespace": "default"},
        "spec": {"hard": {"requests.cpu": text}},
    }
    return str(api.create(quota, dryRun="All")["spec"]["hard"]["requests.cpu"])


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=quantities)
def test_canonical_form_equals_the_api_servers(text: str, admin: Client) -> None:
    assert _as_the_server_has_it(admin, canonical(text)) == canonical(text)
    assert canonical(_as_the_server_has_it(admin, text)) == canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "+5",
        "0",
        "0Gi",
        "0e3",
        "1e19",
        "9E",
        "10E",
        "1Ki",
        "1e0",
        "1E",
        "1E2",
        "5.",
        "Gi",
        ".",
        "Ti",
        "0Ei",
        ".5Pi",
        "+Ki",
    ],
)
def test_canonical_form_of_edge_cases_equals_the_api_servers(text: str, admin: Client) -> None:
    assert _as_the_server_has_it(admin, canonical(text)) == canonical(text)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet="019.+eEmkKMGi", max_size=6))
def test_canonical_refuses_what_the_api_server_refuses(text: str, admin: Client) -> None:
    try:
        canonical(text)
    except InvalidValueError:
        with pytest.raises(ApiError):
            _as_the_server_has_it(admin, text)
    else:
        _as_the_server_has_it(admin, text)


@pytest.mark.parametrize(
    "text", ["", "x", "1 Gi", "1gi", "1K", "1KiB", "--1", "1e", "1e1.5", "1,5", "1_0", "٣", "1\n", "Ei", "Pi", ".Ei"]
)
def test_canonical_of_no_quantity_raises(text: str, admin: Client) -> None:
    with pytest.raises(InvalidValueError):
        canonical(text)
    with pytest.raises(ApiError):
        _as_the_server_has_it(admin, text)
