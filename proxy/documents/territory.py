"""Whose hosts an entry of a policy folder may speak for: not those of others.

A built-in entry is trusted. A user's entry could take a host away from the pins and operations of another
entry, switch governance off by calling it a blob host, or cover names that strangers register.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from proxy.core.hosts import CAPTURE, HostTemplate, hosts_meet
from proxy.core.services import DRAWN, Service
from proxy.documents.host_names import is_public_suffix, registrable_domain, suffix_below
from proxy.documents.problems import ProblemCode

# The variables that hold a key; nothing else in an application's environment is an entry's to set.
_KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_(?:KEY|KEY_ID|TOKEN|SECRET|PASSWORD)").fullmatch
_KEY_VALUE = re.compile(r"[A-Za-z0-9_.-]*").fullmatch

# A code, what is wrong, and the fix.
Finding = tuple[ProblemCode, str, str]
Labels = tuple[str, ...]


class Territory:
    """The hosts of all entries so far, by their last two labels, which no template leaves open."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._hosts: dict[Labels, list[tuple[str, Labels]]] = defaultdict(list)
        for service in services:
            self.add(service)

    def add(self, service: Service) -> None:
        for _, labels in _claims(service):
            self._hosts[labels[-2:]].append((service.name, labels))

    def owners(self, labels: Labels) -> Iterator[str]:
        """The entries that claim a host of these labels; the last two are no globs."""
        return (name for name, theirs in self._hosts.get(labels[-2:], ()) if hosts_meet(labels, theirs))

    def trespasses(self, entry: Service) -> Iterator[Finding]:
        """What a user's entry claims that is not its own."""
        for text, labels in _claims(entry):
            owner = next(self.owners(labels), None)
            if owner is not None:
                message = f"`{text}` covers hosts of the service `{owner}`"
                yield ProblemCode.HOST_TAKEN, message, f"leave them to `service: {owner}`"
        domains = set()
        for template in _templates(entry):
            stranger = _open_to_strangers(template)
            domains.add(registrable_domain(template.tail))
            if stranger is not None:
                message = f"`{template.text}`: strangers can register names below `{stranger}`"
                fix = "name only hosts below a domain that the service owns"
                yield ProblemCode.HOST_PUBLIC_SUFFIX, message, fix
        for glob in entry.blob_hosts:
            if not any(glob.text.endswith(f".{domain}") for domain in domains if domain):
                message = f"`{glob.text}` is below no domain of the entry's endpoints"
                fix = "remove it: only hosts below the service's own domain need to be named"
                yield ProblemCode.HOST_TAKEN, message, fix
        for placeholder in entry.placeholders:
            value = DRAWN.sub("", placeholder.value)
            fits = _KEY_VARIABLE(placeholder.name) and _KEY_VALUE(value) and value != placeholder.value
            if not fits:
                message = f"`{placeholder.name}={placeholder.value}` cannot be a placeholder"
                fix = "use the variable that holds the SDK's key, with a drawn part such as `{alnum:32}`"
                yield ProblemCode.BAD_VALUE, message, fix


def _templates(service: Service) -> list[HostTemplate]:
    return [host for endpoint in service.endpoints for host in endpoint.hosts]


def _claims(service: Service) -> list[tuple[str, Labels]]:
    hosts = [(template.text, template.label_globs) for template in _templates(service)]
    return hosts + [(glob.text, tuple(glob.text.split("."))) for glob in service.blob_hosts]


def _open_to_strangers(template: HostTemplate) -> str | None:
    """The public suffix whose registrants the template would cover."""
    if is_public_suffix(template.tail):
        return template.tail
    captures = CAPTURE.findall(template.text)
    # With more than one free label, a suffix may also lie between the captures and the tail.
    if len(captures) > 1 or any(plus for _, plus in captures):
        return suffix_below(template.tail)
    return None
