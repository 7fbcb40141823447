"""The words of the second attack: none of these secrets may be in the audit log."""

from __future__ import annotations

import pytest

from devservers_core.commandline import mask

X = "Tr0ub4dor-hunter2"
BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"
SECRETS = ("Tr0ub4dor", "TR0UB4DOR", "VHIwdWI0")
LEAKS: list[list[str]] = [
    [f"OPENAI_KEY={X}"],
    [f"WANDB_KEY={X}"],
    [f"SIGNING_KEY={X}"],
    [f"DB_PWD={X}"],
    [f"PASSPHRASE={X}"],
    [f"PGPASS={X}"],
    [f"COOKIE={X}"],
    ["--pass", X],
    ["--auth", X],
    [f"--key={X}"],
    ["-k", X],
    ["mysql", f"-p{X}"],
    ["curl", "-u", f"me:{X}"],
    ["-H", "Authorization: Basic VHIwdWI0ZG9yLWh1bnRlcjI="],
    ["hf_Tr0ub4dorhunter2"],
    ["ghp_Tr0ub4dorhunter2"],
    ["AKIATR0UB4DORHUNTER2"],
    ["git", "clone", "https://ghp_Tr0ub4dorhunter2@example.org/x"],
    ["sh", "-c", f"tool --token {X}"],
    ["-p", f'{{"spec":{{"env":[{{"name":"HF_TOKEN","value":"{X}"}}]}}}}'],
    [f"--from-literal=pin={X}"],
    ["--from-literal", f"pin={X}"],
    ["-e", f"PIN={X}"],
    [f"--env=PIN={X}"],
    ["--env", f"PIN={X}"],
    [f"-ePIN={X}"],
    ["sh", "-c", f"mysql -p{X} -e 'select 1'"],
    ["sh", "-c", f"curl -u me:{X} https://example.org"],
    ["--password", X],
    ["-H", f"Authorization: Bearer {X}"],
    [f"HF_TOKEN={X}"],
    [f"AWS_SECRET_ACCESS_KEY={X}"],
    ["--data", f'{{"api_key":"{X}"}}'],
    ["--data", f'{{\\"api_key\\":\\"{X}\\"}}'],
    [f"https://u:{X}@example.org"],
    [f"-e=PIN={X}"],
    [f"-e=PIN=a {X}"],
    ["sh", "-c", f"foo -e PIN='a {X}'"],
    ["sh", "-c", f'foo -e "PIN=a {X}" --epochs 3'],
    ["sh", "-c", f"foo --env PIN='a'\"b {X}\" && true"],
    ["sh", "-c", f"foo --from-literal=PIN=a\\ {X}"],
    ["sh", "-c", f'foo -ePIN=\\"a {X}\\"'],
    ["sh", "-c", f"foo -e PIN='a {X}"],
]


@pytest.mark.parametrize("words", LEAKS, ids=lambda words: " ".join(words)[:40])
def test_mask_of_the_words_that_leaked_shows_no_secret(words: list[str]) -> None:
    shown = " ".join(mask(["devctl", "exec", "x", "--", *words, "end"]))
    assert "***" in shown and shown.endswith("end") and shown.startswith("devctl exec x -- ")
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
