"""Files that the configuration names: where they are, and whether they are what they should be.

Messages never contain a path: the key's place in the configuration says which file is meant, and
paths of keys don't belong into logs.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_MOST_BYTES = 1 << 20
_CERTIFICATE = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Places:
    """Where relative paths and ``~`` start."""

    base: Path
    """The configuration file's directory."""
    home: Path

    def path(self, text: str) -> Path:
        """An absolute path. Nothing is looked up on disk, symbolic links stay."""
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        return Path(os.path.normpath(self.base / text))


def read_text(path: Path) -> str:
    """Read a small regular file.

    Raises:
        ValueError: why it can't be read, without its path.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ValueError("is a directory, not a file")
        # Opening a pipe would wait for a writer that may never come.
        if not stat.S_ISREG(mode):
            raise ValueError("is not a regular file")
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("is larger than 1 MiB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except PermissionError:
        raise ValueError("can't be read: permission denied") from None
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    except OSError as error:
        raise ValueError(f"can't be read: {(error.strerror or 'error').lower()}") from None


def read_secret(path: Path) -> str:
    """The content of a ``*_file`` without blanks and newlines around it.

    Raises:
        ValueError: if it can't be read, or is empty.
    """
    text = read_text(path).strip()
    if not text:
        raise ValueError("is empty")
    return text


def check_readable(path: Path) -> Path:
    """Check that a file is there and can be read; its content may be anything."""
    read_text(path)
    return path


def check_identity(path: Path) -> Path:
    """Check that a file can be an SSH private key."""
    text = read_text(path).lstrip()
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        raise ValueError("is a public key; name the private one, without .pub")
    if "PRIVATE KEY" not in text:
        raise ValueError("holds no private key")
    return path


def check_pem(path: Path, kind: Literal["ca", "cert", "key"]) -> Path:
    """Check that a file is the PEM file that a TLS client needs as ``kind``."""
    text = read_text(path)
    if kind == "key":
        if "PRIVATE KEY-----" not in text:
            other = "a certificate" if _CERTIFICATE[0] in text else "no PEM private key"
            raise ValueError(f"holds {other}; a line '-----BEGIN PRIVATE KEY-----' is expected")
        if "ENCRYPTED" in text:
            raise ValueError("the key has a passphrase; TLS keys must be stored without")
        return path
    if _CERTIFICATE[0] not in text:
        other = "a private key" if "PRIVATE KEY-----" in text else "no PEM certificate"
        raise ValueError(f"holds {other}; a line '{_CERTIFICATE[0]}' is expected")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_certificates(text))
    except (ssl.SSLError, ValueError):
        raise ValueError("the certificate in it is damaged") from None
    return path


def check_pair(cert: Path, key: Path) -> None:
    """Check that a private key belongs to a certificate. Both files are known to be PEM."""
    try:
        # The callback keeps OpenSSL from asking on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise ValueError("the key does not belong to the certificate in 'cert'") from None
        raise ValueError("the key or the certificate in 'cert' is damaged") from None
    except (OSError, ValueError):
        raise ValueError("the key can't be used") from None


def others_can_read(path: Path) -> bool:
    """Whether any user of this machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _certificates(text: str) -> str:
    """The certificates alone: files of authorities often carry comments in between."""
    begin, end = _CERTIFICATE
    blocks = [part.partition(end)[0] for part in text.split(begin)[1:]]
    return "\n".join(f"{begin}{block}{end}" for block in blocks)
