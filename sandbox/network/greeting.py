"""The name in a TLS greeting (RFC 6066, section 3), read by OpenSSL, so that a tunnel leads where it was opened to."""

from __future__ import annotations

import ssl

__all__ = ["Greeting"]


class Greeting:
    """The first message of a TLS connection, as it comes in. Nothing is ever answered to it."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._note
        self._incoming = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)
        self._whole = False
        self.name = ""
        """The host that is greeted, in lower case; empty when none is named."""

    def _note(self, _tls: object, name: str | None, _context: object) -> int:
        self._whole, self.name = True, (name or "").lower().removesuffix(".")
        return ssl.ALERT_DESCRIPTION_CLOSE_NOTIFY  # that is all we wanted to know

    def feed(self, data: bytes) -> bool:
        """Whether the greeting is whole with `data`. Raises `ValueError` when it is none."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            if not self._whole:
                raise ValueError("not a TLS greeting") from None
        return True
