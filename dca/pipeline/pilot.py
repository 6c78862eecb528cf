"""Ask a few rollouts for real before all of them, to learn what they cost.

The answers are ordinary ones: no later run pays for them again. One rollout is asked about first
and alone, so that the others find the instructions in the provider's cache, as nearly all of a
long run do.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from dca.pipeline.forecast import answers_key, sample_blocks
from dca.pipeline.progress import Progress
from dca.pipeline.review import ReviewResult, review_store
from reviewers.budget import Caps
from reviewers.model_reviewer import ModelReviewer
from store.engine import transaction
from store.reviews import pending_ids
from store.selection import Selection


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a pilot did."""

    asked: int
    """Reviews."""
    spent_tokens: int
    spent_dollars: float
    stopped: bool
    """True when it was told to stop before the end."""
    over: str
    """``dollars``, ``tokens`` or ``seconds``: the cap that ended it; else ``""``."""


def pilot_selection(
    engine: Engine,
    models: Sequence[ModelReviewer],
    selection: Selection,
    count: int,
    *,
    retry_failed: bool = False,
    seed: int = 0,
) -> Selection:
    """Return ``count`` random rollouts of those that each model has still to answer."""
    chosen: set[str] = set()
    with transaction(engine) as session:
        for model in models:
            ids = pending_ids(session, *answers_key(model), selection, retry_failed=retry_failed)
            _, blocks = sample_blocks(ids, 1, count, seed)
            chosen.update(key for block in blocks for key in block)
    return Selection(ids=tuple(sorted(chosen)))


def run_pilot(
    engine: Engine,
    models: Sequence[ModelReviewer],
    chosen: Selection,
    *,
    concurrency: int = 16,
    retry_failed: bool = False,
    caps: Caps | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Pilot:
    """Ask models about a few rollouts.

    Args:
        engine: The store.
        models: Who is asked.
        chosen: About which rollouts, at least one.
        concurrency: Most requests in flight.
        retry_failed: Ask again where a model abstained.
        caps: What the pilot may spend.
        progress: Listener.
        stop: When set, nothing new is asked.
    """
    began = time.monotonic()
    caps = caps or Caps()

    def ask(selection: Selection, left: Caps) -> ReviewResult:
        return review_store(
            engine,
            models,
            selection,
            concurrency=concurrency,
            retry_failed=retry_failed,
            caps=left,
            progress=progress,
            stop=stop,
        )

    ids = chosen.ids or ()
    first = ask(replace(chosen, ids=ids[:1]), caps)
    results = [first]
    if ids[1:] and not (first.over or first.stopped):
        # Without the first one: with ``retry_failed`` its abstention would be asked for again.
        left = _left(caps, first, time.monotonic() - began)
        results.append(ask(replace(chosen, ids=ids[1:]), left))
    return Pilot(
        sum(row.asked for result in results for row in result.reviewers),
        sum(result.spent_tokens for result in results),
        sum(result.spent_dollars for result in results),
        results[-1].stopped,
        results[-1].over,
    )


def _left(caps: Caps, spent: ReviewResult, seconds: float) -> Caps:
    """Return what of the caps is left after the first rollout."""
    return Caps(
        None if caps.dollars is None else max(0.0, caps.dollars - spent.spent_dollars),
        None if caps.tokens is None else max(0, caps.tokens - spent.spent_tokens),
        None if caps.seconds is None else max(0.0, caps.seconds - seconds),
    )
