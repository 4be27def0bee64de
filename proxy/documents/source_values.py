"""What the kinds of credential sources have in common: URLs, audiences, lifetimes, keys of secrets."""

import re
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from proxy.core.parts import SecretKey
from proxy.documents import values
from proxy.documents.host_names import parse_host_pattern
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import lifetime
from proxy.documents.shapes import Field, Record, Text

# Servers take some 2 KiB of a query; what is longer is no address that somebody wrote down.
MAX_URL_LENGTH: Final = 2048


def _https_url(text: str) -> str:
    fix = "write `https://`, a host name, and a path where there is one"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # Not shown: it may hold a user name and a password, which only a parser that reads it could find.
        raise Fault("this is not a URL that can be read", fix) from None
    if parts.username is not None or parts.password is not None:
        raise Fault("the URL holds a user name or a password", "mount them as a secret; a URL is no place")
    if parts.scheme == "http":
        raise Fault(f"`{text}` is plain http: whoever stands between could read what is sent", fix)
    if parts.scheme != "https" or not parts.hostname or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise Fault(f"`{text}` is not an https URL", fix)
    if parts.fragment or text.endswith("#"):
        raise Fault(f"`{text}` has a fragment, which is never sent", "remove `#` and what follows")
    if port == 0 or len(text) > MAX_URL_LENGTH:
        raise Fault(f"`{text[:80]}` is not a URL that can be asked", fix)
    if parse_host_pattern(parts.hostname).is_wildcard:
        raise Fault(f"`{text}` holds a star", "name one host")
    return text


HTTPS_URL: Final = Text("an https URL", _https_url, "^https://", ("https://login.example.com/oauth2/token",))


def _base_url(text: str) -> str:
    url = _https_url(text).rstrip("/")
    if "?" in url:
        raise Fault(f"`{text}` holds a query", "write the address without `?` and what follows")
    return url


# An address below which paths are added.
BASE_URL: Final = Text("an https URL", _base_url, "^https://", ("https://vault.example.com:8200",))


def _audience(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise Fault(
            f"`{text}` is not an audience", "write the audience that the service expects, without blanks"
        )
    return text


AUDIENCE: Final = Text("an audience", _audience, examples=("sts.amazonaws.com",))


def duration(what: str, least: str, most: str) -> Text:
    """A span such as `1h`, within bounds."""
    kind = lifetime(least, most)

    def parse(text: str) -> timedelta:
        return kind.parse(text)

    return Text(f"{what} from {least} to {most}", parse, "^[0-9]+[smhd]?$", (most,))


def written(span: timedelta) -> str:
    """The shortest way to write a span."""
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


# A scope is any visible ASCII but the quote and the backslash (RFC 6749 §3.3).
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}").fullmatch


def _scope(text: str) -> str:
    if not _SCOPE(text):
        raise Fault(f"`{text}` is not a scope", "write one scope an item, without blanks (RFC 6749 §3.3)")
    return text


SCOPE: Final = Text("a scope", _scope, examples=("read",))

SECRET_KEY_OF: Final = Record(
    "a key of a mounted secret",
    (
        Field(
            "secretName",
            values.NAME,
            "The Kubernetes Secret. It is mounted in the sidecar, never in the application.",
            required=True,
        ),
        Field("key", values.SECRET_KEY, "The key of the Secret.", required=True),
    ),
    SecretKey,
)


def written_key(key: SecretKey) -> dict[str, str]:
    return {"secretName": key.secret_name, "key": key.key}
