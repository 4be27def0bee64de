"""Two filters in Swift's pipeline; they run in its Python and import nothing of ours.

What is Swift's: everything that stores, and every check of a signature (`s3api`: headers, query, chunks,
trailers, region, date, sha256, checksums). What is ours, because Swift has no word for it:

- `keys`: TempAuth whose users come from a file that a test may replace while Swift runs. All of them own
  the one account, so that an object written with one key can be read with another.
- `door`: stands before `s3api` and checks session tokens (Swift ignores them) and that they are signed,
  refuses keys that have expired, keeps a record of each request, and answers what a test tells it to answer
  instead. Where the test gives this server another clock, the check of x-amz-date against it is also ours.

Files in `folder`: keys.json and faults.json, which the test replaces by renaming, and our requests.jsonl.
"""

import calendar
import json
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from swift.common.middleware.tempauth import TempAuth

ACCOUNT = "AUTH_lab"
# What AWS allows between its clock and the client's.
SKEW_SECONDS = 900

STATUSES = {
    "AccessDenied": "403 Forbidden",
    "ExpiredToken": "400 Bad Request",
    "InternalError": "500 Internal Server Error",
    "InvalidToken": "400 Bad Request",
    "PermanentRedirect": "301 Moved Permanently",
    "RequestTimeTooSkewed": "403 Forbidden",
    "RequestTimeout": "400 Bad Request",
    "SlowDown": "503 Slow Down",
    "TemporaryRedirect": "307 Temporary Redirect",
}
MESSAGES = {
    "ExpiredToken": "The provided token has expired.",
    "InvalidToken": "The provided token is malformed or otherwise invalid.",
    "RequestTimeTooSkewed": "The difference between the request time and the current time is too large.",
    "AccessDenied": "There were headers present in the request which were not signed",
    "SlowDown": "Please reduce your request rate.",
}

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Fault = dict[str, Any]


class File:
    """JSON that is read again when it was replaced."""

    def __init__(self, path: Path, empty: Any) -> None:
        self._path = path
        self._version = (0, 0)
        self._content = empty

    def read(self) -> Any:
        if self._path.exists():
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            if version != self._version:
                self._content = json.loads(self._path.read_text())
                self._version = version
        return self._content


class Keys(TempAuth):  # type: ignore[misc]
    def __init__(self, app: Wsgi, conf: dict[str, str]) -> None:
        super().__init__(app, conf)
        self._file = File(Path(conf["folder"], "keys.json"), {})

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.users = {
            name: {"key": key["secret"], "url": f"$HOST/v1/{ACCOUNT}", "groups": [".admin"]}
            for name, key in self._file.read().items()
        }
        return super().__call__(env, start_response)


class Asked:
    """What a request says of itself; the proof stands in the header, else in the query."""

    def __init__(self, env: dict[str, Any]) -> None:
        self.method = env["REQUEST_METHOD"]
        self.path = env.get("RAW_PATH_INFO", env["PATH_INFO"])
        self.query = env.get("QUERY_STRING", "")
        self.fields = [(name.lower(), value) for name, value in env["headers_raw"]]
        headers = dict(self.fields)
        query = {name: texts[0] for name, texts in parse_qs(self.query, keep_blank_values=True).items()}
        found = re.search(r"Credential=([^,\s]+).*SignedHeaders=([^,\s]+)", headers.get("authorization", ""))
        credential = found[1] if found else query.get("X-Amz-Credential", "")
        self.key = credential.partition("/")[0]
        self.token = headers.get("x-amz-security-token") if found else query.get("X-Amz-Security-Token")
        self.date = headers.get("x-amz-date") if found else None
        signed = found[2].split(";") if found else []
        self.signs_token = not found or self.token is None or "x-amz-security-token" in signed

    def record(self) -> dict[str, Any]:
        names = ("method", "path", "query", "key")
        return {"headers": self.fields, "begun": time.time(), **{name: getattr(self, name) for name in names}}


class Door:
    def __init__(self, app: Wsgi, conf: dict[str, str]) -> None:
        self._app = app
        self._folder = Path(conf["folder"])
        self._front = conf["front"]
        self._clock = float(conf["clock"])
        self._keys = File(self._folder / "keys.json", {})
        self._faults = File(self._folder / "faults.json", [])
        self._given: Counter[int] = Counter()

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return self._answer(Asked(env), env, start_response)
        except Exception:
            # Swift's own log goes nowhere.
            with (self._folder / "log").open("a") as log:
                traceback.print_exc(file=log)
            raise

    def _answer(
        self, asked: Asked, env: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        record = asked.record()

        def started(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if self._clock:
                fields = [pair for pair in fields if pair[0].lower() != "date"]
                fields.append(("Date", formatdate(self._now(), usegmt=True)))
            told = {**record, "front": self._front, "status": int(status[:3]), "ended": time.time()}
            with (self._folder / "requests.jsonl").open("a") as log:
                log.write(json.dumps(told) + "\n")
            return start_response(status, fields, exc_info)

        fault = self._told(asked) or self._found(asked)
        if fault is None:
            return self._app(env, started)
        body = _error(fault)
        fields = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        started(STATUSES[fault["code"]], fields + [(name, text) for name, text in fault.get("headers", [])])
        return [] if asked.method == "HEAD" else [body]

    def _now(self) -> float:
        return time.time() + self._clock

    def _told(self, asked: Asked) -> Fault | None:
        """A fault that the test ordered for a request like this, if there is one left."""
        for fault in self._faults.read():
            meant = fault["method"] in {"", asked.method} and fault["front"] in {"", self._front}
            left = self._given[fault["id"]] < fault["times"]
            if meant and left and re.search(fault["target"], f"{asked.path}?{asked.query}"):
                self._given[fault["id"]] += 1
                return dict(fault)
        return None

    def _found(self, asked: Asked) -> Fault | None:
        now = self._now()
        if self._clock and asked.date is not None and abs(_seconds(asked.date) - now) > SKEW_SECONDS:
            more = {"RequestTime": asked.date, "ServerTime": _iso(now)}
            return {"code": "RequestTimeTooSkewed", "more": more}
        key = self._keys.read().get(asked.key)
        if key is None:
            return None  # Swift says what it thinks of it
        if key["expires"] is not None and now > key["expires"]:
            return {"code": "ExpiredToken"}
        if key["token"] != asked.token:
            return {"code": "InvalidToken"}
        return None if asked.signs_token else {"code": "AccessDenied"}


def _error(fault: Fault) -> bytes:
    code = fault["code"]
    more = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fault.get("more", {}).items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{escape(MESSAGES.get(code, code))}</Message>{more}"
        "<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()


def _seconds(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


# What `paste` looks up: a factory of filters.


def keys(_global: dict[str, str], **conf: str) -> Callable[[Wsgi], Wsgi]:
    return lambda app: Keys(app, conf)


def door(_global: dict[str, str], **conf: str) -> Callable[[Wsgi], Wsgi]:
    return lambda app: Door(app, conf)
