"""The certificates of an embedded cluster.

One authority signs everything, as kubeadm's does for a single node, and a second one the aggregation layer's
client (https://kubernetes.io/docs/setup/best-practices/certificates/). Every private key is readable by its
owner only. What exists is kept: a second call changes nothing.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devservers_core.client import kubeconfig

LIFETIME = dt.timedelta(days=3650)
"""Ten years: the cluster lives on one machine and is made again with one command."""

_Key = ec.EllipticCurvePrivateKey


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _pem(key: _Key | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: _Key, signer: _Key) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for a clock that is set right after the start.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        # RFC 5280 4.2.1.1 and 4.2.1.2; Python 3.13 and later refuse certificates without them.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )


class Authority:
    """A certificate authority in a folder, with the certificates it signed beside it as NAME.crt and NAME.key."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.name = name
        if not self.certificate.exists():
            self._create()
        self._signer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @property
    def certificate(self) -> Path:
        """The authority's own certificate (PEM)."""
        return self.folder / f"{self.name}.crt"

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"devservers-{self.name}")])
        usage = x509.KeyUsage(True, False, True, False, False, True, True, False, False)
        built = _builder(name, name, key, key).add_extension(x509.BasicConstraints(True, None), True)
        signed = built.add_extension(usage, True).sign(key, hashes.SHA256())
        write_private(self.folder / f"{self.name}.key", _pem(key))
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate and its key for ``user`` (CN) in ``groups`` (O), also as a server for ``hosts``.

        Returns the paths of certificate and key. An existing pair is returned as it is.
        """
        certificate, private = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        if certificate.exists() and private.exists():
            return certificate, private
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            + [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        )
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
        built = _builder(subject, self._signer.subject, key, self._key).add_extension(
            x509.ExtendedKeyUsage(purposes), False
        )
        if hosts:
            built = built.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        signed = built.sign(self._key, hashes.SHA256())
        write_private(private, _pem(key))
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return certificate, private


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def service_account_key(path: Path) -> Path:
    """The key that signs service account tokens (RSA, as every client can check those)."""
    if not path.exists():
        write_private(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return path


def write_kubeconfig(path: Path, server: str, authority: Path, pair: tuple[Path, Path], context: str) -> Path:
    """A kubeconfig with everything embedded, readable by its owner only."""
    cluster = {"server": server, "certificate-authority-data": kubeconfig.embedded(authority)}
    certificate, key = map(kubeconfig.embedded, pair)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    return kubeconfig.write(path, kubeconfig.document(context, cluster, user))
