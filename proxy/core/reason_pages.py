"""What the documentation says of each reason code: the table from which `docs/reasons.md` is generated."""

from typing import Final

from proxy.core.reasons import Actor, Reason, ReasonPage

REASONS: Final[dict[Reason, ReasonPage]] = {
    Reason.GRANTED: ReasonPage(
        "A grant covers the request; the credential it names is attached.",
        Actor.NOBODY,
        "Nothing.",
    ),
    Reason.UNGOVERNED_HOST: ReasonPage(
        "No grant of this pod's policies names the host. The connection is relayed unopened, and no "
        "credential is attached.",
        Actor.NOBODY,
        "If the host should get a credential, add a grant that names it.",
    ),
    Reason.BLOB_HOST: ReasonPage(
        "The service catalogue knows the host as one that serves blobs by signed URLs. Such a host never "
        "gets a credential, even where a wildcard grant covers it.",
        Actor.NOBODY,
        "Nothing: a signed URL needs no further credential.",
    ),
    Reason.PRESIGNED_ELSEWHERE: ReasonPage(
        "The URL carries somebody else's signature, and the grant that covers it says `foreignPresigned: "
        "pass`. It is forwarded as it is, without a credential of ours.",
        Actor.NOBODY,
        "Nothing to do.",
    ),
    Reason.WOULD_ATTACH: ReasonPage(
        "An observing policy grants the request, and the application sent a credential of its own, which "
        "was left in place. In `mode: enforce` podkey would attach its credential instead.",
        Actor.PLATFORM,
        "Take the static credential out of the pod; then set `mode: enforce`.",
    ),
    Reason.WOULD_REFUSE: ReasonPage(
        "An observing policy let a request pass that `mode: enforce` would refuse. The verdict carries the "
        "refusal it would have been.",
        Actor.PLATFORM,
        "Add the missing grant, or accept that the call will be refused; then set `mode: enforce`.",
    ),
    Reason.MALFORMED_PATH: ReasonPage(
        "The request path is no valid path: it does not start with a slash, holds characters that RFC 3986 "
        "does not allow, a broken percent-escape or an encoded control character, or is too long.",
        Actor.ML_ENGINEER,
        "Percent-encode the path in the client; every common HTTP library does so by itself.",
        400,
    ),
    Reason.AMBIGUOUS_PATH: ReasonPage(
        "Two correct servers could read the path differently, so what we match could differ from what is "
        "served: an encoded slash, a backslash, dots followed by an escape or a path parameter, dot segments "
        "beside empty ones, escapes that are not UTF-8. On a service whose paths are keys, dot segments and "
        "a plus sign count too.",
        Actor.ML_ENGINEER,
        "Send the path in its plain form, without dot segments and encoded slashes.",
        400,
    ),
    Reason.MALFORMED_QUERY: ReasonPage(
        "The query is no valid query: it holds characters that RFC 3986 does not allow (square brackets are "
        "tolerated), a broken percent-escape or an encoded NUL, or is too long.",
        Actor.ML_ENGINEER,
        "Percent-encode the query in the client; every common HTTP library does so by itself.",
        400,
    ),
    Reason.AMBIGUOUS_QUERY: ReasonPage(
        "A query parameter that the grant depends on is given more than once (also in another case, or as "
        "`name[]`), or the query holds a semicolon, which some servers read as a separator.",
        Actor.ML_ENGINEER,
        "Send each parameter once and separate parameters with `&`.",
        400,
    ),
    Reason.METHOD_FORBIDDEN: ReasonPage(
        "The method is none that a credential travels with: TRACE would show the credential to the "
        "application, CONNECT would open a tunnel, and servers differ in what they make of others.",
        Actor.ML_ENGINEER,
        "Use a registered method in upper case, such as GET or POST.",
    ),
    Reason.OVERRIDE_HEADER: ReasonPage(
        "The request carries a header that some servers take for the method or the path "
        "(`X-HTTP-Method-Override`, `X-Original-URL` and their kin), so what is served could differ from "
        "what is granted.",
        Actor.ML_ENGINEER,
        "Send the method and the path that are meant, without the header.",
    ),
    Reason.QUERY_AUTH_PRESENT: ReasonPage(
        "The query already carries a signature (a presigned URL). podkey never adds a credential to a "
        "request that has one, and a URL that somebody else signed could lead data out of the granted "
        "account.",
        Actor.ML_ENGINEER,
        "Call the service with its plain URL; podkey signs the request.",
    ),
    Reason.PORT_NOT_GRANTED: ReasonPage(
        "The host is granted, but not on this port (443 unless the grant says otherwise).",
        Actor.PLATFORM,
        "Add the port to the grant's `ports`, or use the default port in the client.",
    ),
    Reason.METHOD_NOT_GRANTED: ReasonPage(
        "The nearest grant does not name this HTTP method.",
        Actor.PLATFORM,
        "Add the method to the grant's `methods` if the workload may use it.",
    ),
    Reason.PATH_NOT_GRANTED: ReasonPage(
        "No pattern in the nearest grant's `paths` matches the normalised path.",
        Actor.PLATFORM,
        "Add a pattern: `*` stands for one segment, `**` for any number of segments.",
    ),
    Reason.PIN_UNREADABLE: ReasonPage(
        "The nearest grant pins something (a bucket, an organisation, a project) that this request does "
        "not show, so it cannot be checked.",
        Actor.PLATFORM,
        "Write a second grant without that pin for the paths that do not carry it, if they are safe.",
    ),
    Reason.PIN_NOT_GRANTED: ReasonPage(
        "The request asks for a bucket, prefix, organisation, repository or project that the nearest grant "
        "does not name.",
        Actor.PLATFORM,
        "Add it to the grant's pins if the workload may use it; an allowed host is not an allowed tenant.",
    ),
    Reason.UNKNOWN_ACTION: ReasonPage(
        "The service's catalogue entry lists its operations, and the request is none of them, so podkey "
        "cannot say what it would do.",
        Actor.PLATFORM,
        "Report the request form, or add the operation to a catalogue entry of your own.",
    ),
    Reason.ACTION_NOT_GRANTED: ReasonPage(
        "The operation is known, but neither the grant's `access` classes nor its `actions` cover it.",
        Actor.PLATFORM,
        "Add the class (`read`, `write`, `list`, `delete`) or name the action in `actions`.",
    ),
    Reason.QUERY_NOT_GRANTED: ReasonPage(
        "The nearest grant requires query parameters that the request lacks or gives another value.",
        Actor.PLATFORM,
        "Correct the grant's `query`, or the call.",
    ),
    Reason.MINTING_API: ReasonPage(
        "The answer to this request would hand a credential to the application (a token or key endpoint). "
        "Such APIs are refused unless the grant names them.",
        Actor.PLATFORM,
        "If the workload cannot do without, add the API's name to the grant's `allowMinting`.",
    ),
    Reason.GPU_REQUIRED: ReasonPage(
        "The grant is for pods that ask for an accelerator; this pod does not.",
        Actor.PLATFORM,
        "Request the accelerator in the pod, or drop `gpu: required` from the policy.",
    ),
    Reason.GPU_FORBIDDEN: ReasonPage(
        "The grant is for pods without an accelerator; this pod asks for one.",
        Actor.PLATFORM,
        "Write a policy for GPU pods, or drop `gpu: forbidden`.",
    ),
    Reason.IMAGE_NOT_ALLOWED: ReasonPage(
        "A container of the pod runs an image that the policy does not allow, or the images are not known.",
        Actor.PLATFORM,
        "Use an allowed image, or add its repository or digest to `workloads.images`.",
    ),
    Reason.UNKNOWN_CREDENTIAL: ReasonPage(
        "The grant names a CredentialSource that does not exist, or one that does not say how it is "
        "attached to this host.",
        Actor.PLATFORM,
        "Add the CredentialSource, or correct its name; `podkey check` finds this beforehand.",
    ),
    Reason.NOT_YET_VALID: ReasonPage(
        "The policy's `validity.notBefore` lies in the future.",
        Actor.PLATFORM,
        "Wait, or move `notBefore`.",
    ),
    Reason.EXPIRED: ReasonPage(
        "The policy's `validity.notAfter` has passed.",
        Actor.PLATFORM,
        "Renew the policy with a later `notAfter`.",
    ),
    Reason.OUTSIDE_WINDOW: ReasonPage(
        "The policy is valid in weekly windows, and now lies in none of them.",
        Actor.PLATFORM,
        "Wait for the next window, or widen `validity.windows`.",
    ),
    Reason.AMBIGUOUS_GRANT: ReasonPage(
        "Several grants cover the request and would attach different credentials; podkey does not guess.",
        Actor.PLATFORM,
        "Narrow the grants until one of them covers it; `podkey check` finds such pairs beforehand.",
    ),
    Reason.FOREIGN_CREDENTIAL: ReasonPage(
        "The application sent a credential of its own that is not this pod's placeholder, and the grant "
        "says `onForeignCredential: refuse`.",
        Actor.ML_ENGINEER,
        "Take the static credential out of the pod's environment and files.",
    ),
    Reason.FOREIGN_PRESIGNED: ReasonPage(
        "The URL carries a signature that was not made with this pod's placeholder: somebody else signed it, "
        "with a credential that podkey does not know. What leaves the pod with it can reach whatever its "
        "signer meant.",
        Actor.PLATFORM,
        "If such URLs are meant to work for these buckets, add `foreignPresigned: pass` to the grant; podkey "
        "then forwards them as they are and adds no credential.",
    ),
    Reason.SOURCE_NOT_GRANTED: ReasonPage(
        "The request copies another object, and no grant with the same credential lets this pod read that "
        "one.",
        Actor.PLATFORM,
        "Grant `read` on the source's bucket and key, with the same credential; the message names both.",
    ),
    Reason.MALFORMED_REQUEST: ReasonPage(
        "The request head can be read in two ways, or in none: several Host headers, Content-Length beside "
        "Transfer-Encoding, a line break or NUL in a header, whitespace before a colon and their kin. Such "
        "requests are how one request is smuggled behind another.",
        Actor.ML_ENGINEER,
        "Send the request with a common HTTP library; the message names the rule that was broken.",
        400,
    ),
    Reason.HEADERS_TOO_LARGE: ReasonPage(
        "The request head is larger than podkey reads (64 KiB, 200 headers, 16 KiB for the request line).",
        Actor.ML_ENGINEER,
        "Move large values from headers into the body.",
        431,
    ),
    Reason.MALFORMED_PRESIGNED: ReasonPage(
        "The URL is presigned with this pod's placeholder, and its signature's parameters are incomplete, "
        "repeated or cannot be read.",
        Actor.ML_ENGINEER,
        "Make the URL with the SDK's own presigner, and pass it on unchanged.",
        400,
    ),
    Reason.PRESIGNED_EXPIRED: ReasonPage(
        "The URL was presigned with this pod's placeholder, and the time that it was made for is over, or "
        "has not begun.",
        Actor.ML_ENGINEER,
        "Make the URL anew, with a longer `ExpiresIn`; check the pod's clock if that is no help.",
    ),
    Reason.UNSUPPORTED_PAYLOAD: ReasonPage(
        "The request's `x-amz-content-sha256` names no way of sending a body that podkey knows, or one that "
        "does not fit the signature that the host needs.",
        Actor.ML_ENGINEER,
        "Use the SDK's default; docs/s3.md lists the ways that are known.",
        400,
    ),
    Reason.MALFORMED_BODY: ReasonPage(
        "The body is not in the form that its head announces: a chunk without its signature, a wrong "
        "length, bytes after the end, a list of keys that cannot be read. Nothing of it was committed: the "
        "upstream's connection was cut before the end.",
        Actor.ML_ENGINEER,
        "Send the body with the service's SDK; the message names what was wrong.",
        400,
    ),
    Reason.BODY_TOO_LARGE: ReasonPage(
        "The body has to be read whole before the request can be judged or signed, and it is larger than the "
        "limit that the message names. Bodies of S3 objects are streamed and have no limit.",
        Actor.ML_ENGINEER,
        "Send it in several requests; for AWS services other than S3 the platform team can raise "
        "`PODKEY_HASHED_BODY_LIMIT`.",
        413,
    ),
    Reason.OVERLOADED: ReasonPage(
        "podkey holds as much of requests' bodies as it may, so it takes no further one that it would have "
        "to hold. SDKs try again by themselves, more slowly.",
        Actor.ML_ENGINEER,
        "Send fewer such requests at once; if that is no help, the platform team can give the sidecar memory "
        "and raise `PODKEY_HELD_BODIES_LIMIT`.",
        503,
    ),
    Reason.NAME_MISMATCH: ReasonPage(
        "The name in the request (Host, `:authority`) is not the one that the TLS connection was opened for. "
        "A credential goes only where the upstream's certificate proves the name that was asked for.",
        Actor.ML_ENGINEER,
        "Open a connection per host, and do not set the Host header by hand.",
        421,
    ),
    Reason.CLEARTEXT: ReasonPage(
        "The host is governed and was called without TLS. A credential never travels in cleartext.",
        Actor.ML_ENGINEER,
        "Use https:// in the URL.",
    ),
    Reason.IDENTITY_UNVERIFIED: ReasonPage(
        "Nobody has proved yet, or nobody proves any more, that this pod is the one it says it is: its "
        "service-account token is missing, has expired, is another pod's, or could not be verified with the "
        "cluster's keys. Until it is, no request to a governed host leaves. The message says which.",
        Actor.PLATFORM,
        "See docs/identity.md for the fault that the message names; most often the projected token is not "
        "mounted with the audience `podkey`, or the cluster's keys cannot be fetched. The next request after "
        "that is verified anew.",
    ),
    Reason.ENDPOINT_TOKEN: ReasonPage(
        "The request came to a loopback endpoint without the path prefix that belongs to this pod.",
        Actor.ML_ENGINEER,
        "Use the whole base URL that podkey gives in the environment; it holds the prefix.",
    ),
    Reason.CREDENTIAL_UNAVAILABLE: ReasonPage(
        "The request is granted, and its credential could not be had: the secret is not mounted, is empty, "
        "or the source refused it. The message says which.",
        Actor.PLATFORM,
        "Mend the CredentialSource that the message names; requests succeed as soon as it gives one.",
        502,
    ),
    Reason.CREDENTIAL_UNUSABLE: ReasonPage(
        "The request is granted and there is a credential, but it cannot go onto a request: it holds a line "
        "break or other bytes that no header can carry, or this version cannot attach it in the way that the "
        "service needs.",
        Actor.PLATFORM,
        "Correct the secret's value (most often a line break at its end), or the source's `attach`.",
        502,
    ),
    Reason.UPSTREAM_UNREACHABLE: ReasonPage(
        "The upstream could not be reached: no address, no route, refused, or no answer in time.",
        Actor.PLATFORM,
        "Check DNS, network policies and the service itself; podkey added nothing in between.",
        502,
    ),
    Reason.UPSTREAM_UNVERIFIED: ReasonPage(
        "The upstream's certificate does not prove the name that was asked for: it is expired, for another "
        "name, or signed by nobody that podkey trusts. Nothing was sent.",
        Actor.PLATFORM,
        "Mend the certificate. For a private authority, add it to `PODKEY_UPSTREAM_CA_FILES`.",
        502,
    ),
    Reason.UPSTREAM_FAILED: ReasonPage(
        "The upstream closed the connection or broke the protocol before it had answered.",
        Actor.PLATFORM,
        "Try again; if it persists, look at the service. The message says what was seen.",
        502,
    ),
    Reason.UPSTREAM_STALLED: ReasonPage(
        "The upstream accepted the request, and then no byte moved for longer than the idle time-out.",
        Actor.PLATFORM,
        "Raise `PODKEY_IDLE_TIMEOUT` if the service is known to think that long.",
        504,
    ),
    Reason.REQUEST_TIMED_OUT: ReasonPage(
        "The request took longer than `PODKEY_REQUEST_TIMEOUT` in all, and nothing of its answer had been "
        "passed on. Where something had, the request is cut, and keeps its verdict.",
        Actor.PLATFORM,
        "Raise `PODKEY_REQUEST_TIMEOUT`, or leave it out: then a request may take as long as bytes move.",
        504,
    ),
    Reason.FENCED_ADDRESS: ReasonPage(
        "The address belongs to a cloud metadata service, which hands out credentials, or to podkey itself. "
        "podkey opens no connection to it on behalf of an application.",
        Actor.ML_ENGINEER,
        "Do not ask a metadata service: what the workload needs is granted by policy and attached for it.",
    ),
    Reason.INTERNAL_ERROR: ReasonPage(
        "podkey itself failed on this request, and refused it rather than let it pass unjudged.",
        Actor.PLATFORM,
        "Report it with the audit record and the log line of the same time.",
        500,
    ),
}
