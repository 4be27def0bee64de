"""The CredentialSource document. A new kind is one record in its family's module."""

from typing import Any, NamedTuple

from proxy.core.contract import CREDENTIAL_SOURCE
from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
    SourceKind,
    needed_parts,
    optional_parts,
    scheme_name,
)
from proxy.core.mounted_sources import MountedSecret
from proxy.core.vault_source import VaultSecret
from proxy.documents import (
    aws_sources,
    azure_source,
    gcp_source,
    github_source,
    llm_source,
    mounted_sources,
    oauth_sources,
    values,
    vault_source,
)
from proxy.documents.metadata import Metadata, document
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Field, Record

ATTACH_SCHEMES = (
    Field(
        "bearer",
        Record("bearer", (), Bearer),
        "`Authorization: Bearer <token>`. Write `bearer: {}`.",
    ),
    Field(
        "basic",
        Record(
            "basic",
            (
                Field(
                    "username",
                    values.BASIC_USERNAME,
                    "A fixed user name; the token is then the password.",
                ),
            ),
            Basic,
        ),
        "`Authorization: Basic <user name:password>`.",
    ),
    Field(
        "header",
        Record(
            "header",
            (
                Field("name", values.CREDENTIAL_HEADER, "The header.", required=True),
                Field("prefix", values.HEADER_PREFIX, "What stands before the token."),
            ),
            Header,
        ),
        "A header of the service's own.",
    ),
    Field(
        "query",
        Record(
            "query",
            (Field("name", values.CREDENTIAL_PARAMETER, "The parameter.", required=True),),
            QueryParameter,
        ),
        "A query parameter.",
    ),
    Field("sigv4", Record("sigv4", (), SigV4), "AWS Signature Version 4. Write `sigv4: {}`."),
    Field(
        "ecrToken",
        Record("ecrToken", (), EcrToken),
        "`Authorization: Basic` with a token for Amazon's container registry, which podkey gets with AWS "
        "credentials. Write `ecrToken: {}`.",
    ),
)


def _only(**chosen: Any) -> Any:  # noqa: ANN401 - a union by key: whichever record was there
    (value,) = chosen.values()
    return value


ATTACH = Record(
    "an attach scheme",
    ATTACH_SCHEMES,
    _only,
    exactly_one=(tuple(field.name for field in ATTACH_SCHEMES),),
)

# One module per family of sources; each names its keys here.
_KINDS = (
    *mounted_sources.FIELDS,
    *oauth_sources.FIELDS,
    *gcp_source.FIELDS,
    *azure_source.FIELDS,
    *llm_source.FIELDS,
    *vault_source.FIELDS,
    *github_source.FIELDS,
    *aws_sources.FIELDS,
)


class SourceSpec(NamedTuple):
    kind: SourceKind
    attach: AttachScheme | None


def _spec(attach: AttachScheme | None = None, **kinds: SourceKind) -> SourceSpec:
    (kind,) = kinds.values()
    if attach is not None:
        require_parts(kind, attach)
    return SourceSpec(kind, attach)


def require_parts(kind: SourceKind, attach: AttachScheme) -> None:
    """A scheme can only be served by a credential that has its parts, and no others."""
    needed, offered = needed_parts(attach), kind.parts - optional_parts(attach)
    if needed == offered:
        return
    want = ", ".join(sorted(part.value for part in needed))
    have = ", ".join(sorted(part.value for part in offered))
    if isinstance(kind, MountedSecret):
        gives, fix = "the secret's keys give", f"name exactly these in `keys`: {want}"
    elif isinstance(kind, VaultSecret):
        gives, fix = "the secret's fields give", f"name exactly these in `fields`: {want}"
    else:
        gives, fix = "this kind of source gives", f"choose an `attach` that takes {have}, or another kind"
    message = f"`{scheme_name(attach)}` needs {want}, and {gives} {have}"
    raise Fault(message, fix, ProblemCode.ATTACH_MISMATCH)


SOURCE_SPEC = Record(
    "a credential source",
    (
        *_KINDS,
        Field(
            "attach",
            ATTACH,
            "How the credential goes onto the request. Where it is left out, the service that the grant "
            "names says how; a grant that names hosts needs it.",
        ),
    ),
    _spec,
    exactly_one=(tuple(field.name for field in _KINDS),),
)


def _source(metadata: Metadata, spec: SourceSpec) -> CredentialSource:
    return CredentialSource(metadata.namespace, metadata.name, spec.kind, spec.attach)


SOURCE_DOCUMENT = document(
    CREDENTIAL_SOURCE, SOURCE_SPEC, "How a credential comes to be, and how it is attached.", _source
)
