"""The lines of a set-up's references to secrets: what is read, what is refused, and that both grammars agree."""

from __future__ import annotations

import re

import pytest

from devservers_core.names import ACCOUNT_ENV, MAX_SECRET_REFERENCES, RESERVED_ENV_PREFIX
from devservers_core.setup_secrets import (
    MAX_SETUP_SECRETS_BYTES,
    SETUP_SECRET,
    format_lines,
    in_force,
    parse_lines,
    target,
)
from devservers_core.types import Json

REFERENCES: list[Json] = [
    {"name": "hf", "key": "value", "env": "HF_TOKEN"},
    {"name": "deploy", "key": "id", "file": "id_ed25519"},
]
GOOD = ["env A a value", "env _a9 9 -", "file a.b x-y K._-", f"env {'A' * 128} {'a' * 40} {'k' * 64}"]
BAD = [
    "env A a", "env A a value x", "env  a value", "var A a value", "env 1A a value", f"env {'A' * 129} a value",
    f"file {'f' * 65} a value", f"env A {'a' * 41} value", f"env A a {'k' * 65}", "env A A value", "env A -a value",
    "file ../x a value", "file .x a value", "file a/b a value", "env A a .value", "env Ä a value", " env A a value",
]  # fmt: skip


def test_format_lines_is_read_back() -> None:
    text = format_lines([{"name": "hf", "env": "HF_TOKEN"}, REFERENCES[1]])
    assert text == "env HF_TOKEN hf value\nfile id_ed25519 deploy id"
    assert parse_lines(text) == (REFERENCES, [])
    assert (format_lines([]), parse_lines("")) == ("", ([], []))


@pytest.mark.parametrize(("line", "good"), [*((line, True) for line in GOOD), *((line, False) for line in BAD)])
def test_parse_lines_and_the_policys_grammar_agree(line: str, good: bool) -> None:
    references, bad = parse_lines(line)
    assert (len(references), bad) == ((1, []) if good else (0, [line]))
    assert (re.search(SETUP_SECRET, line, re.ASCII) is not None) is good


@pytest.mark.parametrize("name", [*ACCOUNT_ENV, f"{RESERVED_ENV_PREFIX}NAME"])
def test_parse_lines_variable_of_the_platform_is_refused(name: str) -> None:
    """The policy has a rule of its own for them."""
    assert parse_lines(f"env {name} a value\nenv B b value") == (
        [{"name": "b", "key": "value", "env": "B"}], [f"env {name} a value"],
    )  # fmt: skip


def test_setup_secrets_longest_lines_fit() -> None:
    assert (len(GOOD[-1]) + 1) * MAX_SECRET_REFERENCES <= MAX_SETUP_SECRETS_BYTES


def test_in_force_the_nearest_reference_wins() -> None:
    """A variable that the server sets as plain text stays that, unless its own spec has a secret for it too."""

    def references(source: str, *names: str) -> list[Json]:
        return [{"name": source, "env": name} for name in names] + [{"name": source, "file": names[0]}]

    winners = in_force(
        references("server", "A", "E"), references("setup", "B", "A", "D"), references("user", "C", "B", "D", "E"),
        {"D", "E"}, target,
    )  # fmt: skip
    assert {target(each): each["name"] for each in winners} == {
        ("env", "A"): "server", ("env", "E"): "server", ("file", "A"): "server",
        ("env", "B"): "setup", ("file", "B"): "setup", ("env", "C"): "user", ("file", "C"): "user",
    }  # fmt: skip
