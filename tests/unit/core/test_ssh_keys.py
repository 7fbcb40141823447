"""Public keys: which lines are one, and what is read of them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers_core.ssh_keys import DamagedKeyError, InvalidKeyError, PublicKey, ed25519, parse

BODY = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
LINE = f"ssh-ed25519 {BODY}"
FINGERPRINT = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"


def body(*fields: bytes) -> str:
    return base64.b64encode(b"".join(len(each).to_bytes(4, "big") + each for each in fields)).decode()


def test_parse_of_a_line_gives_type_body_and_comment() -> None:
    key = parse(f"{LINE} ann@laptop, at home")
    assert (key.text, key.comment, key.rsa_bits) == (LINE, "ann@laptop, at home", None)
    assert key.fingerprint == FINGERPRINT


def test_two_keys_with_different_comments_are_equal() -> None:
    assert {parse(LINE), parse(f"{LINE} ann")} == {PublicKey("ssh-ed25519", BODY)}


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", f"ssh-dss {BODY}", f'command="x" {LINE}', f"{LINE}\n{LINE}", f"{LINE}\0", f" {LINE}", None, 1,
     f"{LINE} {'x' * 8192}"],
)  # fmt: skip
def test_parse_of_no_key_line_raises_bad_key(line: object) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        parse(line)
    assert not isinstance(caught.value, DamagedKeyError)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [f"ssh-rsa {BODY}", "ssh-ed25519 AAAAC", f"{LINE[:-4]}", f"ssh-ed25519 {BODY}AAAA", "ssh-ed25519 (", "ssh-ed25519 "
     + base64.b64encode(b"\0\0\0\x0bssh-ed25519").decode()],
)  # fmt: skip
def test_parse_of_a_damaged_body_raises_damaged_key(line: str) -> None:
    with pytest.raises(DamagedKeyError):
        parse(line)


@pytest.mark.parametrize("bits", [1024, 2047, 2048, 4096])
def test_rsa_bits_are_those_of_the_modulus(bits: int) -> None:
    modulus = (1 << (bits - 1)).to_bytes(bits // 8 + 1, "big")
    line = "ssh-rsa " + body(b"ssh-rsa", (65537).to_bytes(3, "big"), modulus)
    assert parse(line).rsa_bits == bits


def test_ed25519_of_another_type_is_none() -> None:
    assert ed25519(f"ssh-rsa {body(b'ssh-rsa', b'1', b'2')}") is None
    assert ed25519("nonsense") is None
    assert ed25519("") is None


def test_ed25519_takes_any_blanks_between_the_words() -> None:
    found = ed25519(f" ssh-ed25519 \t {BODY}  the CA\n")
    assert found is not None
    assert found.text == LINE


@given(st.text(max_size=200))
def test_parse_of_any_text_gives_a_key_that_parses_again_or_bad_key(text: str) -> None:
    try:
        key = parse(text)
    except InvalidKeyError:
        return
    assert parse(key.text) == key
