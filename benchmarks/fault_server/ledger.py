"""What the server has seen: one record for each item, and totals."""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.fault_server.answers import Tokens
from benchmarks.fault_server.plan import USABLE, Fault, Plan


@dataclass(slots=True)
class Record:
    """What has happened to one item."""

    attempts: int = 0
    """Attempts that the plan has decided."""
    limited: int = 0
    """Requests that a rate limit turned away."""
    paid: int = 0
    """Answers delivered with their usage."""
    valid: int = 0
    """Valid answers delivered."""
    digest: str = ""
    """First 16 hexadecimal digits of the SHA-256 of the last valid answer's text."""
    faults: tuple[Fault, ...] = ()
    """In the order in which they were drawn."""
    not_before: float = 0.0
    """When the last Retry-After is over, by the monotonic clock."""


@dataclass(slots=True)
class Totals:
    """Sums over everything; batches included where not said otherwise."""

    requests: int = 0
    """Requests for one answer, turned away or not, without those in batches."""
    attempts: int = 0
    minimum_attempts: int = 0
    """The fewest that the plan allows, over the items attempted that are not poisoned."""
    paid: int = 0
    valid: int = 0
    doubled: int = 0
    """Valid answers delivered for items that already had one."""
    poisoned: int = 0
    limited: int = 0
    """Requests that a rate limit turned away."""
    early: int = 0
    """Requests that arrived before the Retry-After of their item was over."""
    unauthorised: int = 0
    bad_requests: int = 0
    abandoned: int = 0
    """Requests whose client left before the answer was written."""
    peak: int = 0
    """Most requests for one answer in progress at once."""
    connections: int = 0
    redirects_followed: int = 0
    keys_leaked: int = 0
    """Requests with a key at the address of another host that a redirect gave."""
    batches: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True)
class Ledger:
    """The books of one server."""

    plan: Plan
    items: dict[bytes, Record] = field(default_factory=dict[bytes, Record])
    totals: Totals = field(default_factory=Totals)
    faults: Counter[Fault] = field(default_factory=Counter[Fault])
    open: int = 0
    """Requests for one answer in progress."""
    first_s: float = 0.0
    """When the first of them came, by the monotonic clock."""
    last_s: float = 0.0
    """When the last of them came."""

    def record(self, item: bytes) -> Record:
        """Return the record of ``item``, a new one the first time."""
        found = self.items.get(item)
        if found is None:
            found = self.items[item] = Record()
        return found

    def _expect(self, item: bytes, fault: Fault | None) -> None:
        """Note how many attempts the plan has for ``item``, whose first one gets ``fault``."""
        least = 1 if fault is None else self.plan.minimum_attempts(item)
        self.totals.minimum_attempts += least or 0
        self.totals.poisoned += least is None

    def begin(self, record: Record, now: float) -> None:
        """Note that a request for one answer has come."""
        totals = self.totals
        totals.requests += 1
        totals.early += now < record.not_before
        self.open += 1
        totals.peak = max(totals.peak, self.open)
        self.first_s = self.first_s or now
        self.last_s = now

    def attempt(self, item: bytes, record: Record, fault: Fault | None) -> None:
        """Note what an attempt at ``item`` gets."""
        record.attempts += 1
        self.totals.attempts += 1
        if record.attempts == 1:
            self._expect(item, fault)
        if fault is not None:
            record.faults += (fault,)
            self.faults[fault] += 1

    def pay(self, record: Record, tokens: Tokens, fault: Fault | None, text: str) -> None:
        """Note an answer delivered with its usage; ``text`` is the review without a fence."""
        totals = self.totals
        record.paid += 1
        totals.paid += 1
        totals.input_tokens += tokens.input
        totals.cached_tokens += tokens.cached
        totals.output_tokens += tokens.output
        totals.reasoning_tokens += tokens.reasoning
        if fault in USABLE:
            totals.valid += 1
            totals.doubled += record.valid > 0
            record.valid += 1
            record.digest = digest(text)

    def summary(self) -> dict[str, object]:
        """Return the totals by name."""
        return {
            "items": len(self.items),
            **{name: getattr(self.totals, name) for name in Totals.__slots__},
            "faults": {fault.value: count for fault, count in sorted(self.faults.items())},
            "open": self.open,
            "seconds": round(self.last_s - self.first_s, 6),
            "cpu_s": round(time.process_time(), 6),
        }

    def report(self) -> dict[str, object]:
        """Return the totals and every item's record by its key in hexadecimal."""
        items = {
            item.hex(): {
                "attempts": record.attempts,
                "minimum_attempts": self.plan.minimum_attempts(item),
                "limited": record.limited,
                "paid": record.paid,
                "valid": record.valid,
                "digest": record.digest,
                "faults": record.faults,
            }
            for item, record in self.items.items()
        }
        return {"totals": self.summary(), "items": items}


def digest(text: str) -> str:
    """Return what the ledger remembers of a valid answer's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
