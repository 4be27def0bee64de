"""A grant as a policy writes it: what may be asked where, and with which credential."""

from typing import Final

from proxy.core.globs import Glob
from proxy.core.hosts import HostPattern
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    DEFAULT_PORTS,
    Access,
    Addressing,
    ForeignPresigned,
    Grant,
    OnForeignCredential,
)
from proxy.documents import values
from proxy.documents.problems import Fault
from proxy.documents.shapes import Choice, Field, ListOf, MapOf, Record
from proxy.documents.store_endpoints import LOCATION, STORE_REGION, Location, store_of

BUCKET_PIN: Final = "bucket"


def _query_entry() -> MapOf:
    return MapOf(ListOf(values.QUERY_VALUE, may_be_empty=True), values.QUERY_NAME)


def _grant(
    *,
    credential: str,
    service: str | None = None,
    hosts: tuple[HostPattern, ...] = (),
    endpoint: Location | None = None,
    region: str | None = None,
    addressing: Addressing | None = None,
    ports: tuple[int, ...] | None = None,
    methods: tuple[str, ...] = (),
    paths: tuple[PathPattern, ...] = (),
    query: tuple[tuple[str, tuple[str, ...]], ...] = (),
    buckets: tuple[Glob, ...] = (),
    pins: tuple[tuple[str, tuple[Glob, ...]], ...] = (),
    prefixes: tuple[str, ...] = (),
    access: tuple[Access, ...] = (),
    actions: tuple[str, ...] = (),
    expected_bucket_owner: str | None = None,
    allow_minting: tuple[str, ...] = (),
    on_foreign_credential: OnForeignCredential = OnForeignCredential.REPLACE,
    foreign_presigned: ForeignPresigned = ForeignPresigned.REFUSE,
) -> Grant:
    if buckets:
        if any(name == BUCKET_PIN for name, _ in pins):
            fix = "keep `buckets`"
            raise Fault("`pins.bucket` and `buckets` say the same", fix, at="pins")
        pins = tuple(sorted((*pins, (BUCKET_PIN, buckets))))
    if hosts:
        narrowed = {
            "endpoint": endpoint,
            "pins": pins,
            "prefixes": prefixes,
            "access": access,
            "actions": actions,
            "expectedBucketOwner": expected_bucket_owner,
            "allowMinting": allow_minting,
            "foreignPresigned": foreign_presigned is ForeignPresigned.PASS,
        }
        for key, value in narrowed.items():
            if value:
                shown = "buckets" if key == "pins" and buckets else key
                fix = "name the `service` instead of `hosts`, or narrow with `paths`"
                raise Fault(f"`{shown}` needs a service that can read it", fix, at=shown)
    store = store_of(endpoint, region, addressing)
    if endpoint is not None:
        if ports is not None:
            fix = f"write the port behind the host, such as `{endpoint.host}:{ports[0]}`, and remove `ports`"
            raise Fault("the `endpoint` says the port already", fix, at="ports")
        ports = (endpoint.port,)
    return Grant(
        credential,
        service,
        hosts,
        ports or DEFAULT_PORTS,
        methods,
        paths,
        query,
        pins,
        prefixes,
        access,
        actions,
        expected_bucket_owner,
        allow_minting,
        on_foreign_credential,
        store,
        foreign_presigned,
    )


GRANT = Record(
    "a grant",
    (
        Field(
            "service",
            values.FIELD_NAME,
            "A service of the catalogue (`podkey services` lists them); the alternative to `hosts`.",
        ),
        Field(
            "hosts",
            ListOf(values.HOST),
            "Hosts by name: exact, or one leading `*.` for exactly one label.",
        ),
        Field("credential", values.NAME, "The CredentialSource that is attached.", required=True),
        Field(
            "endpoint",
            LOCATION,
            "S3: a store of your own, or of another company, in place of Amazon's: `HOST` or `HOST:PORT`, "
            "always with TLS.",
        ),
        Field(
            "region",
            STORE_REGION,
            "S3: what requests to the `endpoint` are signed for; `us-east-1` where it is left out.",
        ),
        Field(
            "addressing",
            Choice(Addressing),
            "S3: where requests to the `endpoint` name the bucket: `path` (default) for `HOST/BUCKET/KEY`, "
            "`virtual` for `BUCKET.HOST/KEY`.",
        ),
        Field("ports", ListOf(values.PORT), "TCP ports; 443 where it is left out."),
        Field("methods", ListOf(values.METHOD), "HTTP methods; all where it is left out."),
        Field(
            "paths",
            ListOf(values.PATH),
            "Patterns for the normalised path: `*` within one segment, `**` for any number of segments.",
        ),
        Field(
            "query",
            _query_entry(),
            "Parameters that must be there, each with one of the listed values; an empty list takes any.",
        ),
        Field("buckets", ListOf(values.PIN), "S3: the buckets. Short for `pins: {bucket: …}`."),
        Field(
            "prefixes",
            ListOf(values.PREFIX),
            "S3: key prefixes. `train` covers the key `train` and all below `train/`; `train*` covers "
            "every key that begins so.",
        ),
        Field("access", ListOf(Choice(Access)), "S3: classes of operations."),
        Field(
            "actions",
            ListOf(values.FIELD_NAME),
            "S3: single operations by name, for what no class of `access` covers.",
        ),
        Field(
            "expectedBucketOwner",
            values.BUCKET_OWNER,
            "S3: the account that must own the bucket; S3 itself refuses when another one does.",
        ),
        Field(
            "pins",
            MapOf(ListOf(values.PIN), values.FIELD_NAME),
            "Tenants within the service, by the names that `podkey services NAME` lists.",
        ),
        Field(
            "allowMinting",
            ListOf(values.FIELD_NAME),
            "Credential-minting APIs, by name, whose answers the application may see after all.",
        ),
        Field(
            "onForeignCredential",
            Choice(OnForeignCredential),
            "What becomes of a request that carries a credential of the application's own: `replace` "
            "(default) puts ours in its place, `refuse` answers 403. It never passes.",
        ),
        Field(
            "foreignPresigned",
            Choice(ForeignPresigned),
            "S3: what becomes of a URL that somebody else has signed: `refuse` (default) answers 403, `pass` "
            "forwards it as it is. It never gets a credential.",
        ),
    ),
    _grant,
    exactly_one=(("service", "hosts"),),
)
