"""Certificates, held against OpenSSH's ssh-keygen and against another implementation."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from devservers_core.ssh_certs import (
    HOST_LIFETIME,
    HOST_RENEWAL,
    Authority,
    InvalidCertificateError,
    host_certificate,
    host_certificate_serves,
    read,
    user_certificate,
)
from devservers_core.ssh_keys import InvalidKeyError, PublicKey, parse

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = ("mydev.dev-ann.svc.cluster.local", "mydev.dev-ann")
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def public(key: Ed25519PrivateKey) -> PublicKey:
    return parse(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


CA = Authority(public(PRIVATE), PRIVATE.sign)
KEY = public(Ed25519PrivateKey.from_private_bytes(bytes(32)))


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def serves(line: str, at: datetime = NOW, ca: PublicKey = CA.public, names: tuple[str, ...] = NAMES) -> bool:
    return host_certificate_serves(line, ca, KEY, names, at, verify)


def test_user_certificate_is_for_one_person_and_six_minutes(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text(user_certificate(CA, KEY, "ann", NOW))
    env = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}
    done = subprocess.run(
        ["ssh-keygen", "-L", "-f", tmp_path / "cert"], capture_output=True, text=True, check=True, env=env
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in lines
    assert f"Signing CA: ED25519 {CA.public.fingerprint} (using ssh-ed25519)" in lines
    assert f"Public key: ED25519-CERT {KEY.fingerprint}" in lines
    assert "Valid: from 2026-11-21T11:59:00 to 2026-11-21T12:05:00" in lines
    assert lines[lines.index("Principals:") + 1 : lines.index("Critical Options: (none)")] == ["ann"]
    assert lines[lines.index("Extensions:") + 1 :] == [
        "permit-agent-forwarding", "permit-port-forwarding", "permit-pty",
    ]  # fmt: skip


@pytest.mark.parametrize("line", [user_certificate(CA, KEY, "ann", NOW), host_certificate(CA, KEY, NAMES, NOW)])
def test_certificate_is_read_and_verified_by_another_implementation(line: str) -> None:
    found = load_ssh_public_identity(line.encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    ours = read(line)
    assert found.type is SSHCertificateType(ours.type)
    assert [each.decode() for each in found.valid_principals] == list(ours.principals)
    assert (found.valid_after, found.valid_before) == (ours.valid_after, ours.valid_before)
    signer = found.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert parse(signer) == CA.public == ours.signed_by
    assert ours.key == KEY
    assert verify(base64.b64decode(CA.public.body)[-32:], ours.signature, ours.message)


def test_two_certificates_differ_in_serial_and_nonce() -> None:
    assert host_certificate(CA, KEY, NAMES, NOW) != host_certificate(CA, KEY, NAMES, NOW)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (timedelta(0), True),
        (HOST_LIFETIME - HOST_RENEWAL - timedelta(seconds=1), True),
        (HOST_LIFETIME - HOST_RENEWAL, False),
        (-timedelta(minutes=11), False),
    ],
)
def test_host_certificate_serves_for_two_thirds_of_its_time(later: timedelta, expected: bool) -> None:
    assert serves(host_certificate(CA, KEY, NAMES, NOW), NOW + later) is expected


def test_host_certificate_of_another_purpose_ca_or_name_does_not_serve() -> None:
    line = host_certificate(CA, KEY, NAMES, NOW)
    assert not serves(user_certificate(CA, KEY, NAMES[0], NOW), names=NAMES[:1])
    assert not serves(line, ca=KEY)
    assert not serves(line, names=NAMES[:1])


def test_host_certificate_with_one_changed_bit_does_not_serve() -> None:
    kind, body = host_certificate(CA, KEY, NAMES, NOW).split()
    blob = base64.b64decode(body)
    for at in range(0, len(blob), 7):
        changed = bytes([*blob[:at], blob[at] ^ 1, *blob[at + 1 :]])
        assert not serves(f"{kind} {base64.b64encode(changed).decode()}")


@pytest.mark.parametrize("line", ["", "ssh-ed25519", KEY.text, "ssh-ed25519-cert-v01@openssh.com AAAA"])
def test_read_of_no_certificate_raises_bad_certificate(line: str) -> None:
    with pytest.raises(InvalidCertificateError):
        read(line)


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
def test_certificate_of_a_key_of_another_type_raises_bad_key(kind: str) -> None:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes(32)
    with pytest.raises(InvalidKeyError):
        user_certificate(CA, parse(f"{kind} {base64.b64encode(blob).decode()}"), "ann", NOW)
