"""The configuration that sshd is given, by version."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastion.paths import Paths
from bastion.sshd_config import SshdSettings, UnsupportedSshdError, Version, render, version_of

PATHS = Paths(Path("/"))


def options(version: Version, settings: SshdSettings | None = None, certified: bool = False) -> dict[str, str]:
    """Every option; one that is given twice is given to a list by its last."""
    text = render(PATHS, settings or SshdSettings(), version, certified)
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_config_allows_public_keys_and_nothing_else() -> None:
    found = options((9, 2))
    assert found["AuthenticationMethods"] == "publickey"
    assert found["AllowGroups"] == "devservers-users"
    for name in ("PermitRootLogin", "PasswordAuthentication", "KbdInteractiveAuthentication", "HostbasedAuthentication",
                 "X11Forwarding", "AllowStreamLocalForwarding", "PermitTunnel", "PermitUserEnvironment", "PermitUserRC",
                 "GatewayPorts", "UsePAM"):  # fmt: skip
        assert found[name] == "no", name
    assert (found["AllowTcpForwarding"], found["PermitListen"]) == ("local", "none")
    assert found["AuthorizedKeysFile"] == "/run/bastion/accounts/current/keys/%u"
    assert found["MaxStartups"] == "200:30:600"
    # Ends in the forced program as all else does, which says no in its words (bastion.session.sftp).
    assert found["Subsystem"] == "sftp sftp-server"


@pytest.mark.parametrize(
    ("version", "penalties"),
    [
        ((9, 2), None),
        ((9, 8), "authfail:1s noauth:1s max:60s"),
        ((10, 0), "authfail:1s noauth:1s max:60s"),
    ],
)
def test_config_for_a_version_has_only_options_it_knows(version: Version, penalties: str | None) -> None:
    found = options(version, SshdSettings(exempt=("10.0.0.0/8", "fd00::/8")))
    assert found.get("PerSourcePenalties") == penalties
    assert found.get("PerSourcePenaltyExemptList") == ("10.0.0.0/8,fd00::/8" if penalties else None)
    assert "PerSourcePenaltyExemptList" not in options(version)


def test_config_with_a_certificate_names_it() -> None:
    assert "HostCertificate" not in options((10, 0))
    assert options((10, 0), certified=True)["HostCertificate"] == "/run/bastion/sshd/ssh_host_ed25519_key-cert.pub"


@pytest.mark.parametrize(
    ("text", "version"), [("OpenSSH_9.2, OpenSSL 3.0.19", (9, 2)), ("OpenSSH_10.0p2 Debian-7, OpenSSL", (10, 0))]
)
def test_version_of_openssh_is_parsed(text: str, version: Version) -> None:
    assert version_of(text) == version


@pytest.mark.parametrize("text", ["", "dropbear 2022", "OpenSSH_9.1p1", "OpenSSH_8.9p1 Ubuntu-3"])
def test_version_of_an_old_openssh_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedSshdError, match=r"install OpenSSH 9\.2 or later"):
        version_of(text)
