"""A small client of the Kubernetes API for tests: JSON in, JSON out, a refusal is an answer like any other.

    made = client.create({"apiVersion": "v1", "kind": "Pod", ...})
    assert made.status == 403 and "podkey" in made.message
    job = client.get("batch/v1/jobs", "train", namespace="team").object     # fails the test when refused

A resource is named as its path names it: `v1/pods`, `apps/v1/deployments`.
"""

import http.client
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

from tests.sidecar_process import wait_for

# Far above what a call takes: a webhook may use all of its 30 s.
CALL_SECONDS: Final = 60.0
PATCHES: Final = MappingProxyType(
    {
        "merge": "application/merge-patch+json",
        "json": "application/json-patch+json",
        "strategic": "application/strategic-merge-patch+json",
        "apply": "application/apply-patch+yaml",  # JSON is YAML
    }
)
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

type Object = dict[str, Any]

# RFC 9111 section 5.5, as Kubernetes writes it: `299 - "text"`.
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"').findall


@dataclass(frozen=True)
class Answer:
    """`warnings` are what admission webhooks and the server warn of."""

    status: int
    body: Any = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        """Of a refusal: what the user reads."""
        return "" if self.ok else str(self.body.get("message", self.body) if self.body else "")

    @property
    def reason(self) -> str:
        return "" if self.ok or not isinstance(self.body, dict) else str(self.body.get("reason", ""))

    @property
    def object(self) -> Object:
        """What was asked for."""
        assert self.ok, f"{self.status}: {self.message}"
        assert isinstance(self.body, dict)
        return self.body


class ApiClient:
    """Every call is a connection of its own, so any thread may call."""

    def __init__(
        self, place: tuple[str, int], trust: ssl.SSLContext, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._place = place
        self._trust = trust
        self._headers = tuple(headers)
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def impersonating(self, user: str, *groups: str) -> "ApiClient":
        """As `kubectl --as` does."""
        claimed = [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
        return ApiClient(self._place, self._trust, [*self._headers, *claimed])

    # --- any call ---

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] = NOTHING,
        content_type: str = "application/json",
    ) -> Answer:
        """The body is sent as it is when it is bytes, else as JSON."""
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        answer, content = self._send(method, path, sent, query, content_type)
        warned = tuple(
            re.sub(r"\\(.)", r"\1", text)
            for line in answer.headers.get_all("Warning", [])
            for text in _WARNING(line)
        )
        is_json = answer.getheader("Content-Type", "").startswith("application/json")
        return Answer(answer.status, json.loads(content) if is_json else content.decode(), warned)

    def _send(
        self, method: str, path: str, body: bytes | None, query: Mapping[str, str], content_type: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPSConnection(*self._place, timeout=CALL_SECONDS, context=self._trust)
        try:
            connection.putrequest(method, path + (f"?{urlencode(query)}" if query else ""))
            for name, text in (*self._headers, ("Accept", "application/json")):
                connection.putheader(name, text)
            if body is not None:
                connection.putheader("Content-Type", content_type)
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    # --- objects ---

    def create(self, made: Object, namespace: str = "", *, dry_run: bool = False) -> Answer:
        """Where the object says no namespace it is the one that is given."""
        return self.call("POST", self._path_of(made, namespace), made, query=_dry(dry_run))

    def replace(self, made: Object, *, sub: str = "", dry_run: bool = False) -> Answer:
        """As a whole: with the `resourceVersion` that was read, only if nobody changed it since."""
        return self.call("PUT", self._named(made, sub), made, query=_dry(dry_run))

    def apply(self, made: Object, namespace: str = "", *, manager: str = "podkey-tests") -> Answer:
        """Server-side apply, taking over what others own."""
        query = {"fieldManager": manager, "force": "true"}
        path = self._named({**made, "metadata": {"namespace": namespace, **made["metadata"]}})
        return self.call("PATCH", path, made, query=query, content_type=PATCHES["apply"])

    def patch(
        self,
        resource: str,
        name: str,
        patch: object,
        *,
        namespace: str = "",
        how: str = "merge",
        sub: str = "",
        dry_run: bool = False,
    ) -> Answer:
        """`how` is one of `merge`, `json`, `strategic`."""
        path = path_of(resource, namespace, name, sub)
        return self.call("PATCH", path, patch, query=_dry(dry_run), content_type=PATCHES[how])

    def get(self, resource: str, name: str, *, namespace: str = "", sub: str = "") -> Answer:
        return self.call("GET", path_of(resource, namespace, name, sub))

    def listing(self, resource: str, *, namespace: str = "", labels: str = "", fields: str = "") -> Answer:
        """Of all namespaces, where none is named; `labels` and `fields` are selectors."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        return self.call(
            "GET", path_of(resource, namespace), query={key: text for key, text in query.items() if text}
        )

    def items(
        self, resource: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        found = self.listing(resource, namespace=namespace, labels=labels, fields=fields).object["items"]
        assert isinstance(found, list)
        return found

    def delete(self, resource: str, name: str, *, namespace: str = "", grace: int | None = 0) -> Answer:
        """At once, and what it owns in the background."""
        options: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return self.call("DELETE", path_of(resource, namespace, name), options)

    def watched(self, resource: str, since: str, *, namespace: str = "", seconds: int = 1) -> list[Object]:
        """The events from a version on, for so long; an ERROR of code 410 where that is forgotten."""
        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(seconds)}
        answer, content = self._send("GET", path_of(resource, namespace), None, query, "")
        assert answer.status in {200, 410}, content
        events = [json.loads(line) for line in content.splitlines()]
        return events if answer.status == 200 else [{"type": "ERROR", "object": event} for event in events]

    def wait_items(
        self, resource: str, count: int = 1, *, namespace: str = "", labels: str = "", seconds: float = 30.0
    ) -> list[Object]:
        """As soon as there are that many."""

        def look() -> list[Object]:
            found = self.items(resource, namespace=namespace, labels=labels)
            return found if len(found) >= count else []

        return wait_for(look, f"{count} {resource} of {labels or 'any label'} in {namespace!r}", seconds)

    def install(self, objects: Sequence[Object]) -> None:
        """What a chart renders: each is made, or replaced; a CRD is waited for until it is served.

        Not applied: server-side apply of this version refuses fields that it does not know, as CEL rules
        are, while create and replace drop them.
        """
        for made in objects:
            answer = self.create(made)
            if answer.reason == "AlreadyExists":
                there = self.call("GET", self._named(made)).object["metadata"]["resourceVersion"]
                metadata = {**made["metadata"], "resourceVersion": there}
                answer = self.replace({**made, "metadata": metadata})
            assert answer.object
            if made["kind"] == "CustomResourceDefinition":
                self._wait_served(made)

    def _wait_served(self, definition: Object) -> None:
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        for version in definition["spec"]["versions"]:
            if version["served"]:
                resource = f"{group}/{version['name']}/{plural}"
                wait_for(lambda at=resource: self.listing(at).ok, resource, 30)  # type: ignore[misc]

    # --- where it is ---

    def _path_of(self, made: Object, namespace: str) -> str:
        version, kind = made["apiVersion"], made["kind"]
        if (version, kind) not in self._kinds:
            known = self.call("GET", _root(version)).object["resources"]
            self._kinds |= {
                (version, one["kind"]): (one["name"], one["namespaced"])
                for one in known
                if "/" not in one["name"]
            }
        plural, namespaced = self._kinds[version, kind]
        where = made.get("metadata", {}).get("namespace") or namespace or "default"
        return path_of(f"{version}/{plural}", where if namespaced else "")

    def _named(self, made: Object, sub: str = "") -> str:
        path = f"{self._path_of(made, '')}/{quote(made['metadata']['name'], safe='')}"
        return f"{path}/{sub}" if sub else path


def path_of(resource: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    version, _, plural = resource.rpartition("/")
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    rest = "".join(f"/{quote(part, safe='')}" for part in (name, sub) if part)
    return f"{_root(version)}{within}/{plural}{rest}"


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _dry(dry_run: bool) -> Mapping[str, str]:  # noqa: FBT001 - said by name where it is called
    return {"dryRun": "All"} if dry_run else NOTHING
