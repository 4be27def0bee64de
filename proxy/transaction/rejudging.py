"""Whether what was granted once is still granted, asked of a policy that came later."""

from datetime import UTC, datetime
from typing import Final

from proxy.core.arrival import Arrival
from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.evidence import Evidence
from proxy.core.lease import LeaseKey
from proxy.core.structs import replace
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head
from proxy.transaction.pod import PodState
from proxy.transaction.steps import WantBody

# Who asked was proved when the request was granted. It leads to no lease: the question is put to the policy,
# and stops where a lease would be asked for.
_GRANTED_ONCE: Final = Evidence(
    "", "", "", "", datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
)


class Rejudge:
    """Asks one PodState about requests that are on their way."""

    def __init__(self, pod: PodState) -> None:
        self._pod = replace(pod, proof=_GRANTED_ONCE)

    def source(
        self, arrival: Arrival, head: Head, decided: datetime, body: bytes | None = None
    ) -> CredentialSource | None:
        """Whose credential the request would get; None: none at all.

        `decided` is when it was judged: a time window that closed meanwhile takes nothing away. `body` is
        what was read of it then; a policy that asks for a body that nobody read grants nothing.
        """
        steps = open_request(self._pod, arrival, head, decided, "")
        try:
            wanted = next(steps)
            while isinstance(wanted, WantBody):
                if body is None:
                    return None
                wanted = steps.send(body)
        except StopIteration:
            return None
        finally:
            steps.close()
        return self._source_of(wanted.credential)

    def _source_of(self, credential: CredentialRef) -> CredentialSource | None:
        key = self._pod.leases.get(credential)
        return key.source if isinstance(key, LeaseKey) else None
