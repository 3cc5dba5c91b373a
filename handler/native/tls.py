"""TLS 1.3, and 1.2 with authenticated ciphers and forward secrecy alone."""

from __future__ import annotations

import ssl
from pathlib import Path

from henaw.model.errors import ConfigurationError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all of this kind."""


class Tls:
    """A context whose certificate is read again when its files change.

    Args:
        certificate: the chain, PEM.
        key: its private key, PEM, unencrypted.

    Raises:
        ConfigurationError: they cannot be read, or do not fit each other.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_CIPHERS)
        self._paths = (certificate, key)
        self._mark = self._look()
        self.load()

    def load(self) -> None:
        """Take the files into use, for connections from now on.

        Raises:
            ConfigurationError: they cannot be read, or do not fit each other.
        """
        certificate, key = self._paths
        try:
            # Without a password, a key that needs one is an error and no question.
            self.context.load_cert_chain(certificate, key, password=b"")
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{certificate}, {key}", [f"they are no certificate and its key: {error}"]
            ) from error

    def reload(self) -> bool:
        """Read the files again if they changed; return whether they did.

        Raises:
            ConfigurationError: what is there now is not right; the certificate of before stays.
        """
        mark = self._look()
        if mark == self._mark:
            return False
        self._mark = mark
        # Proved apart first: a pair that does not fit would leave the context with half of it.
        Tls(*self._paths)
        self.load()
        return True

    def _look(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._paths)
        except OSError:
            return ()
