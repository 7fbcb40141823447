"""Names, images and variables that the grammars take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers_core import grammar


@pytest.mark.parametrize("name", ["ab", "mydev", "a-b", "a1", "a" * 40])
def test_server_name_of_letters_digits_and_dashes_fits(name: str) -> None:
    assert grammar.fits(name, grammar.SERVER_NAME, grammar.SERVER_NAME_MAX)


@pytest.mark.parametrize("name", ["a" * 41, "a", "1ab", "Ab", "a_b", "ab-", "-ab", "", "ab\n", "ä-b", "a.b", "a٣"])
def test_server_name_of_anything_else_does_not_fit(name: str) -> None:
    assert not grammar.fits(name, grammar.SERVER_NAME, grammar.SERVER_NAME_MAX)


@pytest.mark.parametrize(("length", "fits"), [(31, True), (32, False)])
def test_user_name_at_its_limit_fits(length: int, fits: bool) -> None:
    assert grammar.fits("a" * length, grammar.USER_NAME, grammar.USER_NAME_MAX) is fits


@pytest.mark.parametrize("image", ["debian", "ghcr.io/team/tool:v1", "registry:5000/a/b@sha256:" + "0" * 64])
def test_image_reference_of_the_oci_grammar_fits(image: str) -> None:
    assert grammar.fits(image, grammar.IMAGE, grammar.IMAGE_MAX)


@pytest.mark.parametrize("image", ["", "Debian", "a b", "a:", "a//b", "a@sha256:0", "registry:123456/a", "a\n"])
def test_image_reference_that_no_runtime_reads_does_not_fit(image: str) -> None:
    assert not grammar.fits(image, grammar.IMAGE, grammar.IMAGE_MAX)


@pytest.mark.parametrize(("name", "fits"), [("A_1", True), ("_", True), ("1A", False), ("A-B", False), ("A\n", False)])
def test_variable_name_of_a_shell_fits(name: str, fits: bool) -> None:
    assert grammar.fits(name, grammar.ENV_NAME, grammar.ENV_NAME_MAX) is fits


@pytest.mark.parametrize(
    ("text", "name"),
    [("Ann.Lee", "ann-lee"), ("Jürgen Weiß", "jurgen-weiss"), ("1ann", "ann"), ("--", ""), ("a", ""), ("7", "")],
)
def test_slug_is_a_name_or_empty(text: str, name: str) -> None:
    assert grammar.slug(text, grammar.USER_NAME_MAX) == name


@given(st.text())
def test_slug_of_any_text_is_empty_or_fits(text: str) -> None:
    name = grammar.slug(text, grammar.USER_NAME_MAX)
    assert not name or grammar.fits(name, grammar.USER_NAME, grammar.USER_NAME_MAX)
