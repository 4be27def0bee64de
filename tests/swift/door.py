"""Two filters in Swift's pipeline; they run in its Python and import nothing of ours.

What is Swift's: everything that stores, and every check of a signature (`s3api`: headers, query, chunks,
trailers, region, date, sha256, checksums). What is ours, because Swift has no word for it:

- `keys`: TempAuth whose users come from a file that a test may replace while Swift runs. All of them own
  the one account, so that an object written with one key can be read with another.
- `door`: stands before `s3api` and checks session tokens (Swift ignores them) and their signing, refuses keys
  that have expired, keeps a record of each request, and answers what a test tells it to answer instead.
  Where the test gives this server another clock, the check of x-amz-date against that clock is also ours.

Files in `folder`: keys.json, faults.json (both from the test, replaced by rename), requests.jsonl (from here).
"""

import json
import os
import re
import time
import traceback
from collections import Counter
from email.utils import formatdate
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


class File:
    """JSON that is read again when it was replaced."""

    def __init__(self, folder, name, empty):
        self.path = os.path.join(folder, name)
        self.version = None
        self.content = empty

    def read(self):
        try:
            status = os.stat(self.path)
            version = (status.st_ino, status.st_mtime_ns)
            if version != self.version:
                with open(self.path) as file:
                    self.content = json.load(file)
                self.version = version
        except FileNotFoundError:
            pass
        return self.content


class Keys(TempAuth):
    def __init__(self, app, conf):
        super().__init__(app, conf)
        self.file = File(conf["folder"], "keys.json", {})

    def __call__(self, env, start_response):
        self.users = {
            name: {"key": key["secret"], "url": f"$HOST/v1/{ACCOUNT}", "groups": [".admin"]}
            for name, key in self.file.read().items()
        }
        return super().__call__(env, start_response)


class Door:
    def __init__(self, app, conf):
        self.app = app
        self.folder = conf["folder"]
        self.clock = float(conf.get("clock", 0))
        self.keys = File(conf["folder"], "keys.json", {})
        self.faults = File(conf["folder"], "faults.json", [])
        self.given = Counter()
        self.log = open(os.path.join(conf["folder"], "requests.jsonl"), "a", buffering=1)

    def __call__(self, env, start_response):
        try:
            return self.open(env, start_response)
        except Exception:
            # Swift's own log goes nowhere.
            with open(os.path.join(self.folder, "log"), "a") as log:
                traceback.print_exc(file=log)
            raise

    def open(self, env, start_response):
        headers = [(name.lower(), value) for name, value in env["headers_raw"]]
        query = parse_qs(env.get("QUERY_STRING", ""), keep_blank_values=True)
        credential, signed, token = proof(dict(headers), query)
        record = {
            "method": env["REQUEST_METHOD"],
            "path": env.get("RAW_PATH_INFO", env["PATH_INFO"]),
            "query": env.get("QUERY_STRING", ""),
            "headers": headers,
            "key": credential.partition("/")[0],
            "begun": time.time(),
        }

        def started(status, answered, exc_info=None):
            if self.clock:
                answered = [pair for pair in answered if pair[0].lower() != "date"]
                answered.append(("Date", formatdate(self.now(), usegmt=True)))
            self.write({**record, "status": int(status.split()[0]), "ended": time.time()})
            return start_response(status, answered, exc_info)

        denied = self.told(record) or self.refused(record, dict(headers), query, signed, token)
        if denied is not None:
            return self.answer(denied, started)
        return self.app(env, started)

    def now(self):
        return time.time() + self.clock

    def write(self, record):
        self.log.write(json.dumps(record) + "\n")

    def told(self, record):
        """A fault that the test ordered for a request like this, if there is one left."""
        for fault in self.faults.read():
            fits = fault["method"] in ("", record["method"]) and re.search(
                fault["target"], record["path"] + "?" + record["query"]
            )
            if fits and self.given[fault["id"]] < fault["times"]:
                self.given[fault["id"]] += 1
                return fault
        return None

    def refused(self, record, headers, query, signed, token):
        date = headers.get("x-amz-date") or query.get("X-Amz-Date", [""])[0]
        if self.clock and date and "X-Amz-Date" not in query:
            if abs(seconds(date) - self.now()) > SKEW_SECONDS:
                return {
                    "code": "RequestTimeTooSkewed",
                    "message": "The difference between the request time and the current time is too large.",
                    "more": {"RequestTime": date, "ServerTime": iso(self.now())},
                }
        key = self.keys.read().get(record["key"])
        if key is None:
            return None  # Swift says what it thinks of it
        if key.get("expires") is not None and self.now() > key["expires"]:
            return {"code": "ExpiredToken", "message": "The provided token has expired."}
        if key.get("token") != token:
            return {
                "code": "InvalidToken",
                "message": "The provided token is malformed or otherwise invalid.",
            }
        if token and "x-amz-security-token" in headers and "x-amz-security-token" not in signed:
            return {"code": "AccessDenied", "message": "There were headers present which were not signed"}
        return None

    @staticmethod
    def answer(fault, start_response):
        code = fault["code"]
        more = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fault.get("more", {}).items())
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>{escape(fault.get('message', code))}</Message>{more}"
            "<RequestId>4442587FB7D0A2F9</RequestId></Error>"
        ).encode()
        fields = [("content-type", "application/xml"), ("content-length", str(len(body)))]
        start_response(STATUSES[code], fields + [tuple(pair) for pair in fault.get("headers", [])])
        return [body]


def proof(headers, query):
    """Credential, names of signed headers, and session token: from the header, else from the query."""
    found = re.search(r"Credential=([^,\s]+).*SignedHeaders=([^,\s]+)", headers.get("authorization", ""))
    if found is not None:
        return found[1], found[2].split(";"), headers.get("x-amz-security-token")
    if "X-Amz-Credential" in query:
        signed = query.get("X-Amz-SignedHeaders", [""])[0].split(";")
        return query["X-Amz-Credential"][0], signed, query.get("X-Amz-Security-Token", [None])[0]
    return "", [], None


def seconds(date):
    import calendar

    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


def iso(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def keys(_global_conf, **conf):
    return lambda app: Keys(app, conf)


def door(_global_conf, **conf):
    return lambda app: Door(app, conf)
