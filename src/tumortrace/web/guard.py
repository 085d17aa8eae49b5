"""The door of the server: who may ask, and what browsers may do with the replies."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from tumortrace.web.limits import RefusalError
from tumortrace.web.replies import reply_refusal

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every reply. Nothing is loaded from elsewhere, and no script stands in the page itself."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LOCAL = "localhost"


class Guard:
    """Middleware that checks ``Host`` and ``Origin`` before anything else looks at a request.

    A page of another site can send requests to this server from the browser of its user. Its requests carry its own
    origin. If it makes its own name resolve to this machine (DNS rebinding), they carry that name as host.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        """Wrap an application.

        Args:
            app: The application.
            host: Address or name that the server listens on.
        """
        self._app = app
        self._local = is_loopback(host)
        self._names = {_LOCAL, host.lower()} | (set() if self._local else {socket.gethostname().lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on; an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        fault = self.find_fault(Headers(scope=scope))
        if fault:
            await reply_refusal(RefusalError(403, fault))(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def find_fault(self, headers: Headers) -> str:
        """Say why a request is refused; empty if it is not.

        Args:
            headers: Headers of the request.
        """
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            shown = ", ".join(hosts)[:100] or "none"
            return f"Host: {shown}: not a name of this server; open it by the address that it printed"
        if len(origins) > 1 or any(not _is_same(origin, hosts[0]) for origin in origins):
            return f"Origin: {', '.join(origins)[:100]}: another site; open this server's own page"
        return ""

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if not match or (match[2] and not 0 < int(match[2]) < 65_536):
            return False
        name = match[1].strip("[]").lower()
        address = _read_address(name)
        if address is None:
            return match[1].lower() in self._names
        return address.is_loopback or not self._local  # an address cannot be made to resolve to another machine


def is_loopback(host: str) -> bool:
    """Whether a host names this machine alone."""
    address = _read_address(host.strip("[]"))
    return host.lower() == _LOCAL if address is None else address.is_loopback


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is that of a page that a host serves; a host without a port has that of its scheme."""
    return origin.lower() in {f"http://{host}".lower(), f"https://{host}".lower()}


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
