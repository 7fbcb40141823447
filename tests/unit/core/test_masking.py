"""Secrets are found by the name of a value and by their shape; what is neither stays readable."""

from __future__ import annotations

import time

import pytest

from devservers_core.masking import MASK, is_secret_name, mask_text, mask_value

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_KEY", "WANDB_API_KEY", "SIGNING_KEY", "DB_PWD", "PASSPHRASE", "PGPASS", "COOKIE", "--pass", "--auth",
        "--key", "HF_TOKEN", "API_TOKEN", "token", "PASSWORD", "MYSQL_ROOT_PASSWORD", "client-secret",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "Authorization", "KEY_2",
        "GITHUB_PAT", "PAT", "apiKey", "deploy.keys",
        "CREDENTIALS", "SESSION_COOKIES", "JWT",
    ],
)  # fmt: skip
def test_is_secret_name_of_a_secret_is_true(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["HOME", "PATH", "PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "AUTHOR", "KEYBOARD", "PATTERN",
     "EXPAT", "CUDA_HOME", "PASSIVE", "NCCL_DEBUG", "KEYMAP_FILE", ""],
)  # fmt: skip
def test_is_secret_name_of_another_is_false(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ghp_0123456789abcdef", MASK),
        ("x=github_pat_11ABCDEFG_xyz end", f"x={MASK} end"),
        ("hf_abcdefghijklmnop", MASK),
        ("sk-proj-abcdefghijklmnopqrstuv", MASK),
        ("AKIAIOSFODNN7EXAMPLE", MASK),
        ("xoxb-1234567890-abc", MASK),
        ("glpat-abcdefghij0123456789", MASK),
        ("nvapi-abcdefghij0123456789", MASK),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", MASK),
        ("https://ann:hunter2@example.org/x", f"https://ann:{MASK}@example.org/x"),
        ("https://ghp_0123456789abcdef@example.org", f"https://{MASK}@example.org"),
        ("Authorization: Basic YW5uOmh1bnRlcjI=", f"Authorization: Basic {MASK}"),
        ("authorization: bearer abcdefghi", f"authorization: bearer {MASK}"),
        (f"a {KEY} b", f"a {MASK} b"),
        (KEY[:60], MASK),
        (KEY.replace("\n", " "), MASK),
        ("debian:12 epochs=3 risk-averse sk-short path/hf_x", "debian:12 epochs=3 risk-averse sk-short path/hf_x"),
        ("https://example.org:8080/x", "https://example.org:8080/x"),
        ("basic auth", "basic auth"),
        ("", ""),
    ],
)
def test_mask_text_hides_known_shapes_only(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_mask_value_hides_by_name_and_by_shape() -> None:
    assert mask_value("API_TOKEN", "x") == MASK
    assert mask_value("EPOCHS", "3") == "3"
    assert mask_value("REPOSITORY", "https://u:p@h/r") == f"https://u:{MASK}@h/r"
    assert mask_value("PEM", KEY) == MASK
    assert mask_value("API_TOKEN", "") == ""  # that it is empty is worth seeing


@pytest.mark.parametrize(
    "text",
    ["-----BEGIN PRIVATE KEY-----" * 20_000, "://" + "a" * 500_000, "bearer " * 80_000, "sk-" * 150_000, "gh" * 250_000,
     "eyJ" + "a" * 250_000, "-----BEGIN " * 40_000 + "PRIVATE KEY-----", "api-" * 100_000],
)  # fmt: skip
def test_mask_text_takes_linear_time(text: str) -> None:
    begin = time.process_time()
    mask_text(text)
    is_secret_name(text)
    assert time.process_time() - begin < 1
