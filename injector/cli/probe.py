"""`podkey-injector probe`: whether the webhooks answer as API servers ask them.

For each webhook of both configurations: whether it stands there as the chart made it, and an answer from its
Service, with TLS that only the configuration's `caBundle` can vouch for, to a review about a pod that is
never made. The chart's `helm test` runs it.
"""

import argparse
import base64
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from injector.core.api import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, ClusterFault, JsonObject, Resource
from proxy.cli.exit_status import OK, PROBLEMS
from proxy.cli.terminal import printable
from proxy.core.structs import Struct

# What the webhooks' own `timeoutSeconds` says: later nobody waits any more.
CALL_SECONDS: Final = 5.0
# After an installation: until replicas are ready, and the leader has written the bundle.
WAIT_SECONDS: Final = 60
PAUSE_SECONDS: Final = 1.0
# An answer to this review has some hundred bytes.
MAX_ANSWER: Final = 64 << 10
UID: Final = "podkey-probe"
# As the chart calls both configurations.
NAME: Final = "podkey-injector"
# Where new pods are shown; `injector.edge.webhooks` has it, too, and takes a while to import.
PODS: Final = "/mutate"
_MEND: Final = "somebody changed what the chart made; put back what `helm get manifest` shows"


class Unanswered(Exception):  # noqa: N818 - what was found, not an error of the program
    """What is wrong with a webhook."""


class Webhook(Struct, frozen=True):
    """As the API server has it."""

    host: str
    port: int
    path: str
    namespace: str
    bundle: str


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        default=NAME,
        help="of both webhook configurations (default: %(default)s)",
    )
    parser.add_argument(
        "--connect",
        metavar="HOST:PORT",
        type=_place,
        help="instead of the Service's own address, for `kubectl port-forward`; the certificate's name stays",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=int,
        default=WAIT_SECONDS,
        help="how long to try (default: %(default)s)",
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="for a cluster that this process does not run in (default: the pod's service account)",
    )


def execute(arguments: argparse.Namespace) -> int:
    # It takes a while to import: a typing mistake is told before.
    from injector.edge.cluster import Cluster  # noqa: PLC0415

    try:
        cluster = (
            Cluster.of_kubeconfig(arguments.kubeconfig)
            if arguments.kubeconfig
            else Cluster.in_pod(os.environ)  # noqa: TID251 - the entry
        )
    except ClusterFault as fault:
        print(f"podkey-injector probe: {printable(fault.message)}", file=sys.stderr)
        return PROBLEMS
    ends = time.monotonic() + arguments.wait
    while found := list(look(cluster.get, arguments.name, arguments.connect)):
        if time.monotonic() >= ends:
            for sentence in found:
                print(f"podkey-injector probe: {printable(sentence)}", file=sys.stderr)
            return PROBLEMS
        time.sleep(PAUSE_SECONDS)
    print("every webhook answers, with a certificate that its caBundle vouches for")
    return OK


def look(get: Callable[[str], JsonObject], name: str, connect: tuple[str, int] | None) -> Iterator[str]:
    """What is wrong, in words."""
    for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        try:
            configuration = get(resource.path(name=name))
        except ClusterFault as fault:
            yield _unread(fault, resource, name)
            continue
        webhooks = configuration.get("webhooks") or ()
        if not webhooks:
            yield f"`{name}` of the {resource.plural} has no webhooks: nobody is asked; {_MEND}"
        for webhook in webhooks:
            for sentence in faults_of(webhook, connect):
                yield f"{webhook['name']}: {sentence}"


def _unread(fault: ClusterFault, resource: Resource, name: str) -> str:
    if fault.is_missing:
        return f"there is no `{name}` of the {resource.plural}: podkey is not installed, or named otherwise"
    return fault.message


def faults_of(configured: JsonObject, connect: tuple[str, int] | None) -> Iterator[str]:
    """Of one webhook: how it stands in its configuration, and how it answers."""
    if not configured.get("rules"):
        yield f"it has no rules: nobody asks it; {_MEND}"
    webhook = webhook_of(configured)
    if webhook is None:
        url = configured["clientConfig"].get("url")
        yield f"API servers ask {url}, which is no Service, and not podkey's; {_MEND}"
        return
    policy = configured.get("failurePolicy")
    if webhook.path == PODS and policy != "Fail":
        yield f"its failurePolicy is {policy}: while it is away pods start without a sidecar; {_MEND}"
    try:
        ask(webhook, connect)
    except Unanswered as fault:
        yield str(fault)


def webhook_of(configured: JsonObject) -> Webhook | None:
    """None where it is asked at a URL."""
    client = configured["clientConfig"]
    service: Mapping[str, Any] | None = client.get("service")
    if service is None:
        return None
    return Webhook(
        host=f"{service['name']}.{service['namespace']}.svc",
        port=service.get("port", 443),
        path=service.get("path", "/"),
        namespace=service["namespace"],
        bundle=client.get("caBundle") or "",
    )


def ask(webhook: Webhook, connect: tuple[str, int] | None) -> None:
    """Raises `Unanswered`."""
    place = connect or (webhook.host, webhook.port)
    shown = f"{place[0]}:{place[1]}"
    try:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Not `create_default_context`, which takes no bundle for the machine's own roots.
        trust.load_verify_locations(cadata=base64.b64decode(webhook.bundle, validate=True).decode())
    except (ValueError, ssl.SSLError):
        raise Unanswered(
            "its caBundle is empty or cannot be read; the leader, or cert-manager, writes it: see their logs"
        ) from None
    try:
        with (
            socket.create_connection(place, CALL_SECONDS) as plain,
            trust.wrap_socket(plain, server_hostname=webhook.host) as secure,
        ):
            connection = HTTPConnection(webhook.host)
            connection.sock = secure
            head = {"Content-Type": "application/json"}
            connection.request("POST", f"{webhook.path}?timeout=5s", json.dumps(review(webhook)), head)
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER).decode(errors="replace")
    except ssl.SSLCertVerificationError as error:
        why = f"{shown} shows a certificate that its caBundle does not vouch for: {error.verify_message}"
        raise Unanswered(why) from None
    except (OSError, HTTPException) as error:
        raise Unanswered(f"{shown} does not answer: {error}; are replicas ready?") from None
    if answer.status != 200 or not _answers(text):
        raise Unanswered(f"{shown} answers {answer.status} and no review: {text[:200].strip()}")


def _answers(text: str) -> bool:
    try:
        match json.loads(text):
            case {"kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}:
                return bool(uid == UID)
    except ValueError:
        pass
    return False


def review(webhook: Webhook) -> JsonObject:
    """A dry run about a pod beside the injector, which no webhook objects to, and none changes."""
    thing = {"group": "", "version": "v1"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": UID, "namespace": webhook.namespace},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }
    request = {
        "uid": UID,
        "kind": {**thing, "kind": "Pod"},
        "resource": {**thing, "resource": "pods"},
        "name": UID,
        "namespace": webhook.namespace,
        "operation": "CREATE",
        "userInfo": {"username": UID},
        "object": pod,
        "oldObject": None,
        "dryRun": True,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _place(text: str) -> tuple[str, int]:
    """Raises ValueError, which argparse tells."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError(text)
    return host.strip("[]"), int(port)
