"""Host certificates, held against OpenSSH's own ssh-keygen."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devservers.build.host_certificate import serves, sign
from devservers.reconcile.ssh.key_pairs import generate_key_pair
from devservers_core.ssh_certs import HOST_LIFETIME, HOST_RENEWAL

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = ("mydev.dev-ann.svc.cluster.local", "mydev.dev-ann", "mydev")
CA, KEY = generate_key_pair(), generate_key_pair()
CERTIFICATE = sign(CA.private, KEY.public, NAMES, NOW)


def test_sign_gives_a_host_certificate_that_openssh_reads(tmp_path: Path) -> None:
    file = tmp_path / "key-cert.pub"
    file.write_text(CERTIFICATE)
    env = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}
    done = subprocess.run(["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True, env=env)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.startswith("Type: ssh-ed25519-cert-v01@openssh.com host certificate") for line in lines)
    assert "Valid: from 2026-11-21T11:50:00 to 2027-11-21T12:00:00" in lines
    at = lines.index("Principals:")
    assert lines[at + 1 : at + 4] == list(NAMES)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (timedelta(0), True),
        (HOST_LIFETIME - HOST_RENEWAL - timedelta(seconds=1), True),
        (HOST_LIFETIME - HOST_RENEWAL + timedelta(seconds=1), False),
        (HOST_LIFETIME * 2, False),
        (-timedelta(days=1), False),
    ],
)
def test_serves_for_two_thirds_of_the_lifetime(later: timedelta, expected: bool) -> None:
    assert serves(CERTIFICATE, CA.public, KEY.public, NAMES, NOW + later) is expected


@pytest.mark.parametrize(
    ("certificate", "ca", "public", "names"),
    [
        (CERTIFICATE, generate_key_pair().public, KEY.public, NAMES),
        (CERTIFICATE, CA.public, generate_key_pair().public, NAMES),
        (CERTIFICATE, CA.public, KEY.public, NAMES[:2]),
        (KEY.public, CA.public, KEY.public, NAMES),
        ("", CA.public, KEY.public, NAMES),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", CA.public, KEY.public, NAMES),
        (CERTIFICATE[:-30], CA.public, KEY.public, NAMES),
    ],
    ids=["another CA", "another key", "other names", "no certificate", "nothing", "rubbish", "cut off"],
)
def test_serves_is_false_for_another_ca_key_or_name(
    certificate: str, ca: str, public: str, names: tuple[str, ...]
) -> None:
    assert not serves(certificate, ca, public, names, NOW)


def test_sign_with_a_broken_ca_is_refused() -> None:
    with pytest.raises(ValueError, match="OpenSSH private key"):
        sign("no key", KEY.public, NAMES, NOW)
