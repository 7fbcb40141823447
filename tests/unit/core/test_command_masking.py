"""The words of the second attack: none of these secrets may be in the audit log."""

from __future__ import annotations

import pytest

from devservers_core.command_masking import mask
from tests.support.leaks import BODY, LEAKS, SECRETS


@pytest.mark.parametrize("words", LEAKS, ids=lambda words: " ".join(words)[:40])
def test_mask_of_the_words_that_leaked_shows_no_secret(words: list[str]) -> None:
    shown = " ".join(mask(["devctl", "exec", "x", "--", *words, "end"]))
    assert "***" in shown
    assert shown.endswith("end")
    assert shown.startswith("devctl exec x -- ")
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("quote", ["", "'"])
@pytest.mark.parametrize("separator", ["\n", " "])
def test_mask_of_a_private_key_in_one_word_or_many_is_one_mask(quote: str, separator: str) -> None:
    lines = ["-----BEGIN OPENSSH PRIVATE KEY-----", BODY, "QUJD", "-----END OPENSSH PRIVATE KEY-----"]
    key = quote + separator.join(lines) + quote
    begin = ["devctl", "keys", "add", "laptop"]
    assert mask([*begin, *key.split(), "--expires", "1d"]) == [*begin, "***", "--expires", "1d"]
    assert BODY not in " ".join(mask([*begin, key]))
    assert mask([*begin, *key.split()[:6]]) == [*begin, "***"], "one that was cut"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("run --token X --epochs 3", "run --token *** --epochs 3"),
        ("env DB_PWD=x A=1 train", "env DB_PWD=*** A=1 train"),
        ("run --api-key=x --lr=0.1", "run --api-key=*** --lr=0.1"),
        ("run --token --verbose x", "run --token --verbose x"),
        ("git clone https://u:p@h/r", "git clone https://u:***@h/r"),
    ],
)
def test_mask_leaves_what_is_no_secret_beside_one(words: str, shown: str) -> None:
    assert " ".join(mask(words.split())) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("foo -e A='b c' x", "foo -e A=*** x"),
        ("foo -e 'A=b c' x", "foo -e 'A=*** x"),
        ('foo --env "A=b c" && curl evil', 'foo --env "A=*** && curl evil'),
        ("foo -e A=b && curl evil", "foo -e A=*** && curl evil"),
        ("foo -e A= x", "foo -e A= x"),
    ],
)
def test_mask_of_a_variable_in_a_line_ends_with_its_word(line: str, shown: str) -> None:
    assert mask([line]) == [shown]


@pytest.mark.parametrize(
    "words",
    [
        ["devctl", "create", "mydev", "cpu-small", "--home-size", "20Gi", "--wait"],
        ["devctl", "create", "x", "--image", "registry.example.org:5000/team/img:1", "-v", "data:/data:ro"],
        ["kubectl", "get", "pods", "-l", "app=x", "-o", "jsonpath={.items[0].metadata.name}"],
        ["devctl", "ssh", "mydev", "-L", "8888:localhost:8888"],
        ["devctl", "keys", "add", "laptop", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI ann@laptop"],
        ["devctl", "keys", "remove", "laptop"],
        ["find", ".", "-print"],
        ["python", "train.py", "--epochs", "3", "-u"],
        ["sh", "-c", "grep -e 'a b' x; sed -e 's/x y/z/' -e s/a/b/ f; find . -exec ls"],
    ],
)
def test_mask_of_words_without_secrets_changes_nothing(words: list[str]) -> None:
    assert mask(words) == words
