"""Quantities: values and canonical spelling. That the API server agrees is tests/cluster/test_quantities.py."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devservers_core.errors import InvalidValueError
from devservers_core.quantity import canonical, parse_quantity

SUFFIXES = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E2", "e-2"]
quantities = st.builds(
    lambda sign, whole, part, suffix: f"{sign}{whole}.{part}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 99999),
    st.integers(0, 999),
    st.sampled_from(SUFFIXES),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"), ("2", "2"), ("500m", "0.5"), ("1.5", "1.5"), (".5", "0.5"), ("5.", "5"), ("-3", "-3"), ("+3", "3"),
        ("1Ki", "1024"), ("1.5Gi", "1610612736"), ("1k", "1000"), ("2E", "2e18"), ("2e3", "2000"), ("2E3", "2000"),
        ("1n", "1e-9"), ("0.1n", "1e-9"), ("10E", "9223372036854775807"), ("Gi", "0"),
    ],
)  # fmt: skip
def test_parse_of_a_quantity_gives_its_value(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("0.5", "500m"), ("0", "0"), ("0Gi", "0"), ("1024Mi", "1Gi"), ("1025Mi", "1025Mi"), ("0.5Gi", "512Mi"),
        ("1Ki", "1Ki"), ("0.5Ki", "512"), ("2000m", "2"), ("1000", "1k"), ("1024", "1024"), ("1500m", "1500m"),
        ("1e3", "1e3"), ("0.001", "1m"), ("1u", "1m"), ("1e0", "1"), ("1E", "1E"), ("-0.5", "-500m"), ("+5", "5"),
    ],
)  # fmt: skip
def test_canonical_of_a_quantity_is_the_api_servers_spelling(text: str, spelling: str) -> None:
    assert canonical(text) == spelling


@settings(deadline=None)
@given(quantities)
def test_canonical_keeps_the_value_and_is_settled(text: str) -> None:
    spelling = canonical(text)
    assert abs(parse_quantity(spelling) - parse_quantity(text)) < Decimal("0.001")
    assert canonical(spelling) == spelling


@pytest.mark.parametrize(
    "text", ["", "x", "1 Gi", "1gi", "1KB", "--1", "1e", "1e1.5", "1,5", "1_0", "٣", "1\n", "nan", "inf"]
)
def test_parse_of_another_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a quantity; use a number"):
        parse_quantity(text)
