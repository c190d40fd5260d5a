"""A certificate authority for one bed, and kubeconfigs that hold all they need."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.bed import settings

DAYS = 3650
API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local")  # fmt: skip
# Kubernetes reads a user's name from CN and its groups from O.
USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kube-proxy": ("system:kube-proxy", None),
    "kubelet": (f"system:node:{settings.NODE}", "system:nodes"),
}


class Authority:
    """Signs the bed's certificates; all keys are on the curve P-256, the whole set takes 20 ms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("shipway-bed", None)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self._certificate = (
            _builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = self._certificate.public_bytes(serialization.Encoding.PEM)
        (folder / "ca.crt").write_bytes(self.bundle)
        _write_private(folder / "ca.key", _pem(self._key))

    def server(self, name: str, names: Sequence[str], addresses: Sequence[str] = ()) -> None:
        """`<name>.crt` and `<name>.key` for a server."""
        alternatives = [x509.DNSName(each) for each in names]
        ips = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        self._sign(name, _name(names[0], None), ExtendedKeyUsageOID.SERVER_AUTH, [*alternatives, *ips])

    def client(self, name: str, user: str, group: str | None) -> tuple[bytes, bytes]:
        """Certificate and key of a user."""
        return self._sign(name, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def kubeconfig(self, name: str, user: str, group: str | None) -> None:
        """A kubeconfig for a user; JSON, which is YAML too."""
        certificate, key = self.client(name, user, group)
        server = {
            "server": f"https://{settings.HOST}:{settings.API_PORT}",
            "certificate-authority-data": base64.b64encode(self.bundle).decode(),
        }
        credentials = {
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": name}}],
            "clusters": [{"name": "bed", "cluster": server}],
            "users": [{"name": name, "user": credentials}],
        }
        path = settings.kubeconfig(name)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        _write_private(path, json.dumps(document, indent=1).encode())

    def _sign(
        self, name: str, subject: x509.Name, usage: x509.ObjectIdentifier, alternatives: list[x509.GeneralName]
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(issuer, critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (self.folder / f"{name}.crt").write_bytes(certificate)
        _write_private(self.folder / f"{name}.key", _pem(key))
        return certificate, _pem(key)


def create(folder: Path) -> Authority:
    """Everything that the control plane and the node need."""
    authority = Authority(folder)
    authority.server("apiserver", API_NAMES, ["127.0.0.1", settings.HOST, settings.API_SERVICE_IP])
    authority.server("kubelet", [settings.NODE], ["127.0.0.1", settings.HOST])
    authority.server("kserve-webhook", ["kserve-webhook-server-service.kserve.svc"])
    authority.client("apiserver-kubelet-client", "apiserver-kubelet-client", "system:masters")
    for name, (user, group) in USERS.items():
        authority.kubeconfig(name, user, group)
    tokens = ec.generate_private_key(ec.SECP256R1())  # signs service accounts' tokens
    _write_private(folder / "service-accounts.key", _pem(tokens))
    public = tokens.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "service-accounts.pub").write_bytes(public)
    return authority


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _name(common: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
