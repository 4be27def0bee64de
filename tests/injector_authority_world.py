"""A cluster's Secret and webhook configurations, the leaders that write them and the replicas that sign: all
in memory, with a clock that a test moves. Reads and writes are separate acts, so that leaders can be slow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from injector.engine.authority import SETTLING, Publish, Rest, Step, Store, advance, read_state
from injector.engine.leaf import ReplicaLeaf, renewed_leaf, server_names
from proxy.x509.certificates import Certificate, is_signed_by, new_key, read_certificates

START = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = server_names("podkey-injector", "podkey-system", "cluster.local")
WEBHOOKS = 3


@dataclass
class Leader:
    ahead: timedelta = timedelta()
    # What it is about to do, and the versions that it has read.
    plan: tuple[Step, int, int] | None = None


@dataclass
class Replica:
    ahead: timedelta = timedelta()
    seen: Mapping[str, bytes] = field(default_factory=dict)
    seen_at: datetime = START
    leaf: ReplicaLeaf | None = None


class World:
    def __init__(self, leaders: int = 1, replicas: int = 2) -> None:
        self.now = START
        self.leaders = [Leader() for _ in range(leaders)]
        self.replicas = [Replica() for _ in range(replicas)]
        self.secret: Mapping[str, bytes] | None = None
        self.secret_version = 0
        self.bundles = [b""] * WEBHOOKS
        self.bundles_version = 0
        # Until when each bundle was the published one.
        self.history: list[tuple[datetime, list[bytes]]] = []
        self.log: list[str] = []
        # An authority that began everything anew, before it was published: its leaves are not trusted yet.
        self.unpublished: list[Certificate] = []

    # --- leaders ---

    def read(self, leader: Leader) -> Step:
        """The configurations first, then the Secret."""
        version, bundles = self.bundles_version, list(self.bundles)
        step = advance(self.secret, bundles, self.now + leader.ahead, new_key)
        leader.plan = (step, self.secret_version, version)
        return step

    def write(self, leader: Leader) -> None:
        if leader.plan is None:
            return
        (step, secret_version, bundles_version), leader.plan = leader.plan, None
        if isinstance(step, Store) and secret_version == self.secret_version:
            self.log.append(step.why)
            if step.why.startswith("there was no authority"):
                self.unpublished = read_certificates(step.data["ca.crt"])[0]
            self.put_secret(step.data)
        elif isinstance(step, Publish) and bundles_version == self.bundles_version:
            self.publish(step.bundle)

    def work(self, leader: Leader) -> int:
        """Until nothing is to be done; in how many steps."""
        for steps in range(20):
            if isinstance(self.read(leader), Rest):
                return steps
            self.write(leader)
        raise AssertionError(f"it never rests: {self.log[-5:]}")

    # --- the API server ---

    def put_secret(self, data: Mapping[str, bytes] | None) -> None:
        self.secret = data
        self.secret_version += 1

    def publish(self, bundle: bytes) -> None:
        self.history.append((self.now, self.bundles))
        self.bundles = [bundle] * WEBHOOKS
        self.bundles_version += 1
        published = read_certificates(bundle)[0]
        self.unpublished = [one for one in self.unpublished if one not in published]

    # --- replicas ---

    def look(self, replica: Replica) -> None:
        replica.seen, replica.seen_at = self.secret or {}, self.now
        self.renew(replica)

    def renew(self, replica: Replica) -> None:
        replica.leaf = (
            renewed_leaf(
                replica.leaf,
                read_state(replica.seen),
                seen=self.now - replica.seen_at,
                names=NAMES,
                now=self.now + replica.ahead,
                draw=new_key,
            )
            or replica.leaf
        )

    # --- what holds ---

    def broken(self) -> list[str]:
        """Leaves that do not verify by a bundle that an API server may have at this time."""
        late = [bundles for until, bundles in self.history if until > self.now - SETTLING]
        return [
            f"replica {number} is not trusted after: {self.log[-4:]}"
            for number, replica in enumerate(self.replicas)
            if replica.leaf is not None and self.now < replica.leaf.ends
            if not any(is_signed_by(replica.leaf.certificate, one) for one in self.unpublished)
            for bundles in (*late, self.bundles)
            for one in set(bundles)
            if self._trusts_somebody(one) and not self._verifies(replica.leaf, one)
        ]

    def _verifies(self, leaf: ReplicaLeaf, bundle: bytes) -> bool:
        return leaf.begins <= self.now and any(
            is_signed_by(leaf.certificate, one) and self._is_valid(one)
            for one in read_certificates(bundle)[0]
        )

    def _trusts_somebody(self, bundle: bytes) -> bool:
        """Where all authorities have ended everything begins anew."""
        return any(map(self._is_valid, read_certificates(bundle)[0]))

    def _is_valid(self, one: Certificate) -> bool:
        return one.not_valid_before_utc <= self.now < one.not_valid_after_utc
