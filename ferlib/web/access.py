"""Who may use the service: host names, origins, the API key and the number of sockets."""

import contextlib
import hmac
import os
from collections import Counter
from collections.abc import Iterator

from starlette.datastructures import Headers

from ferlib.core.errors import OptionError
from ferlib.web.options import ServeOptions
from ferlib.web.problems import ProblemError

#: The environment variable with the API key.
KEY_VARIABLE = "FERLIB_API_KEY"

# Shorter keys can be guessed.
_MIN_KEY_LENGTH = 16

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")

#: The routes that need the key: those that cost something or tell something.
_PROTECTED = ("/v1/", "/metrics")


def load_key(options: ServeOptions) -> str | None:
    """Return the API key from the file or the environment variable, or None if there is none.

    Raises
    ------
    OptionError
        The file cannot be read, or the key is too short or not ASCII.
    """
    if options.api_key_file is not None:
        try:
            key = options.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--api-key-file {options.api_key_file} cannot be read ({error}).") from None
        name = f"--api-key-file {options.api_key_file}"
    else:
        key, name = os.environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE
        if not key:
            return None
    if len(key) < _MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise OptionError(f"{name}: expected a key of at least {_MIN_KEY_LENGTH} letters, digits or signs.")
    return key


class Access:
    """Decides about requests; each check raises a `ProblemError`."""

    def __init__(self, options: ServeOptions) -> None:
        self.key = load_key(options)
        names = options.allowed_hosts or ((*_LOCAL_NAMES, options.host) if options.is_loopback else ("*",))
        self._hosts = {name.lower() for name in names}
        self._origins = set(options.allowed_origins)
        self._max_sockets, self._max_client_sockets = options.max_sockets, options.max_client_sockets
        self._sockets: Counter[str] = Counter()

    @property
    def n_sockets(self) -> int:
        """Number of open sockets."""
        return self._sockets.total()

    def check_host(self, headers: Headers) -> None:
        """Refuse host names that are not the service's, as a page of another site sends them (DNS rebinding)."""
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        if "*" not in self._hosts and name.lower() not in self._hosts:
            raise ProblemError(400, "The service does not have this host name; see --allowed-hosts.", reason="host")

    def check_origin(self, headers: Headers) -> None:
        """Refuse requests that a page of another site makes, except those of --allowed-origins."""
        origin = headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if origin.partition("://")[2].lower() != headers.get("host", "").lower():
            raise ProblemError(
                403, "Requests from this origin are not allowed; see --allowed-origins.", reason="origin"
            )

    def check_key(self, path: str, headers: Headers) -> None:
        """Refuse requests without the key."""
        if self.key is None or not path.startswith(_PROTECTED):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if not self.is_key(given):
            raise ProblemError(
                401,
                "The request needs the API key, in the header X-API-Key or as a bearer token.",
                reason="key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def is_key(self, given: object) -> bool:
        """Return whether a value is the key, in a time that does not depend on how much of it is right."""
        if self.key is None:
            return True
        return isinstance(given, str) and hmac.compare_digest(given.encode(), self.key.encode())

    @contextlib.contextmanager
    def socket(self, client: str) -> Iterator[None]:
        """Count a socket of a client while it is open; refuse too many (status 503)."""
        if self.n_sockets >= self._max_sockets or self._sockets[client] >= self._max_client_sockets:
            raise ProblemError(
                503, "There are too many streams; close one.", reason="sockets", headers={"Retry-After": "5"}
            )
        self._sockets[client] += 1
        try:
            yield
        finally:
            self._sockets[client] -= 1
            if not self._sockets[client]:
                del self._sockets[client]
