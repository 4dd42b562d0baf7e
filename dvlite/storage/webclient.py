"""GET requests to a web server: connections that stay open, redirects, proxies, certificates.

Owns where a request may lead: to http and https only, never from https to http, and a password
only to the server that it belongs to. It is built on Python's own `http.client`, because it needs
no package and is no slower: on two cores over loopback, see docs/design.md. What the answers mean
is the backend's business.
"""

from __future__ import annotations

import base64
import http.client
import netrc
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from dvlite._version import VERSION
from dvlite.errors import RemoteError, UsageError
from dvlite.storage.weboptions import WebOptions

PROTOCOLS = ("http", "https")
_PORTS = {"http": 80, "https": 443}
_CONNECT_S = 20.0
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
# The answer of a redirect is read so that its connection can be used again, unless it is long.
_LITTLE = 64 << 10
# What may stand in a path as it is; `%` because a URL is written with its escapes.
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"


class Origin(NamedTuple):
    """What a password belongs to and a connection leads to."""

    scheme: str
    host: str
    port: int


class Target(NamedTuple):
    """A URL taken apart: what to connect to, and what to ask for there."""

    origin: Origin
    path: str

    @property
    def url(self) -> str:
        """Put together again."""
        scheme, host, port = self.origin
        place = f"[{host}]" if ":" in host else host
        return f"{scheme}://{place}{'' if port == _PORTS[scheme] else f':{port}'}{self.path}"


def split_url(url: str) -> tuple[Target, str, str]:
    """A remote's URL: the target with the path of its folder, user and password.

    Raises:
        UsageError: it cannot be the URL of a remote.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        host = ""
    if not host or parts.query or parts.fragment:
        raise UsageError(
            "the URL of a remote on a web server cannot be used",
            "https://HOST/PATH, without a query (?) or a fragment (#)",
        )
    path = _quoted(parts.path.rstrip("/"))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Target(Origin(parts.scheme, host, port), path), user, password


class WebClient:
    """Asks one web server, and those that it leads to; for many threads at once."""

    def __init__(self, origin: Origin, user: str, password: str, options: WebOptions) -> None:
        self._options = options
        self._home = origin
        self._authorization = _authorization(origin, user, password)
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[http.client.HTTPConnection]] = {}
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def get(self, target: Target, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request, after redirects. What is not read of it is thrown away.

        Raises:
            RemoteError: it leads where it must not. OSError, HTTPException: the network's.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            connection, response = self._ask(target, headers)
            following = None
            try:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                following = _redirected(target, response)
                response.read(_LITTLE)
            finally:
                self._give_back(target.origin, connection, response)
            target = following
        raise RemoteError(
            f"{target.url} redirects without end", "use the URL that it should lead to"
        )

    def _ask(
        self, target: Target, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        sent = {"User-Agent": f"dvlite/{VERSION}", "Accept-Encoding": "identity", **headers}
        if target.origin == self._home and self._authorization:
            sent["Authorization"] = self._authorization
        while True:
            connection = self._taken(target.origin)
            if connection is None:
                break
            try:  # a server may have closed it since: that is no failure, and asked anew
                return self._asked(connection, target, sent)
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                continue
        return self._asked(self._connected(target.origin), target, sent)

    def _asked(
        self, connection: http.client.HTTPConnection, target: Target, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        plain_proxy = target.origin.scheme == "http" and self._proxy(target.origin)
        path = target.path or "/"
        if plain_proxy:
            path = target.url
            headers = {**headers, **_proxy_headers(plain_proxy)}
        try:
            connection.request("GET", path, headers=headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _taken(self, origin: Origin) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(origin)
            return idle.pop() if idle else None

    def _give_back(
        self,
        origin: Origin,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        if not response.isclosed() or connection.sock is None:  # something is unread, or it ended
            response.close()
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(origin, []).append(connection)

    def _connected(self, origin: Origin) -> http.client.HTTPConnection:
        proxy = self._proxy(origin)
        place = (proxy.hostname or "", proxy.port or 80) if proxy else (origin.host, origin.port)
        timeout = min(self._options.timeout, _CONNECT_S)
        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            connection = http.client.HTTPSConnection(
                *place, timeout=timeout, context=self._context()
            )
            if proxy:
                connection.set_tunnel(origin.host, origin.port, _proxy_headers(proxy))
        else:
            connection = http.client.HTTPConnection(*place, timeout=timeout)
        connection.connect()
        connection.sock.settimeout(self._options.timeout)
        return connection

    def _proxy(self, origin: Origin) -> _Proxy | None:
        """As the option says, else as the environment (or the system) says."""
        text = self._options.proxy
        if not text:
            from urllib.request import getproxies, proxy_bypass

            if proxy_bypass(f"{origin.host}:{origin.port}"):
                return None
            text = getproxies().get(origin.scheme, "")
        return _Proxy.of(text) if text else None

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                if self._options.ca_bundle:
                    self._tls.load_verify_locations(self._options.ca_bundle)
            return self._tls


class _Proxy(NamedTuple):
    hostname: str
    port: int
    user: str
    password: str

    @classmethod
    def of(cls, text: str) -> _Proxy:
        """The proxy that an environment variable names."""
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname or "", parts.port or 80
        except ValueError:
            host = ""
        if not host or parts.scheme != "http":
            raise UsageError(
                "the proxy for a remote on a web server cannot be used", "http://HOST:PORT"
            )
        return cls(host, port, unquote(parts.username or ""), unquote(parts.password or ""))


def _proxy_headers(proxy: _Proxy) -> dict[str, str]:
    if not proxy.user:
        return {}
    return {"Proxy-Authorization": _basic(proxy.user, proxy.password)}


def _redirected(target: Target, response: http.client.HTTPResponse) -> Target:
    """Where a redirect leads.

    Raises:
        RemoteError: to something that is no web server, or from https to http.
    """
    location = response.headers.get("Location", "")
    try:
        parts = urlsplit(urljoin(target.url, location))
        port = parts.port or _PORTS.get(parts.scheme, 0)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    downgrade = target.origin.scheme == "https" and host and parts.scheme != "https"
    if not host or parts.scheme not in PROTOCOLS or downgrade:
        raise RemoteError(
            f"{target.url} redirects to where dvlite does not follow: {location[:200]!r}",
            "redirects are followed to https://, and from http:// to http://",
        )
    query = f"?{quote(parts.query, safe=_PATH_SAFE + '?')}" if parts.query else ""
    return Target(Origin(parts.scheme, host, port), _quoted(parts.path) + query)


def _authorization(origin: Origin, user: str, password: str) -> str:
    """The header for user and password; of ~/.netrc where the URL has no password.

    That file is used for https only: a committed URL could ask for http, and anybody on the way
    would read the password.
    """
    if not password and origin.scheme == "https":
        with suppress(OSError, netrc.NetrcParseError):
            found = netrc.netrc().authenticators(origin.host)
            if found is not None and user in ("", found[0]):
                user, password = found[0], found[2] or ""
    return _basic(user, password) if password else ""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _quoted(path: str) -> str:
    """A path as it is sent: what is no escape and cannot stand in a URL becomes one."""
    parts = path.split("%")
    fixed = [parts[0]]
    for part in parts[1:]:
        is_escape = len(part) >= 2 and all(one in "0123456789abcdefABCDEF" for one in part[:2])
        fixed.append(f"{'%' if is_escape else '%25'}{part}")
    return quote("".join(fixed), safe=_PATH_SAFE)


def _close_all(idle: dict[Origin, list[http.client.HTTPConnection]]) -> None:
    for connections in idle.values():
        for connection in connections:
            connection.close()
