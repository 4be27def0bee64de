"""The API server, as requests and answers. The doorman of `kubernetes`.

Of the package we use what knows where the server is and who we are: kubeconfig files, the pod's own service
account whose token is read again as it is renewed, TLS; and the connection pool that it makes of them. Not
its model classes, Watch, informer and LeaderElection: docs/adr/0015 says why.

Everything is synchronous and for threads. Every call has a time-out, every answer a largest size, and every
failure is a ClusterFault, whose text has no token and nothing of a Secret.
"""

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from importlib.util import find_spec, module_from_spec
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

from injector.core.api import (
    BAD_ANSWER,
    TIMED_OUT,
    UNCONFIGURED,
    UNREACHABLE,
    ClusterFault,
    Page,
)
from injector.edge.cluster_answers import Json, WatchStream, fault_of, json_object, read_whole
from proxy.core.contract import MANAGED_BY

# A call that the server works on is done in milliseconds; a large page takes a second or two.
CALL_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
# Beyond the time that a watch was asked for.
WATCH_GRACE: Final = 15.0
# Parsed it is some times as large. A page above it is asked for again with fewer objects.
MAX_ANSWER: Final = 16 << 20
CHUNK: Final = 64 << 10
# One for each thread of ours that asks, and some: more connections are made, and not kept.
POOL: Final = 16

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

# A peer that vanished without a word (a node that was cut off) is noticed within a minute.
_KEEPALIVE: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Cluster:
    """Any thread may call. `source` is where the configuration came from, for messages."""

    def __init__(self, configuration: Any, source: str) -> None:  # noqa: ANN401 - the package has no types
        from kubernetes.client.rest import RESTClientObject  # type: ignore[import-untyped]  # noqa: PLC0415

        configuration.socket_options = list(_KEEPALIVE)
        self._configuration = configuration
        self._host = str(configuration.host).rstrip("/")
        self._pool = RESTClientObject(configuration, maxsize=POOL).pool_manager
        # A refresh may run a program of the kubeconfig's.
        self._asking_who = threading.Lock()
        self.source = source

    @classmethod
    def in_pod(cls, environment: Mapping[str, str], folder: str = SERVICE_ACCOUNT) -> Self:
        """As the pod's service account; `environment` has KUBERNETES_SERVICE_HOST and _PORT."""
        _only_what_we_use()
        from kubernetes.client.configuration import (  # type: ignore[import-untyped]  # noqa: PLC0415
            Configuration,
        )
        from kubernetes.config.config_exception import (  # type: ignore[import-untyped]  # noqa: PLC0415
            ConfigException,
        )
        from kubernetes.config.incluster_config import (  # type: ignore[import-untyped]  # noqa: PLC0415
            InClusterConfigLoader,
        )

        configuration = Configuration()
        # HTTPS_PROXY of the pod is for calls out of the cluster.
        configuration.proxy = None
        loader = InClusterConfigLoader(f"{folder}/token", f"{folder}/ca.crt", environ=environment)
        try:
            loader.load_and_set(configuration)
        except (ConfigException, OSError) as error:
            fix = "run podkey-injector in a pod with `automountServiceAccountToken`, or give it a kubeconfig"
            raise ClusterFault(
                None, UNCONFIGURED, f"no service account in {folder}: {error}; {fix}"
            ) from None
        return cls(configuration, folder)

    @classmethod
    def of_kubeconfig(cls, path: str, context: str | None = None) -> Self:
        _only_what_we_use()
        from kubernetes.client.configuration import Configuration  # noqa: PLC0415
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415
        from kubernetes.config.kube_config import (  # type: ignore[import-untyped]  # noqa: PLC0415
            load_kube_config,
        )

        configuration = Configuration()
        try:
            load_kube_config(path, context, configuration, persist_config=False)
        except ConfigException as error:
            raise ClusterFault(None, UNCONFIGURED, f"the kubeconfig {path}: {error}") from None
        except Exception as error:  # noqa: BLE001 - a broken file fails in many ways, some of which quote it
            kind = type(error).__name__
            raise ClusterFault(None, UNCONFIGURED, f"the kubeconfig {path} cannot be read ({kind})") from None
        return cls(configuration, path)

    # --- reading ----------------------------------------------------------------------------------

    def get(self, path: str, *, seconds: float = CALL_SECONDS) -> Json:
        return self._call("GET", path, seconds=seconds)

    def list_page(
        self,
        path: str,
        *,
        limit: int,
        continue_token: str = "",
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        seconds: float = CALL_SECONDS * 3,
    ) -> Page:
        """Without a resource version it is the newest, by agreement of etcd, and not from a cache."""
        query = {
            "limit": str(limit),
            "continue": continue_token,
            "resourceVersion": "" if continue_token else resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        match self._call("GET", path, query, seconds=seconds):
            case {
                "items": list(items) | (None as items),
                "metadata": {"resourceVersion": str(version)} as meta,
            }:
                token = meta.get("continue")
                return Page(items or (), token if isinstance(token, str) else "", version)
            case _:
                raise ClusterFault(None, BAD_ANSWER, f"GET {path}: the answer is no list")

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: float,
        label_selector: str = "",
        field_selector: str = "",
    ) -> "WatchStream":
        """Returns when the server has begun to answer."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(seconds))),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        what = f"watch {path}"
        answer = self._send("GET", path, query, seconds=seconds + WATCH_GRACE)
        if answer.status != HTTPStatus.OK:
            with answer:
                raise fault_of(answer, what)
        return WatchStream(answer, what)

    # --- writing ----------------------------------------------------------------------------------

    def create(self, path: str, document: Mapping[str, Any], *, seconds: float = CALL_SECONDS) -> Json:
        return self._call("POST", path, {"fieldManager": MANAGED_BY}, document, seconds=seconds)

    def replace(self, path: str, document: Mapping[str, Any], *, seconds: float = CALL_SECONDS) -> Json:
        """With the resource version that was read in its metadata, only if nobody changed it since."""
        return self._call("PUT", path, {"fieldManager": MANAGED_BY}, document, seconds=seconds)

    def merge_patch(self, path: str, patch: Mapping[str, Any], *, seconds: float = CALL_SECONDS) -> Json:
        """RFC 7396. A resource version in its metadata makes any other a conflict."""
        kind = "application/merge-patch+json"
        return self._call(
            "PATCH", path, {"fieldManager": MANAGED_BY}, patch, content_type=kind, seconds=seconds
        )

    def json_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, seconds: float = CALL_SECONDS
    ) -> Json:
        """RFC 6902."""
        kind = "application/json-patch+json"
        return self._call(
            "PATCH", path, {"fieldManager": MANAGED_BY}, operations, content_type=kind, seconds=seconds
        )

    def delete(
        self, path: str, *, uid: str = "", resource_version: str = "", seconds: float = CALL_SECONDS
    ) -> Json:
        """With preconditions where they are given: another object of the same name is a conflict."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: text for key, text in wanted.items() if text}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        return self._call("DELETE", path, {}, options, seconds=seconds)

    def close(self) -> None:
        self._pool.clear()

    # --- within -----------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        *,
        content_type: str = "application/json",
        seconds: float,
    ) -> Json:
        what = f"{method} {path}"
        deadline = time.monotonic() + seconds
        sent = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer = self._send(method, path, query or {}, sent, content_type=content_type, seconds=seconds)
        with answer:
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise fault_of(answer, what)
            return json_object(read_whole(answer, what, MAX_ANSWER, deadline), what)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None = None,
        *,
        content_type: str = "",
        seconds: float,
    ) -> "_UrllibAnswer":
        from kubernetes.client import rest  # type: ignore[import-untyped]  # noqa: PLC0415 - loaded by now

        what = f"{method} {path}"
        asked = urlencode({key: text for key, text in query.items() if text})
        headers = {"Accept": "application/json", "User-Agent": MANAGED_BY}
        if body is not None:
            headers["Content-Type"] = content_type
        headers |= self._who()
        with _faults(what, self._place):
            response = self._pool.request(
                method,
                f"{self._host}{path}" + (f"?{asked}" if asked else ""),
                body=body,
                headers=headers,
                timeout=rest.urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
                preload_content=False,
                # Whoever calls tries again, or does not; and a redirect would take the token elsewhere.
                retries=False,
                redirect=False,
            )
        return _UrllibAnswer(response, what, self._place)

    def _who(self) -> dict[str, str]:
        with self._asking_who:
            try:
                bearer = self._configuration.auth_settings().get("BearerToken")
            except Exception as error:  # noqa: BLE001 - a file that is gone, a program that fails, the package's own
                why = f"the token of {self.source} cannot be read ({type(error).__name__})"
                raise ClusterFault(None, UNCONFIGURED, why) from None
        # A file that people made ends with a line break, which no header may have.
        return {"Authorization": bearer["value"].strip()} if bearer and bearer["value"] else {}

    @property
    def _place(self) -> str:
        """For messages: the server without what a URL may have beside it."""
        parts = urlsplit(self._host)
        return parts.netloc.rpartition("@")[2]


class _UrllibAnswer:
    """urllib3's response, of which nothing but ClusterFaults comes."""

    def __init__(self, response: Any, what: str, place: str) -> None:  # noqa: ANN401 - urllib3 stays in here
        self._response = response
        self._what = what
        self._place = place
        self._sock = getattr(getattr(response, "connection", None), "sock", None)
        self.status: int = response.status
        self.retry_after: str | None = response.headers.get("Retry-After")

    def read(self) -> bytes:
        with _faults(self._what, self._place):
            return bytes(self._response.read1(CHUNK))

    def wake(self) -> None:
        if self._sock is not None:
            # It may be closed already.
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Read to its end it went back into the pool by itself."""
        if not self._response.closed:
            self._response.close()


@contextmanager
def _faults(what: str, place: str) -> Iterator[None]:
    """What urllib3, the sockets and TLS raise, as faults. Their own texts quote URLs."""
    from kubernetes.client import rest  # noqa: PLC0415 - loaded by now

    errors = rest.urllib3.exceptions
    try:
        yield
    except errors.NewConnectionError as error:  # which urllib3 counts among the time-outs
        raise ClusterFault(None, UNREACHABLE, f"{what}: {place} cannot be reached: {_why(error)}") from None
    except (errors.TimeoutError, TimeoutError):
        raise ClusterFault(None, TIMED_OUT, f"{what}: {place} did not answer in time") from None
    except (errors.SSLError, ssl.SSLError) as error:
        raise ClusterFault(None, UNREACHABLE, f"{what}: TLS with {place} failed: {_why(error)}") from None
    except (errors.HTTPError, OSError, ValueError) as error:
        raise ClusterFault(None, UNREACHABLE, f"{what}: {place} cannot be reached: {_why(error)}") from None


def _why(error: BaseException) -> str:
    """The words of the system's own error below, which name neither URL nor header."""
    inner: BaseException | None = error
    for _ in range(8):
        found = getattr(inner, "verify_message", None) or getattr(inner, "strerror", None)
        if isinstance(found, str):
            return found
        if inner is None:
            break
        nested = next((part for part in inner.args if isinstance(part, BaseException)), None)
        inner = nested or inner.__cause__ or inner.__context__
    return type(error).__name__


# --- the package without its models ----------------------------------------------------------------

_PACKAGES: Final = ("kubernetes", "kubernetes.client", "kubernetes.config")


def _only_what_we_use() -> None:
    """Its `__init__` modules import 800 models and all APIs: 75 MiB and three seconds that we do not need.

    So the packages are put in place empty, and Python finds their modules as ever. Where somebody has
    imported the whole package already, that is used.
    """
    for name in _PACKAGES:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        if spec is None:
            raise ClusterFault(None, UNCONFIGURED, "the package `kubernetes` is not installed")
        module = sys.modules[name] = module_from_spec(spec)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    client = sys.modules["kubernetes.client"]
    if not hasattr(client, "Configuration"):
        from kubernetes.client.configuration import Configuration  # noqa: PLC0415

        # What `kubernetes.config` imports from there; it makes no client unless asked to.
        client.Configuration = Configuration  # type: ignore[attr-defined]
        client.ApiClient = object  # type: ignore[attr-defined]
