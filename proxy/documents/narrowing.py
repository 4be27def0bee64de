"""Sources that are narrowed to the grants that use them: can that be done, and does it fit?

Each policy is looked at by itself. A pod gets the union of the policies that select it, and which those are,
labels say that no document shows; every combination could not be tried, and most never meet. So what fails
here fails for every pod, and a union that is too large is refused when it is put in force, in the same words.
"""

from collections.abc import Iterable, Iterator

from proxy.aws.session_policy import WAYS_OUT, Underivable, session_policy
from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.services import Catalogue
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reading import MAX_PROBLEMS


def check_narrowing(
    policies: Iterable[Placed[AccessPolicy]],
    sources: Iterable[Placed[CredentialSource]],
    catalogue: Catalogue,
) -> list[Problem]:
    kinds = {
        (placed.value.namespace, placed.value.name): placed.value.kind
        for placed in sources
        if isinstance(placed.value.kind, AwsWebIdentity)
    }
    problems: list[Problem] = []
    # Most sets of documents have no such source.
    for policy in policies if kinds else ():
        names = dict.fromkeys(grant.credential for grant in policy.value.grants)
        for name in names:
            kind = kinds.get((policy.value.namespace, name))
            if kind is not None:
                problems.extend(_of_source(policy, name, kind, catalogue))
        if len(problems) > MAX_PROBLEMS:
            break
    return problems[:MAX_PROBLEMS]


def _of_source(
    policy: Placed[AccessPolicy], name: str, kind: AwsWebIdentity, catalogue: Catalogue
) -> Iterator[Problem]:
    numbers = [number for number, grant in enumerate(policy.value.grants) if grant.credential == name]
    grants = [
        (grant, catalogue.get(grant.service or "")) for grant in (policy.value.grants[n] for n in numbers)
    ]
    if any(service is None and grant.service is not None for grant, service in grants):
        return  # there is no such service, which has been said
    found = session_policy(kind, grants)
    if isinstance(found, Underivable):
        large = found.too_large
        code = ProblemCode.SESSION_POLICY_TOO_LARGE if large else ProblemCode.SESSION_POLICY_UNDERIVABLE
        message = f"the CredentialSource `{name}`: {found.message}"
        yield policy.grant_problem(numbers[found.grant], code, message, WAYS_OUT, "credential")
