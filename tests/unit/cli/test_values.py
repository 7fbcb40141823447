"""What a person types is read or refused in two lines."""

from __future__ import annotations

import pytest

from devctl import validation
from devservers_core.errors import REFUSED, CommandError


def refused(call: object, *args: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call(*args)  # type: ignore[operator]
    assert caught.value.code == REFUSED
    assert "\n" not in caught.value.what + caught.value.remedy
    return caught.value


def test_a_long_name_is_refused_with_its_length_and_a_shorter_one() -> None:
    failure = refused(validation.server_name, "x" * 41)
    assert "41" in failure.what
    assert "x" * 40 in failure.remedy
    assert "x" * 41 not in failure.remedy


@pytest.mark.parametrize(("name", "suggestion"), [("My_Dev", "my-dev"), ("1abc", "abc"), ("ann's box!", "ann-s-box")])
def test_an_odd_name_is_refused_with_one_that_works(name: str, suggestion: str) -> None:
    failure = refused(validation.server_name, name)
    assert suggestion in failure.remedy
    assert validation.server_name(suggestion) == suggestion


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("jane.doe", "jane-doe"), ("Jane.Doe@example.org", "jane-doe"), ("JÜRGEN", "jurgen"), ("1ann", "ann"),
        ("ann_", "ann"), ("x" * 40, "x" * 31),
    ],
)  # fmt: skip
def test_an_odd_user_name_comes_with_one_that_works(name: str, suggestion: str) -> None:
    assert not validation.user_name(name)
    assert validation.user_name_rule(name).endswith(f"for example {suggestion}")
    assert validation.user_name(suggestion)


def test_a_user_name_of_which_nothing_is_left_comes_with_the_rule() -> None:
    assert "for example" not in validation.user_name_rule("@@")
    assert "letter first" in validation.user_name_rule("@@")


@pytest.mark.parametrize(
    "text",
    [
        "debian:12",
        "debian",
        "ghcr.io/team/image:tag",
        "localhost:5000/a/b@sha256:" + "0" * 64,
        "registry.example.com:443/a__b/c-d.e:v1.2_3",
    ],
)
def test_an_image_reference_is_taken(text: str) -> None:
    assert validation.image(text) == text


@pytest.mark.parametrize("text", ["", "Debian:12", "a b", "https://x/y", "x:", "x@sha256:12", "/x", "x/", "x" * 513])
def test_an_odd_image_reference_is_refused(text: str) -> None:
    refused(validation.image, text)


def test_an_image_in_capitals_is_refused_with_the_small_one() -> None:
    assert "debian:12" in refused(validation.image, "Debian:12").remedy


@pytest.mark.parametrize("text", ["10Gib", "ten", "", "10 Gi", "-5Gi"])
def test_a_home_size_that_does_not_parse_is_refused(text: str) -> None:
    refused(validation.home_size, text)


def test_a_home_size_without_unit_is_taken_for_a_slip() -> None:
    assert "10Gi" in refused(validation.home_size, "10").remedy


@pytest.mark.parametrize("text", ["none", "0"])
def test_no_home_can_be_asked_for(text: str) -> None:
    assert validation.home_size(text) is None


@pytest.mark.parametrize(
    ("text", "claim", "path", "read_only"),
    [
        ("data:/data", "data", "/data", False),
        ("data:/data/", "data", "/data", False),
        ("a.b-c:/x/y:ro", "a.b-c", "/x/y", True),
        ("d:/x:rw", "d", "/x", False),
    ],
)
def test_a_volume_is_read(text: str, claim: str, path: str, read_only: bool) -> None:
    assert validation.mount(text) == validation.Mount(claim, path, read_only)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data", "is not a volume"),
        ("data:data", "not absolute"),
        ("data:/a:xx", "is not a volume"),
        ("data:/a:ro:ro", "is not a volume"),
        ("data:/a/../b", "'..'"),
        ("data:/a//b", "'//'"),
        ("data:/", "at /"),
        ("data:/etc", "/etc"),
        ("data:/proc/x", "/proc"),
        ("Data:/a", "not the name"),
        (":/a", "not the name"),
    ],
)
def test_an_odd_volume_is_refused(text: str, says: str) -> None:
    assert says in refused(validation.mount, text).what


def test_two_volumes_at_one_path_are_refused_even_with_a_slash_at_the_end() -> None:
    failure = refused(validation.mounts, ["one:/data", "two:/data/"], None)
    assert "one" in failure.what
    assert "two" in failure.what


def test_a_volume_at_shared_is_refused_beside_a_shared_volume() -> None:
    assert "/shared" in refused(validation.mounts, ["one:/shared"], "team").what
    assert validation.mounts(["one:/shared"], None)


def test_more_than_sixteen_volumes_are_refused() -> None:
    refused(validation.mounts, [f"v{i}:/v{i}" for i in range(17)], None)


def test_variables_keep_what_follows_the_first_equals_sign() -> None:
    assert validation.environment_variables(["A=b=c", "EMPTY="]) == [
        {"name": "A", "value": "b=c"},
        {"name": "EMPTY", "value": ""},
    ]


@pytest.mark.parametrize(
    "pairs",
    [
        ["A"],
        ["1A=x"],
        ["A-B=x"],
        ["=x"],
        ["A=1", "A=2"],
        ["DEVSERVERS_X=1"],
        ["HOME=/data"],
        ["USER=x"],
        ["LOGNAME=x"],
        ["SHELL=/bin/zsh"],
    ],
)
def test_odd_variables_are_refused(pairs: list[str]) -> None:
    refused(validation.environment_variables, pairs)
