"""Tests which host names of an ssh_config belong to the user."""

from __future__ import annotations

import pytest

from devctl.ssh import config
from devctl.ssh.bastion import endpoint


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", set()),
        ("Host a b\n  HostName c\n", {"a", "b"}),
        ('host="a" b\nHOST = c\n\thOsT\td', {"a", "b", "c", "d"}),
        ("Hostname a\n#Host b\nMatch host c\n", set()),
        (f"{config.BEGIN}\nHost a\n{config.END}\nHost b\n", {"b"}),
        ("Host *.example.org !x *\n", {"*.example.org", "!x", "*"}),
    ],
)
def test_named_hosts_of_a_file_are_found(text: str, found: set[str]) -> None:
    assert config.named_hosts(text) == found


@pytest.mark.parametrize(
    ("server", "taken", "line"),
    [
        ("mydev", {"other"}, "mydev.devserver mydev"),
        ("mydev", {"mydev"}, "mydev.devserver"),
        (endpoint.ALIAS, {endpoint.ALIAS}, f"{endpoint.ALIAS}.devserver"),
    ],
)
def test_host_patterns_taken_name_is_left_out(server: str, taken: set[str], line: str) -> None:
    assert config.host_patterns(server, frozenset(taken)) == line
