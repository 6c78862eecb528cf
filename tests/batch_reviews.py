"""Reviews in batches against the fault server: shared by the tests of batches and of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from benchmarks.fault_server.plan import Plan, Rates
from benchmarks.fault_server.running import Served
from benchmarks.fault_server.settings import Settings
from dca.domain.rollout import Rollout
from dca.pipeline.batch_review import BatchResult, Rounds, batch_review
from dca.pipeline.dialogues import asker_of
from dca.pipeline.progress import Silent
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.prices import Price
from store.batches import live_batches
from store.engine import open_store, transaction
from store.reviews import abstentions_of, reviews_of
from store.rollouts import add_rollouts
from store.selection import Selection
from store.tables import BatchRow, ClaimRow, ReplyRow, ReviewRow
from tests.command_line import plain_rollouts

KEY = "sk-the-key-0123456789"
QUICK = Rounds(first=0.02, longest=0.05)
ONCE = Rounds(wait=False)
PRICE = Price(2.0, 8.0, batch=0.5)
KINDS = ("chat", "responses", "anthropic")
LABELS = "contribution-v1"


def settings(rates: Rates | None = None, seconds: float = 0.15, **more: Any) -> Settings:
    """Return a server whose batches take ``seconds`` and that takes one key."""
    return Settings(Plan(1, rates or Rates(), median_s=0), key=KEY, batch_s=seconds, **more)


def model(
    kind: str, url: str, *, name: str = "", calling: Calling | None = None, **more: Any
) -> ModelReviewer:
    """Return a model behind a server; ``MY_KEY`` holds its key."""
    calling = calling or Calling(max_tokens=4_000)
    options = {"calling": calling, "price": PRICE, **more}
    if kind == "anthropic":
        return anthropic_reviewer(name or kind, Endpoint("tiny", url, "MY_KEY"), **options)
    endpoint = Endpoint("tiny", f"{url}/v1", "MY_KEY")
    return openai_reviewer(name or kind, endpoint, api=kind, kind="openai", **options)


def filled(folder: Path, rollouts: int | Sequence[Rollout]) -> Engine:
    """Return a new store with some rollouts."""
    engine = open_store(str(folder / "dca.db"))
    some = plain_rollouts(rollouts) if isinstance(rollouts, int) else rollouts
    with transaction(engine) as session:
        add_rollouts(session, some)
    return engine


def run(engine: Engine, models: Sequence[ModelReviewer], **more: Any) -> BatchResult:
    """Review everything in batches, quickly."""
    options = {"rounds": QUICK, **more}
    return batch_review(engine, models, Selection(), **options)


def counts(engine: Engine) -> dict[str, int]:
    """Return how many rows of each kind the store has."""
    tables = {"reviews": ReviewRow, "claims": ClaimRow, "replies": ReplyRow, "batches": BatchRow}
    with transaction(engine) as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in tables.items()
        }


def doubled(server: Served) -> int:
    """Return how many valid answers were delivered for a question that had one."""
    return server.ledger.totals.doubled


class Notes(Silent):
    """A listener that keeps what it is told."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def stored(engine, reviewer):
    """Return the reviews and abstentions of one reviewer."""
    ids = [item.id for item in plain_rollouts(40)]
    found = []
    with transaction(engine) as session:
        for read in (reviews_of, abstentions_of):
            mine = read(session, ids, label_set=LABELS, reviewers=[reviewer.info.digest])
            found.append([answer for answers in mine.values() for answer in answers])
    return found


def open_batch(engine, reviewer):
    """Return the only batch of a reviewer, which is open."""
    with transaction(engine) as session:
        (batch,) = live_batches(session, asker_of(reviewer))
    assert batch.state == "open"
    return batch
