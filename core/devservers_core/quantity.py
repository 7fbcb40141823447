"""Parses Kubernetes quantities and writes them as the API server does.

Invariant: `canonical(x)` is spelled as the API server spells it, so that it comes back unchanged.

Servers rewrite quantities on the way in (`0.5` becomes `500m`, `1024Mi` becomes `1Gi`, `1u` of anything in a resource
list becomes `1m`), so desired manifests are canonicalised before they are compared with live ones. Rules:
apimachinery's resource.Quantity; tests/cluster/test_quantities.py asks a real server.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal

from devservers_core.errors import InvalidValueError

HINT = "use a number with an optional unit, like 500m, 2, 512Mi or 10Gi"

# The server takes a missing number for zero (`Gi`, `.`), and so does this; but not with the two units that are too
# large for its short way of reading (`Pi`, `Ei`).
_PATTERN = re.compile(
    r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE])|([eE][+-]?0*[0-9]{1,3}))?", re.ASCII
)
_BINARY = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_POWERS = {suffix: power for power, suffix in _DECIMAL.items() if suffix}
_LIMIT = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_MILLI = Decimal("1e-3")
_EXACT = Context(prec=200)


def parse_quantity(text: str) -> Decimal:
    """The exact value of a Kubernetes quantity, `512Mi` as 536870912.

    Digits finer than nano are rounded away from zero, what is beyond 2**63-1 is capped, as the server does.
    Raises InvalidValueError for anything that is not a quantity.
    """
    return _read(text)[0]


def quantity_or_zero(value: object) -> Decimal:
    """The value of a quantity in a foreign object, 0 when it can't be read."""
    try:
        return parse_quantity(str(value))
    except InvalidValueError:
        return Decimal(0)


def canonical(text: str) -> str:
    """The quantity in the API server's own spelling: no fraction digits, the largest unit that loses nothing.

    Finer than milli is rounded up, as the server does in resource lists. Raises InvalidValueError for anything that
    is not a quantity.
    """
    value, style = _read(text)
    value = _rounded(value, _MILLI)
    if not value:
        return "0"
    if style == "binary" and value == value.to_integral_value() and abs(value) >= 1024:
        number, power = int(value), 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return f"{number}{['', *_BINARY][power]}"
    number, exponent = int(_EXACT.scaleb(value, 3)), -3
    # A plain suffix ends at E; only the exponent spelling can go on beyond it.
    while number % 1000 == 0 and (exponent < 18 or style == "exponent"):
        number, exponent = number // 1000, exponent + 3
    if style == "exponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL[exponent]}"


def _read(text: str) -> tuple[Decimal, str]:
    match = _PATTERN.fullmatch(text)
    if match is None or not text:
        raise InvalidValueError(f"{text!r} is not a quantity; {HINT}")
    sign, whole, part, binary, decimal, exponent = match.groups()
    if not whole and not part and binary in ("Pi", "Ei"):
        raise InvalidValueError(f"{text!r} is not a quantity; {HINT}")
    style = "binary" if binary else "exponent" if exponent else "decimal"
    value = Decimal(f"{sign}0{whole}.{part or 0}")
    if binary:
        value = _EXACT.multiply(value, _BINARY[binary])
    elif decimal or exponent:
        value = _EXACT.scaleb(value, _POWERS[decimal] if decimal else int(exponent[1:]))
    value = max(-_LIMIT, min(_LIMIT, value))
    return _rounded(value, _NANO), style


def _rounded(value: Decimal, unit: Decimal) -> Decimal:
    rounded = value.quantize(unit, rounding=ROUND_UP, context=_EXACT)
    return rounded if rounded != value else value
