"""Tests `devctl version`: the platform's version, and the warning when it is not this client's."""

from __future__ import annotations

import pytest

from devctl.resources.platform_version import apart
from devservers_core.version import __version__
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

FLAVOR = "/apis/devservers.io/v1/devserverflavors/versioned"


def put_version(api: ApiServer, version: str) -> None:
    api.put(FLAVOR, metadata={"annotations": {"devservers.io/version": version}}, spec={})


def test_version_of_the_same_platform_prints_both_and_warns_of_nothing(api: ApiServer, devctl: Run) -> None:
    put_version(api, __version__)
    done = devctl("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"devctl {__version__}\nplatform {__version__}\n", "")


def test_version_of_another_platform_warns_and_says_which_devctl_to_install(api: ApiServer, devctl: Run) -> None:
    put_version(api, "7.1.0")
    done = devctl("version")
    assert done.returncode == 0
    assert done.stdout.endswith("platform 7.1.0\n")
    assert "install version 7.1.0 of devctl" in done.stderr


def test_version_of_a_platform_without_one_prints_the_clients(api: ApiServer, devctl: Run) -> None:
    done = devctl("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"devctl {__version__}\n", "")


def test_version_of_a_platform_that_does_not_answer_is_unknown(run: Run) -> None:
    done = run("version", "--kubeconfig", "/does/not/exist")
    assert (done.returncode, done.stdout) == (0, f"devctl {__version__}\n")
    assert "the platform's version is unknown: " in done.stderr


def test_version_without_a_platform_prints_the_clients(run: Run) -> None:
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"devctl {__version__}\n", "")


@pytest.mark.parametrize(
    ("client", "platform", "expected"),
    [("1.2.3", "1.2.3", False), ("1.2.3", "1.2.9", False), ("1.2.3", "1.3.0", True), ("1.2.3", "2.2.3", True)],
)
def test_apart_compares_major_and_minor(client: str, platform: str, expected: bool) -> None:
    assert apart(client, platform) is expected
