"""The operator's connection settings: which kubeconfig is used, and what is refused."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from kubernetes.aio.client.configuration import Configuration

from devservers.runtime.connection import load_configuration
from devservers_core.client import kubeconfig
from devservers_core.errors import CommandError
from devservers_core.types import Json


def kubeconfig_file(
    path: Path, context: str = "one", server: str = "https://192.0.2.1:6443", user: Json | None = None
) -> Path:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(b"ca").decode()}
    return kubeconfig.write(path, kubeconfig.document(context, cluster, user or {"token": "secret"}))


def load(context: str | None = None, **environ: str) -> Configuration:
    return asyncio.run(load_configuration(context, environ))


def bearer(configuration: Configuration) -> str:
    return str(asyncio.run(configuration.auth_settings())["BearerToken"]["value"])


def test_kubeconfig_variable_gives_server_authority_and_token(tmp_path: Path) -> None:
    configuration = load(KUBECONFIG=str(kubeconfig_file(tmp_path / "config")))
    assert configuration.host == "https://192.0.2.1:6443"
    assert Path(str(configuration.ssl_ca_cert)).read_bytes() == b"ca"
    assert bearer(configuration) == "Bearer secret"
    assert configuration.verify_ssl


def test_kubeconfig_variable_wins_over_the_pods_account(tmp_path: Path) -> None:
    path = str(kubeconfig_file(tmp_path / "config"))
    assert load(KUBECONFIG=path, KUBERNETES_SERVICE_HOST="192.0.2.9").host == "https://192.0.2.1:6443"


def test_home_gives_the_kubeconfig_without_the_variable(tmp_path: Path) -> None:
    kubeconfig_file(tmp_path / ".kube" / "config")
    assert load(HOME=str(tmp_path)).host == "https://192.0.2.1:6443"


def test_context_that_is_named_wins_over_the_current_one_of_several_files(tmp_path: Path) -> None:
    files = [
        kubeconfig_file(tmp_path / "a"),
        kubeconfig_file(tmp_path / "b", "two", "https://192.0.2.2:6443", {"token": "other"}),
    ]
    paths = ":".join(map(str, files))
    assert load(KUBECONFIG=paths).host == "https://192.0.2.1:6443"
    configuration = load("two", KUBECONFIG=paths)
    assert (configuration.host, bearer(configuration)) == ("https://192.0.2.2:6443", "Bearer other")


def test_context_in_a_pod_is_one_of_the_kubeconfig_and_never_the_pods_account(tmp_path: Path) -> None:
    """`make run CONTEXT=two` in a dev server: CRDs and operator go to the same cluster."""
    kubeconfig_file(tmp_path / ".kube" / "config", "two")
    pod = {"KUBERNETES_SERVICE_HOST": "192.0.2.9", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    assert load("two", **pod).host == "https://192.0.2.1:6443"


def test_pod_without_a_token_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Service host/port is not set|token"):
        load(KUBERNETES_SERVICE_HOST="192.0.2.9", KUBERNETES_SERVICE_PORT="443", HOME=str(tmp_path))


def test_client_certificate_with_a_relative_path_is_read_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("certificate")
    (tmp_path / "tls.key").write_text("key")
    path = kubeconfig_file(tmp_path / "config", user={"client-certificate": "tls.crt", "client-key": "tls.key"})
    configuration = load(KUBECONFIG=str(path))
    assert (configuration.cert_file, configuration.key_file) == (str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


def test_impersonation_is_refused_by_the_entrys_name(tmp_path: Path) -> None:
    """kubernetes.aio ignores it: the operator would act as the user itself."""
    path = kubeconfig_file(
        tmp_path / "config", user={"token": "secret", "as": "admin", "as-groups": ["system:masters"]}
    )
    with pytest.raises(CommandError, match="has as: the operator can't impersonate"):
        load(KUBECONFIG=str(path))


def test_unknown_context_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = kubeconfig_file(tmp_path / "config")
    with pytest.raises(CommandError) as error:
        load("onne", KUBECONFIG=str(path))
    assert "onne" in error.value.what
    assert "one" in error.value.remedy


def test_no_kubeconfig_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no cluster is configured"):
        load(HOME=str(tmp_path))
