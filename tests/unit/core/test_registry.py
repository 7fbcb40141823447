"""Which registry an image is of, and what the Secret with a login to it is called."""

from __future__ import annotations

import pytest

from devservers_core.registry import registry_of, secret_name


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("debian", "docker.io"),
        ("debian:12", "docker.io"),
        ("team/tool:1", "docker.io"),
        ("docker.io/library/debian", "docker.io"),
        ("index.docker.io/library/debian", "docker.io"),
        ("ghcr.io/team/tool@sha256:" + "a" * 64, "ghcr.io"),
        ("registry.example.org:5000/tool", "registry.example.org:5000"),
        ("Registry.Example.org/tool", "registry.example.org"),
        ("registry:5000/tool", "registry:5000"),
        ("localhost/tool", "localhost"),
    ],
)
def test_registry_of_an_image_is_as_container_runtimes_read_it(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_secret_names_of_two_registries_differ() -> None:
    hosts = ["a.b", "a-b", "a:1", "a-1", "a" * 60, "a" * 61]
    assert len({secret_name(each) for each in hosts}) == len(hosts)
