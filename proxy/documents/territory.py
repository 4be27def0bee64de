"""Whose hosts an entry of a policy folder may speak for: not those of others.

A built-in entry is trusted. A user's entry could take a host away from the pins and operations of another
entry, switch governance off by calling it a blob host, or cover names that strangers register.
"""

import re
from collections.abc import Iterable, Iterator

from proxy.core.hosts import CAPTURE, HostTemplate, hosts_meet
from proxy.core.services import Service
from proxy.documents.host_names import is_public_suffix, suffix_below
from proxy.documents.problems import ProblemCode
from proxy.documents.templates import DRAWN

# What an application container's behaviour hangs on; the injector will set placeholders there.
_RESERVED = re.compile(
    r"PATH|HOME|SHELL|BASH_ENV|ENV|IFS|LD_.*|PYTHON.*|NODE_.*|JAVA_.*|_JAVA_.*|PERL.*|RUBY.*|GCONV_PATH|GIT_.*"
    r"|SSL_.*|CURL_.*|REQUESTS_.*|.*_PROXY|.*_CA_BUNDLE|.*ENDPOINT.*|.*_(?:BASE_)?UR[IL]|.*_HOST"
).fullmatch

# A code, what is wrong, and the fix.
Finding = tuple[ProblemCode, str, str]


def trespasses(entry: Service, others: Iterable[Service]) -> Iterator[Finding]:
    """What a user's entry claims that is not its own."""
    templates = [host for endpoint in entry.endpoints for host in endpoint.hosts]
    for template in templates:
        stranger = _open_to_strangers(template)
        if stranger is not None:
            message = f"`{template.text}`: strangers can register names below `{stranger}`"
            fix = "name only hosts below a domain that the service owns"
            yield ProblemCode.HOST_PUBLIC_SUFFIX, message, fix
    claimed = [(t.text, t.label_globs) for t in templates] + [
        (glob.text, tuple(glob.text.split("."))) for glob in entry.blob_hosts
    ]
    for other in others:
        theirs = [host.label_globs for endpoint in other.endpoints for host in endpoint.hosts]
        taken = next((text for text, labels in claimed if any(hosts_meet(labels, t) for t in theirs)), None)
        if taken is not None:
            message = f"`{taken}` covers hosts of the service `{other.name}`"
            fix = f"leave them to `service: {other.name}`"
            yield ProblemCode.HOST_TAKEN, message, fix
    for placeholder in entry.placeholders:
        if _RESERVED(placeholder.name) or not DRAWN.search(placeholder.value):
            message = f"`{placeholder.name}` cannot be a placeholder"
            fix = "use the variable that holds the SDK's key, with a drawn part such as `{alnum:32}`"
            yield ProblemCode.BAD_VALUE, message, fix


def _open_to_strangers(template: HostTemplate) -> str | None:
    """The public suffix whose registrants the template would cover."""
    if is_public_suffix(template.tail):
        return template.tail
    captures = CAPTURE.findall(template.text)
    # With more than one free label, a suffix may also lie between the captures and the tail.
    if len(captures) > 1 or any(plus for _, plus in captures):
        return suffix_below(template.tail)
    return None
