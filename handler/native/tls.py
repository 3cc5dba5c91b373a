"""TLS 1.3, and TLS 1.2 with authenticated ciphers and forward secrecy only."""

from __future__ import annotations

import ssl
from pathlib import Path

from henaw.model.errors import ConfigurationError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; all ciphers of TLS 1.3 are of this kind."""


class Tls:
    """A TLS context whose certificate is read again when its files change.

    Args:
        certificate: file of the chain, PEM.
        key: file of its private key, PEM, unencrypted.

    Raises:
        ConfigurationError: the files cannot be read, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        self._mark = self._look()
        self.context = self._newest = self._load()
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Read the files again if they have changed; return whether they have.

        Raises:
            ConfigurationError: the new files are wrong; the earlier certificate stays in use.
        """
        mark = self._look()
        if mark == self._mark:
            return False
        self._mark = mark
        self._newest = self._load()
        return True

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        certificate, key = self._paths
        try:
            # With an empty password, an encrypted key is an error, and OpenSSL does not prompt.
            context.load_cert_chain(certificate, key, password=b"")
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{certificate}, {key}", [f"they are not a certificate and its key: {error}"]
            ) from error
        return context

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Give a new connection the newest certificate.

        A context keeps one certificate of each type of key, so the first one cannot forget its own.
        """
        connection.context = self._newest

    def _look(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._paths)
        except OSError:
            return ()
