"""Proves who the pod is, again and again: the kubelet renews the token, and the issuer its keys.

What was proved counts until its token ends. A token that is verified and found to be wrong ends it at once;
one that cannot be verified for want of keys does not: the cluster may be away for a while.
"""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from proxy.core.evidence import Evidence, Proof, ProofOutcome, Unverified
from proxy.core.settings import IdentitySettings, PodSettings
from proxy.core.structs import Struct
from proxy.edge.issuer_keys import IssuerKeys, KeySource, NoKeys, Unreadable, read_file
from proxy.lanes.interface import Clock
from proxy.telemetry.log import Log
from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.faults import TokenFault, TokenFaultCode, token_fault
from proxy.tokens.pod_token import Expected, Verified, verify

# The kubelet renews a token at 80 % of its life; to look at one small file costs microseconds.
PERIOD: Final = 1.0
# Keys that could not be renewed for so long are nobody's any more; every token that they verified has ended.
OLDEST_KEYS: Final = 86_400.0
# After keys could not be fetched, or did not have the one that a token names: from seconds to a minute.
FIRST_WAIT: Final = 1.0
LAST_WAIT: Final = 60.0


class Attested(Struct, frozen=True):
    """The proof, and what it vouches for where there is one."""

    proof: Proof
    verified: Verified | None = None


class Attestation:
    def __init__(  # noqa: PLR0917 - its world
        self,
        token: Path,
        keys: KeySource,
        settings: IdentitySettings,
        pod: PodSettings,
        clock: Clock,
        publish: Callable[[Attested], None],
        log: Log,
        counted: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._token = token
        self._source = keys
        self._settings = settings
        self._pod = pod
        self._clock = clock
        self._publish = publish
        self._log = log
        self._counted = counted
        self._keys: IssuerKeys | None = None
        self._keys_at = float("-inf")
        self._ask_keys_at = float("-inf")
        self._wait = FIRST_WAIT
        self._no_keys = "the issuer's keys have not been asked for yet"
        # The token that was last verified, by its hash, and the keys with which it was.
        self._judged: tuple[bytes, int] | None = None
        # When the token with this hash ends, by the clock that only goes forward.
        self._ending = ""
        self._ends_at = float("-inf")
        self._keys_version = 0
        self._key_ids: list[str] = []
        self._attested = Attested(Unverified("the pod's token has not been looked at yet"))
        self._told = ""
        # Whether the token was looked at once, whatever came of it.
        self.looked = asyncio.Event()

    @property
    def attested(self) -> Attested:
        return self._attested

    async def run(self) -> None:
        while True:
            await self.step()
            self.looked.set()
            await asyncio.sleep(PERIOD)

    async def step(self) -> None:
        """Look at the token once, fetch keys where they are needed, and publish what that proves."""
        token = read_file(self._token, MAX_TOKEN_BYTES)
        if isinstance(token, Unreadable):
            fix = f"project a serviceAccountToken with the audience `{self._settings.audience}` there"
            why = f"the pod's token {self._token} {token.why}: {fix}"
            if token.is_too_large:
                self._end(TokenFault(TokenFaultCode.TOO_LARGE, why))
            else:
                self._doubt(ProofOutcome.UNREADABLE.value, why)
            return
        if self._clock.monotonic() >= self._keys_at + self._source.fresh_seconds:
            await self._fetch_keys()
        if self._keys is not None and self._clock.monotonic() >= self._keys_at + OLDEST_KEYS:
            self._keys = None
            self._keys_version += 1
        if self._is_proved(token):
            self._wait = FIRST_WAIT
            return
        outcome = self._judge(token)
        unknown = isinstance(outcome, TokenFault) and outcome.code is TokenFaultCode.UNKNOWN_KEY
        # The issuer may sign with a new key since we asked.
        if unknown and await self._fetch_keys():
            outcome = self._judge(token)
        match outcome:
            case None:
                self._doubt(ProofOutcome.NO_KEYS.value, self._no_keys)
            case TokenFault(code=TokenFaultCode.UNKNOWN_KEY) if self._rests_on_a_known_key():
                self._doubt(outcome.code.value, outcome.message)
            case TokenFault():
                self._end(outcome)
            case Verified(evidence) if self._has_ended(evidence):
                # Within the skew that a verifier allows; requests are refused from the end on, and without
                # this the pod would be called ready meanwhile, once a second.
                wrong = f"the token ended at {evidence.expires:%Y-%m-%d %H:%M:%S} UTC"
                self._end(token_fault(TokenFaultCode.EXPIRED, wrong))
            case Verified():
                self._prove(token, outcome)

    # --- keys ---

    async def _fetch_keys(self) -> bool:
        """Whether they were fetched anew. Not more often than the waiting time allows."""
        if self._clock.monotonic() < self._ask_keys_at:
            return False
        found = await self._source.fetch()
        now = self._clock.monotonic()
        self._ask_keys_at = now + self._wait
        self._wait = min(self._wait * 2, LAST_WAIT)
        if isinstance(found, NoKeys):
            self._no_keys = found.message
            if self._keys is not None:
                self._log.warning(
                    "the issuer's keys could not be renewed, the old ones count", why=found.message
                )
            return False
        names = [key.key_id for key in found.keys.keys]
        if names != self._key_ids or self._keys is None or self._keys.issuer != found.issuer:
            self._log.info(
                "the issuer's keys", issuer=found.issuer, keys=names, left_out=list(found.keys.notes)
            )
        self._key_ids = names
        if found != self._keys:
            # Whatever changed in them: the token is verified anew.
            self._keys_version += 1
        self._keys, self._keys_at = found, now
        return True

    # --- the token ---

    def _judge(self, token: bytes) -> Verified | TokenFault | None:
        """None: there are no keys to verify it with."""
        if self._keys is None:
            return None
        pod = self._pod
        expected = Expected(
            self._keys.issuer,
            self._settings.audience,
            pod.namespace,
            pod.service_account,
            pod.pod_name,
            pod.pod_uid,
            pod.node,
        )
        return verify(token, self._keys.keys, expected, self._clock.now())

    def _is_proved(self, token: bytes) -> bool:
        """Whether this very token was verified with these very keys, and has not ended."""
        return self._holds() and self._judged == (sha256(token).digest(), self._keys_version)

    def _holds(self) -> bool:
        """By both clocks: one that was turned back does not make a token last."""
        proof = self._attested.proof
        if not isinstance(proof, Evidence):
            return False
        return self._clock.now() < proof.expires and self._clock.monotonic() < self._ends_at

    def _rests_on_a_known_key(self) -> bool:
        """A key that the issuer has withdrawn proves nothing any more, whatever it signed before."""
        proof = self._attested.proof
        if self._keys is None or not isinstance(proof, Evidence):
            return False
        return self._keys.keys.find(proof.key_id) is not None

    # --- what it proves ---

    def _has_ended(self, evidence: Evidence) -> bool:
        """By the wall's clock, or, for the token that proved the pod before, by the one that only goes on."""
        known = evidence.token_hash == self._ending
        return self._clock.now() >= evidence.expires or (known and self._clock.monotonic() >= self._ends_at)

    def _prove(self, token: bytes, verified: Verified) -> None:
        evidence = verified.evidence
        if evidence.token_hash != self._ending:
            # Its whole life from now: it cannot last longer, however the clock on the wall is turned.
            whole = (evidence.expires - evidence.issued).total_seconds()
            self._ending, self._ends_at = evidence.token_hash, self._clock.monotonic() + whole
        self._judged = (sha256(token).digest(), self._keys_version)
        self._wait = FIRST_WAIT
        self._told = ""
        self._attested = Attested(verified.evidence, verified)
        self._counted(ProofOutcome.VERIFIED.value)
        self._log.info(
            "the pod is who it says it is",
            issuer=evidence.issuer,
            key=evidence.key_id,
            ends=f"{evidence.expires}",
        )
        self._publish(self._attested)

    def _doubt(self, outcome: str, why: str) -> None:
        """The token could not be judged. What was proved before holds until its own end."""
        if self._holds():
            self._tell(outcome, "the pod's token cannot be verified anew, the last proof counts", why)
            return
        self._unproved(outcome, why)

    def _end(self, fault: TokenFault) -> None:
        """The token was judged, and is wrong."""
        self._unproved(fault.code.value, fault.message)

    def _unproved(self, outcome: str, why: str) -> None:
        self._judged = None
        self._tell(outcome, "nobody proves who the pod is: governed requests are refused", why)
        if self._attested != (now := Attested(Unverified(why))):
            self._attested = now
            self._publish(now)

    def _tell(self, outcome: str, event: str, why: str) -> None:
        """Once for each thing that goes wrong, not each second."""
        if why != self._told:
            self._told = why
            self._counted(outcome)
            self._log.error(event, fault=outcome, why=why)
