"""The leader's care for podkey's own authority: one step at a time, as `engine/authority.py` says.

The configurations are read first and the Secret after them; each write has what was read as its condition.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from injector.core.api import (
    MUTATING_WEBHOOKS,
    SECRETS,
    VALIDATING_WEBHOOKS,
    ClusterFault,
    JsonObject,
    Resource,
)
from injector.core.settings import CertificateSettings
from injector.edge.clock import SystemClock
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.engine.authority import Publish, Rest, Store, advance, read_state
from injector.reading.objects import ObjectFault, SecretData, read_secret
from proxy.core.contract import MANAGED_BY, MANAGED_BY_LABEL
from proxy.telemetry.log import Log
from proxy.x509.certificates import new_key

CALL_SECONDS: Final = 5.0
# Somebody may empty a bundle; until it is written again no pod of enabled namespaces starts.
LOOK_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 3.0
# Not leading: how soon it is noticed that we do.
IDLE_SECONDS: Final = 2.0


class AuthorityKeeper:
    """`verified` gets whether every webhook has the right bundle, `ends` when the authority ends.

    Both on the event loop.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: CertificateSettings,
        namespace: str,
        *,
        leads: Callable[[], bool],
        verified: Callable[[bool], None],
        ends: Callable[[datetime], None],
        hand: Hand,
        log: Log,
        now: Callable[[], datetime] = SystemClock.now,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._namespace = namespace
        self._leads = leads
        self._verified = verified
        self._ends = ends
        self._hand = hand
        self._log = log
        self._now = now
        self._said = ""
        self._missing: list[str] = []
        self._worker = Worker("authority", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def wake(self) -> None:
        self._worker.wake()

    def stop(self) -> None:
        self._worker.stop()
        self._worker.join()

    # --- on the thread ----------------------------------------------------------------------------

    def _turn(self) -> float:
        if not self._leads():
            return IDLE_SECONDS
        try:
            seconds = self._step()
        except (ClusterFault, ObjectFault) as fault:
            self._hand(lambda: self._verified(False))  # noqa: FBT003 - a callback's one argument
            is_conflict = isinstance(fault, ClusterFault) and fault.is_conflict
            if not is_conflict and str(fault) != self._said:
                self._said = str(fault)
                self._log.warning("podkey's authority cannot be looked after", why=str(fault))
            return RETRY_SECONDS
        self._said = ""
        return seconds

    def _step(self) -> float:
        named = (
            (MUTATING_WEBHOOKS, self._settings.mutating_webhook),
            (VALIDATING_WEBHOOKS, self._settings.validating_webhook),
        )
        read = [(resource, name, self._get(resource.path(name=name))) for resource, name in named]
        configurations = [(resource, found) for resource, _, found in read if found is not None]
        # The other one goes on. A configuration that comes back has a bundle by the next look.
        missing = [f"{resource.plural} `{name}`" for resource, name, found in read if found is None]
        secret = self._secret()
        bundles = [bundle for _, found in configurations for bundle in _bundles(found)]
        now = self._now()
        step = advance(secret.data if secret is not None else None, bundles, now, new_key)
        is_verified = isinstance(step, Rest) and not missing
        self._hand(lambda: self._verified(is_verified))
        self._say_missing(missing)
        match step:
            case Store(data, why):
                self._store(secret, data)
                self._log.info("podkey's authority was written", why=why)
                return 0.0
            case Publish(bundle):
                for resource, found in configurations:
                    self._publish(resource, found, bundle)
                self._log.info("the webhooks' bundle was written")
                return 0.0
            case Rest(until):
                self._tell_end(secret)
                return max(1.0, min(LOOK_SECONDS, (until - now).total_seconds()))

    def _say_missing(self, missing: list[str]) -> None:
        if missing and missing != self._missing:
            self._log.warning("a webhook configuration is missing", which=missing)
        self._missing = missing

    def _tell_end(self, secret: SecretData | None) -> None:
        current = read_state(secret.data).current if secret is not None else None
        if current is not None:
            self._hand(lambda: self._ends(current.ends))

    def _secret(self) -> SecretData | None:
        found = self._get(SECRETS.path(self._namespace, self._settings.secret))
        return read_secret(found) if found is not None else None

    def _get(self, path: str) -> JsonObject | None:
        try:
            return self._cluster.get(path, seconds=CALL_SECONDS)
        except ClusterFault as fault:
            if fault.is_missing:
                return None
            raise

    def _store(self, secret: SecretData | None, data: Mapping[str, bytes]) -> None:
        if not self._leads():
            return
        metadata: dict[str, Any] = {
            "name": self._settings.secret,
            "namespace": self._namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        }
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": metadata,
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
        if secret is None:
            self._cluster.create(SECRETS.path(self._namespace), document, seconds=CALL_SECONDS)
            return
        metadata["resourceVersion"] = secret.resource_version
        path = SECRETS.path(self._namespace, self._settings.secret)
        self._cluster.replace(path, document, seconds=CALL_SECONDS)

    def _publish(self, resource: Resource, found: JsonObject, bundle: bytes) -> None:
        """To every webhook of the configuration; the version that was read makes any other a conflict."""
        version = found["metadata"]["resourceVersion"]
        written = base64.b64encode(bundle).decode()
        operations: list[dict[str, Any]] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        ]
        operations += [
            {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": written}
            for number in range(len(found.get("webhooks") or ()))
        ]
        if self._leads() and len(operations) > 1:
            path = resource.path(name=found["metadata"]["name"])
            self._cluster.json_patch(path, operations, seconds=CALL_SECONDS)


def _bundles(configuration: JsonObject) -> list[bytes]:
    """The bundle of each webhook; empty where there is none, or nothing that could be one."""
    found = []
    for webhook in configuration.get("webhooks") or ():
        text = (webhook.get("clientConfig") or {}).get("caBundle") or ""
        try:
            found.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            found.append(b"")
    return found
