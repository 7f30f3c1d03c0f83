"""Keys and certificates of a simulated farm, in a directory of their own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from exporter.demo.ports import LOOPBACK
from exporter.model import TlsFiles

USER = "builder"

_YEAR = 365


class Credentials:
    """One SSH host key, one user key, one certificate authority for all nodes. Blocks: files."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._now = datetime.fromtimestamp(int(clock()), UTC)
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        user_key = asyncssh.generate_private_key("ssh-ed25519")
        self.identity = self._write("id_ed25519", user_key.export_private_key())
        self.user_keys = user_key.export_public_key().decode()
        self.known_hosts = self._write("known_hosts", b"")
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._certificate("Demo CA", self._ca_key, _YEAR)
        client_key = ec.generate_private_key(ec.SECP256R1())
        self.client = TlsFiles(
            ca=self._write("ca.pem", _pem(self._ca)),
            cert=self._write("cert.pem", _pem(self._certificate("client", client_key, _YEAR))),
            key=self._write("key.pem", _key_pem(client_key)),
        )
        self._contexts: dict[tuple[int, str], ssl.SSLContext] = {}

    def trust(self, port: int) -> None:
        """Name the host key as that of a port."""
        public = self.host_key.export_public_key().decode().strip()
        with self.known_hosts.open("a") as file:
            file.write(f"[{LOOPBACK}]:{port} {public}\n")

    def server_context(self, days: int, protocol: str) -> ssl.SSLContext:
        """TLS of a server whose certificate ends in so many days, with one ALPN protocol."""
        if (days, protocol) not in self._contexts:
            key = ec.generate_private_key(ec.SECP256R1())
            chain = _pem(self._certificate(LOOPBACK, key, days)) + _key_pem(key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._write(f"server-{days}-{len(self._contexts)}.pem", chain))
            context.load_verify_locations(self.client.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            context.set_alpn_protocols([protocol])
            self._contexts[days, protocol] = context
        return self._contexts[days, protocol]

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.Certificate:
        authority = key is self._ca_key
        subject = _name(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if authority else self._ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=1))
            .not_valid_after(self._now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        if authority:
            builder = builder.add_extension(_CA_USAGE, critical=True)
        else:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write(self, name: str, data: bytes) -> Path:
        path = self._directory / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path


_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
