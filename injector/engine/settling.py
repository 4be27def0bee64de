"""Which versions of some documents can be in force together, where not all of them can.

Every document stands for its best version. What is wrong then costs somebody a version: who takes it out of
force, and puts the one before it there, or none. In this order: what is not in force yet, since an edit must
not take away what works; a policy before the sources that it names; what comes later by its name.

    check ──► problems ──► who gives way ──► check …        until there are none

Documents that gave way to one that itself gave way later are asked again, beside those that stand: passes are
made until one changes nothing. So what comes out stays, and does not depend on the order of the documents.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from injector.engine.holdings import Document, DocumentKey, Held, Version
from proxy.core.contract import CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.structs import Struct, field
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode

# A round takes back at least one version; real mistakes need two or three. What needs more is not worth the
# time of those who wait: then everything that is new gives way at once.
MAX_ROUNDS: Final = 24
# The second confirms the first. More are needed where documents of a chain each gave way to the next.
MAX_PASSES: Final = 4

# What a problem says of the other document that it is about, in the words of `Placed.grant_place`. Before it
# stand names and hosts alone, which have no brackets.
_OTHER: Final = re.compile(r"\((AccessPolicy [^ /()]+/[^ /()]+)\)").search


class Option(Struct, frozen=True):
    """A version, and what it says in this namespace with the text that sidecars get."""

    version: Version
    placed: Placed[Document]
    text: str


class Candidate(Struct):
    """One object and its versions, the best first."""

    held: Held
    options: Sequence[Option]
    at: int = 0
    problems: dict[Problem, None] = field(default_factory=dict)

    @property
    def key(self) -> DocumentKey:
        return self.held.key

    @property
    def chosen(self) -> Option | None:
        return self.options[self.at] if self.at < len(self.options) else None

    @property
    def value(self) -> Document | None:
        return self.chosen.placed.value if self.chosen is not None else None

    def restart(self) -> None:
        self.at = 0
        self.problems.clear()

    def give_way(self, problems: Iterable[Problem]) -> None:
        self.at += 1
        self.problems |= dict.fromkeys(problems)


Check = Callable[[Sequence[Placed[Document]]], Sequence[Problem]]
Stand = dict[DocumentKey, Version]


class Settling:
    """Candidates beside documents that stand already. `room` is how many bytes their texts may have.

    Where `named_only`, sources that no policy names are left aside.
    """

    def __init__(
        self, candidates: Sequence[Candidate], check: Check, room: int, *, named_only: bool = False
    ) -> None:
        self._candidates = sorted(candidates, key=lambda candidate: candidate.key)
        self._by_file = {str(candidate.key): candidate for candidate in self._candidates}
        self._check = check
        self._room = room
        self._named_only = named_only

    def settle(self, in_force: Stand) -> list[Candidate]:
        """Those with a version that can be in force. The others say why not."""
        standing: list[Candidate] = []
        for _ in range(MAX_PASSES):
            for candidate in self._candidates:
                candidate.restart()
            standing = self._pass(in_force)
            result = {one.key: one.chosen.version for one in standing if one.chosen is not None}
            if result == in_force or not any(one.problems for one in self._candidates):
                break
            in_force = result
        return standing

    def _pass(self, in_force: Stand) -> list[Candidate]:
        number = 0
        while True:
            standing = self._standing()
            problems = self._check([one.chosen.placed for one in standing if one.chosen is not None])
            if not standing:
                return []
            if problems:
                self._give_way(standing, problems, in_force, at_once=number >= MAX_ROUNDS)
            elif not self._make_room(standing, in_force):
                return standing
            number += 1

    def _standing(self) -> list[Candidate]:
        chosen = [one for one in self._candidates if one.chosen is not None]
        if not self._named_only:
            return chosen
        named = {ref for one in chosen for ref in _named(one.value)}
        return [o for o in chosen if not isinstance(o.value, CredentialSource) or o.value.ref in named]

    def _give_way(
        self, standing: list[Candidate], problems: Sequence[Problem], in_force: Stand, *, at_once: bool
    ) -> None:
        new = [one for one in standing if not _is_in_force(one, in_force)]
        if at_once or any(problem.code is ProblemCode.TOO_MANY_TO_COMPARE for problem in problems):
            for one in new or standing:
                one.give_way(_told(one, problem) for problem in problems[:1])
            return
        by_file = {str(one.key): one for one in standing}
        gone: set[DocumentKey] = set()
        for problem in problems:
            involved = list(_involved(problem, by_file))
            sources = [by_file[file] for one in involved for file in _sources_of(one) if file in by_file]
            if any(one.key in gone for one in (*involved, *sources)):
                continue  # that may be over now
            new = [one for one in (*involved, *sources) if not _is_in_force(one, in_force)]
            # Without any, the problem is about nobody that we know: everybody gives way.
            for one in (new or involved)[:1] or standing:
                one.give_way([self._explained(_told(one, problem), one)])
                gone.add(one.key)

    def _explained(self, problem: Problem, policy: Candidate) -> Problem:
        """A source that is there and cannot be used is not missing."""
        if problem.code is not ProblemCode.UNKNOWN_CREDENTIAL:
            return problem
        named = (self._by_file.get(file) for file in _sources_of(policy))
        broken = next((one for one in named if one is not None and one.chosen is None), None)
        if broken is None:
            return problem
        message = f"the CredentialSource `{broken.key.name}` has problems of its own"
        fix = f"see the status of {broken.key}"
        return Problem(problem.file, 0, problem.path, message, fix, problem.code)

    def _make_room(self, standing: list[Candidate], in_force: Stand) -> bool:
        """Take versions back until the texts fit. False where they do."""
        size = sum(len(one.chosen.text.encode()) for one in standing if one.chosen is not None)
        if size <= self._room:
            return False
        message = (
            f"with it, the namespace's policies have {size:,} bytes, and there is room for {self._room:,}"
        )
        fix = "use fewer or shorter policies, or spread the workloads over more namespaces"
        in_order = iter(_last_first(standing, in_force))
        while size > self._room and (one := next(in_order, None)) is not None:
            size -= len(one.chosen.text.encode()) if one.chosen is not None else 0
            one.give_way([Problem(str(one.key), 0, "", message, fix, ProblemCode.TOO_LARGE)])
        return True


def _last_first(standing: list[Candidate], in_force: Stand) -> list[Candidate]:
    """Sources that no policy needs, then policies, each followed by the sources that only it needed. What is
    new before what is in force, and what came last by its name first."""
    order = standing[::-1]
    order.sort(key=lambda one: _is_in_force(one, in_force))
    left = {str(one.key): one for one in order if isinstance(one.value, CredentialSource)}
    policies = [one for one in order if not isinstance(one.value, CredentialSource)]
    needs = {one.key: list(_sources_of(one)) for one in policies}
    users = Counter(file for files in needs.values() for file in files)
    found = [left.pop(file) for file in list(left) if not users[file]]
    for policy in policies:
        users.subtract(needs[policy.key])
        found.append(policy)
        found += [left.pop(file) for file in needs[policy.key] if not users[file] and file in left]
    return found


def _involved(problem: Problem, by_file: Mapping[str, Candidate]) -> Iterator[Candidate]:
    other = _OTHER(problem.message)
    files = dict.fromkeys((problem.file, other[1] if other else ""))
    return (by_file[file] for file in files if file in by_file)


def _named(document: Document | None) -> Iterator[CredentialRef]:
    if isinstance(document, AccessPolicy):
        yield from dict.fromkeys(CredentialRef(document.namespace, g.credential) for g in document.grants)


def _sources_of(policy: Candidate) -> Iterator[str]:
    """As problems would name them."""
    return (str(DocumentKey(CREDENTIAL_SOURCE, *ref)) for ref in _named(policy.value))


def _is_in_force(candidate: Candidate, in_force: Stand) -> bool:
    standing = in_force.get(candidate.key)
    chosen = candidate.chosen
    return standing is not None and chosen is not None and _same(standing, chosen.version)


def _same(one: Version, two: Version) -> bool:
    return (one.uid, one.generation) == (two.uid, two.generation)


def _told(candidate: Candidate, problem: Problem) -> Problem:
    """In the words of who gives way: the problem may have been found at the other document."""
    file = str(candidate.key)
    if problem.file == file:
        return problem
    return Problem(file, 0, "", f"{problem}", problem.fix, problem.code)
