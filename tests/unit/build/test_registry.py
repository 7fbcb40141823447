"""Which registry an image is of, and the Secret it is pulled with; devctl names the same ones."""

from __future__ import annotations

import base64

import pytest

from devctl.commands.access.registry import registry_host
from devservers.build.devserver import BuildSettings
from devservers.build.registry import platform_secret
from devservers_core.errors import CommandError
from devservers_core.registry import secret_name
from tests.support.operator.build_objects import server, template, user


@pytest.mark.parametrize(
    ("typed", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://GHCR.io/", "ghcr.io"),
        ("index.docker.io", "docker.io"),
        ("registry.example.org:5000", "registry.example.org:5000"),
        ("a" * 60 + ".example.org", "a" * 60 + ".example.org"),
        ("a.b", "a.b"),
        ("a-b", "a-b"),
    ],
)
def test_secret_name_of_a_login_equals_that_of_the_image(typed: str, registry: str) -> None:
    assert registry_host(typed) == registry
    assert len(secret_name(registry)) <= 63


@pytest.mark.parametrize("typed", ["", "ghcr.io/team", "http://ghcr.io", "a b", "-a", "a:", "a:port", "a\n", "x" * 300])
def test_registry_that_is_none_is_refused(typed: str) -> None:
    with pytest.raises(CommandError, match="is not a registry"):
        registry_host(typed)


def test_pull_secrets_are_the_platforms_and_the_owners_for_their_image() -> None:
    settings = BuildSettings("base:1", "ssh:1", pull_secrets=("company",))
    own = server(image="ghcr.io/team/tool:1")
    platforms = {"name": "platform-registry-company"}
    assert template(server=own)["spec"]["imagePullSecrets"] == [{"name": secret_name("ghcr.io")}]
    assert template(server=own, settings=settings)["spec"]["imagePullSecrets"] == [
        platforms,
        {"name": secret_name("ghcr.io")},
    ]
    assert template(settings=settings)["spec"]["imagePullSecrets"] == [platforms]
    assert "imagePullSecrets" not in template()["spec"]


def test_platform_secret_name_is_outside_of_what_users_may_write() -> None:
    data = {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode(), "other": "eA=="}
    copy = platform_secret(user(), {"metadata": {"name": "company"}, "data": data})
    assert copy["metadata"]["name"] == "platform-registry-company"
    assert copy["type"] == "kubernetes.io/dockerconfigjson"
    assert list(copy["data"]) == [".dockerconfigjson"]
    assert copy["metadata"]["ownerReferences"][0]["kind"] == "DevServerUser"
