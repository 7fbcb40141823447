"""Tests the validation of values on the command line."""

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


def test_server_name_too_long_is_refused_with_a_shorter_one() -> None:
    failure = refused(validation.server_name, "x" * 41)
    assert "41" in failure.what
    assert "x" * 40 in failure.remedy
    assert "x" * 41 not in failure.remedy


@pytest.mark.parametrize(("name", "suggestion"), [("My_Dev", "my-dev"), ("1abc", "abc"), ("ann's box!", "ann-s-box")])
def test_server_name_invalid_is_refused_with_a_valid_one(name: str, suggestion: str) -> None:
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
def test_user_name_rule_invalid_name_suggests_a_valid_one(name: str, suggestion: str) -> None:
    assert not validation.user_name(name)
    assert validation.user_name_rule(name).endswith(f"for example {suggestion}")
    assert validation.user_name(suggestion)


def test_user_name_rule_without_valid_letters_has_no_suggestion() -> None:
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
def test_image_valid_reference_is_accepted(text: str) -> None:
    assert validation.image(text) == text


@pytest.mark.parametrize("text", ["", "Debian:12", "a b", "https://x/y", "x:", "x@sha256:12", "/x", "x/", "x" * 513])
def test_image_invalid_reference_is_refused(text: str) -> None:
    refused(validation.image, text)


def test_image_in_capitals_is_refused_with_lower_case() -> None:
    assert "debian:12" in refused(validation.image, "Debian:12").remedy


@pytest.mark.parametrize("text", ["10Gib", "ten", "", "10 Gi", "-5Gi"])
def test_home_size_invalid_is_refused(text: str) -> None:
    refused(validation.home_size, text)


def test_home_size_without_unit_is_refused() -> None:
    assert "10Gi" in refused(validation.home_size, "10").remedy


@pytest.mark.parametrize("text", ["none", "0"])
def test_home_size_none_or_zero_is_none(text: str) -> None:
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
def test_mount_valid_volume_is_parsed(text: str, claim: str, path: str, read_only: bool) -> None:
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
def test_mount_invalid_volume_is_refused(text: str, says: str) -> None:
    assert says in refused(validation.mount, text).what


def test_mounts_same_path_is_refused() -> None:
    failure = refused(validation.mounts, ["one:/data", "two:/data/"], None)
    assert "one" in failure.what
    assert "two" in failure.what


def test_mounts_shared_path_beside_shared_volume_is_refused() -> None:
    assert "/shared" in refused(validation.mounts, ["one:/shared"], "team").what
    assert validation.mounts(["one:/shared"], None)


def test_mounts_more_than_sixteen_are_refused() -> None:
    refused(validation.mounts, [f"v{i}:/v{i}" for i in range(17)], None)


def test_environment_variables_value_keeps_later_equals_signs() -> None:
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
def test_environment_variables_invalid_are_refused(pairs: list[str]) -> None:
    refused(validation.environment_variables, pairs)
