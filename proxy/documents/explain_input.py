"""What `podkey explain` is asked: one pod, one request, one moment. Read like any other document."""

from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.core.contract import DEFAULT_NAMESPACE
from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.request import ClientCredential, Removal, RequestFacts
from proxy.core.structs import replace
from proxy.documents import values
from proxy.documents.problems import Fault, Problem
from proxy.documents.reading import Invalid, Place, Reading
from proxy.documents.shapes import Choice, Field, Flag, ListOf, MapOf, Record, Text
from proxy.documents.yaml_nodes import read_nodes


class Url(NamedTuple):
    host: Hostname
    port: int
    target: str


def _url(text: str) -> Url:
    fix = "write a whole URL, such as https://api.openai.com/v1/models"
    if " " in text or not text.isprintable():  # urlsplit drops some of these without a word
        raise Fault(f"`{text}` is not a URL: it holds a blank or a control character", fix)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Fault(f"`{text}` is not a URL: {error}", fix) from None
    if parts.scheme != "https":
        fix = "write it with https://; podkey attaches a credential only where TLS proves the host"
        raise Fault(f"`{text}` is not an https URL", fix)
    host = parse_hostname(parts.hostname or "")
    if host is None:
        fix = "an address has no certificate to prove it; write the host's name"
        raise Fault(f"`{parts.hostname or ''}` is not a host name", fix)
    # As a client would send it: what follows the authority, less the fragment.
    target = text.partition("://")[2].partition("#")[0]
    target = target[len(parts.netloc) :] or "/"
    return Url(host, port or 443, target if target.startswith("/") else "/" + target)


def _image(text: str) -> ImageReference:
    image = ImageReference.parse(text)
    if image is None:
        fix = "write repository, tag and digest as in the pod: registry.example.com/team/app@sha256:…"
        raise Fault(f"`{text}` is not an image reference", fix)
    return image


def _identity(  # noqa: PLR0917 - keywords in every call
    service_account: str = "default",
    namespace: str = DEFAULT_NAMESPACE,
    pod_name: str = "",
    labels: tuple[tuple[str, str], ...] = (),
    images: tuple[ImageReference, ...] = (),
    wants_gpu: bool = False,  # noqa: FBT001, FBT002 - a document's field
) -> WorkloadIdentity:
    return WorkloadIdentity(
        namespace, service_account, pod_name=pod_name, labels=dict(labels), images=images, wants_gpu=wants_gpu
    )


IDENTITY = Record(
    "an identity",
    (
        Field("serviceAccount", values.NAME, "The pod's service account."),
        Field("namespace", values.NAMESPACE, "The pod's namespace."),
        Field("podName", values.NAME, "The pod's name."),
        Field("labels", MapOf(values.LABEL_VALUE, values.LABEL_KEY, may_be_empty=True), "The pod's labels."),
        Field("images", ListOf(Text("an image", _image), may_be_empty=True), "Its containers' images."),
        Field("gpu", Flag(), "Whether it asks for an accelerator.", "wants_gpu"),
    ),
    _identity,
)


def _request(
    method: str,
    url: Url,
    headers: tuple[tuple[str, str], ...] = (),
    client_credential: ClientCredential = ClientCredential.PLACEHOLDER,
    delete_keys: tuple[str, ...] | None = None,
) -> RequestFacts:
    facts = RequestFacts.of(
        url.host,
        method,
        url.target,
        port=url.port,
        headers={name.lower(): value for name, value in headers},
        client_credential=client_credential,
    )
    return facts if delete_keys is None else replace(facts, removals=tuple(map(Removal, delete_keys)))


REQUEST = Record(
    "a request",
    (
        Field("method", values.METHOD, "The HTTP method.", required=True),
        Field("url", Text("a URL", _url), "The URL as the application would call it.", required=True),
        Field("headers", MapOf(values.QUERY_VALUE, values.HEADER_NAME, may_be_empty=True), "Headers."),
        Field(
            "clientCredential",
            Choice(ClientCredential),
            "What the application sends as its credential: our placeholder, one of its own, or none. A "
            "presigned URL was made with it, too.",
        ),
        Field("deleteKeys", ListOf(Text("a key")), "S3: the keys that the body of a DeleteObjects names."),
    ),
    _request,
)


class ExplainInput(NamedTuple):
    request: RequestFacts
    identity: WorkloadIdentity = WorkloadIdentity(DEFAULT_NAMESPACE, "default")
    at: datetime | None = None
    # Sorted pairs, as a document has them; without the name, which is known.
    namespace_labels: tuple[tuple[str, str], ...] = ()


EXPLAIN_INPUT = Record(
    "the input of explain",
    (
        Field("identity", IDENTITY, "The pod."),
        Field("request", REQUEST, "The request.", required=True),
        Field(
            "namespaceLabels",
            MapOf(values.LABEL_VALUE, values.LABEL_KEY, may_be_empty=True),
            "The labels of the pod's namespace, for cluster-wide policies.",
        ),
        Field("at", values.TIMESTAMP, "The moment; now where it is left out."),
    ),
    ExplainInput,
)


def read_explain_input(data: bytes, name: str) -> ExplainInput | list[Problem]:
    """From JSON or YAML."""
    nodes, problems = read_nodes(data, name)
    if problems:
        return problems
    if len(nodes) != 1:
        return [Problem(name, 0, "", f"{len(nodes)} documents", "give exactly one JSON object")]
    reading = Reading(name)
    value: ExplainInput | Invalid = EXPLAIN_INPUT.read(nodes[0], Place(), reading)
    return reading.problems if isinstance(value, Invalid) else value
