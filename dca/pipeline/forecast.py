"""Foretell what a review will cost, from the real prompts of what is pending; asks nobody."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected
from dca.domain.review import Usage
from dca.domain.rollout import Rollout
from dca.pipeline.estimate import (
    ENOUGH,
    NOTHING,
    Estimate,
    Measured,
    Prompted,
    Range,
    Sampled,
    guess,
    project,
)
from reviewers.exchange import Ended, Question, Reply
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer
from reviewers.units import cut_units
from store.engine import transaction
from store.reviews import count_pending, pending_ids
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import Selection
from store.usage import sample_usage

MOST_PROMPTS = 2_000
"""Rollouts whose prompts are made; of more, a sample is."""
MOST_ANSWERS = 400
"""Stored answers that are looked at, for each reviewer."""
_PAGE = 50
_SILENT = Reply('{"steps": []}', Ended.COMPLETE, "", Usage())
"""A reply that leads a dialogue on to its next window."""


@dataclass(frozen=True, slots=True)
class ReviewerForecast:
    """What one reviewer has still to do, and what it will use."""

    name: str
    model: str
    """``""``: it asks no model."""
    pending: int
    """Rollouts."""
    prompts: int = 0
    """Rollouts whose prompts were made; fewer than ``pending``: a sample."""
    answers: int = 0
    """Stored answers that the figures rest on; 0: they are guesses."""
    calls: int = 0
    """Requests, without repairs and retries."""
    input_tokens: Range = NOTHING
    output_tokens: Range = NOTHING
    dollars: Range | None = NOTHING
    """``None``: the price is not known."""
    minutes: Range = NOTHING
    """At the concurrency, when nothing else is asked and no rate limit is met."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a panel will use."""

    selected: int
    """Rollouts."""
    reviewers: tuple[ReviewerForecast, ...]
    dollars: Range
    """Of those whose price is known."""
    unpriced: tuple[str, ...]
    """Names of those with something to ask whose price is not."""
    minutes: Range
    """Of all together."""


def forecast(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    *,
    concurrency: int = 16,
    retry_failed: bool = False,
    most: int = MOST_PROMPTS,
    seed: int = 0,
) -> Forecast:
    """Foretell a review; writes nothing and asks nobody.

    Args:
        engine: The store.
        panel: Who would be asked.
        selection: About which rollouts.
        concurrency: Most requests in flight.
        retry_failed: As for ``dca.pipeline.review.review_store``.
        most: Rollouts whose prompts are made, >= 1; of more, a sample is.
        seed: Of that sample.

    Raises:
        NothingSelected: No rollout is selected.
    """
    with transaction(engine) as session:
        selected = count_rollouts(session, selection)
        if not selected:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        rows: list[ReviewerForecast] = []
        work: list[Range] = []
        for reviewer in panel:
            outlook = _Outlook(session, reviewer, selection, again=retry_failed)
            if isinstance(reviewer, ModelReviewer):
                row, seconds = outlook.of_model(reviewer, concurrency, most, seed)
            else:
                row, seconds = outlook.of_another(), NOTHING
            rows.append(row)
            work.append(seconds.times(1 / (60 * concurrency)))
    known = [row.dollars for row in rows if row.dollars is not None]
    unknown = tuple(row.name for row in rows if row.dollars is None and row.calls)
    minutes = _longest([_sum(work), *(row.minutes for row in rows)])
    return Forecast(selected, tuple(rows), _sum(known), unknown, minutes)


def sample_blocks(
    ids: Iterable[str], length: int, most: int, seed: int
) -> tuple[int, list[list[str]]]:
    """Cut ids into blocks and draw at most ``most`` of them, each equally likely.

    Returns:
        The number of ids, and the drawn blocks in their order.
    """
    source = random.Random(seed)  # noqa: S311 - a sample, no secret
    drawn: list[tuple[int, list[str]]] = []
    total, number, block = 0, 0, list[str]()

    def offer() -> None:
        if number < most:
            drawn.append((number, block))
        elif (place := source.randrange(number + 1)) < most:
            drawn[place] = (number, block)

    for key in ids:
        total += 1
        block.append(key)
        if len(block) == length:
            offer()
            number, block = number + 1, []
    if block:
        offer()
    return total, [kept for _, kept in sorted(drawn)]


def prompted(reviewer: ModelReviewer, rollouts: Sequence[Rollout]) -> Prompted:
    """Return what would be sent about rollouts that are asked about together."""
    encode = reviewer.dialect.encode
    bodies = tuple(
        len(encode(question, reviewer.endpoint, reviewer.calling))
        for question in questions(reviewer, rollouts)
    )
    units = sum(len(cut_units(rollout.completion)) for rollout in rollouts)
    return Prompted(len(rollouts), bodies, units)


def questions(reviewer: ModelReviewer, rollouts: Sequence[Rollout]) -> Iterator[Question]:
    """Yield the questions about rollouts, as if no reply needed repair.

    The outline that a long rollout's windows share is left out: nobody has found a step yet.
    """
    dialogue = reviewer.dialogue(rollouts)
    try:
        question = next(dialogue)
        while True:
            yield question
            following = dialogue.send(_SILENT)
            if len(following.turns) > 1 or following == question or question.form.together:
                return
            question = following
    except StopIteration:
        return
    finally:
        dialogue.close()


class _Outlook:
    """One reviewer before it is asked anything."""

    def __init__(
        self, session: Session, reviewer: Reviewer, selection: Selection, *, again: bool
    ) -> None:
        self._session = session
        self._reviewer = reviewer
        self._selection = selection
        self._again = again

    def of_another(self) -> ReviewerForecast:
        """Return what somebody has to do who asks no model."""
        todo = count_pending(
            self._session, *answers_key(self._reviewer), self._selection, retry_failed=self._again
        )
        return ReviewerForecast(self._reviewer.info.name, "", todo)

    def of_model(
        self, reviewer: ModelReviewer, concurrency: int, most: int, seed: int
    ) -> tuple[ReviewerForecast, Range]:
        """Return what a model has to do, and the seconds of all its requests together."""
        sampled = self._sample(reviewer, most, seed)
        answers = self._measured(reviewer, sampled) if sampled.pending else []
        if len(answers) >= ENOUGH:
            found = project(sampled, answers, reviewer.price)
        else:
            answers = []
            found = guess(sampled, reviewer.calling.max_tokens, reviewer.price)
        row = ReviewerForecast(
            reviewer.info.name,
            reviewer.info.model,
            sampled.pending,
            sum(item.rollouts for item in sampled.prompts),
            len(answers),
            found.calls,
            found.input_tokens,
            found.output_tokens,
            found.dollars,
            _minutes(found, reviewer, concurrency),
        )
        return row, found.seconds

    def _sample(self, reviewer: ModelReviewer, most: int, seed: int) -> Sampled:
        """Make the prompts of a sample of what is pending."""
        length = reviewer.bundle
        ids = pending_ids(
            self._session, *answers_key(reviewer), self._selection, retry_failed=self._again
        )
        total, blocks = sample_blocks(ids, length, max(1, most // length), seed)
        chosen = [key for block in blocks for key in block]
        prompts = tuple(
            prompted(reviewer, bundle) for bundle in _bundles(self._read(chosen), length)
        )
        return Sampled(total, prompts, whole=len(chosen) == total)

    def _measured(self, reviewer: ModelReviewer, sampled: Sampled) -> list[Measured]:
        """Return what stored answers have taken, with the prompts that they answer."""
        used = {
            answer.rollout_id: answer.usage
            for answer in sample_usage(self._session, *answers_key(reviewer), limit=MOST_ANSWERS)
            if answer.usage.input_tokens is not None and answer.usage.output_tokens is not None
        }
        found: list[Measured] = []
        for rollout in self._read([*used]):
            made = prompted(reviewer, (rollout,))
            # Alone, a rollout takes more bytes than its share of a question about several.
            size = sum(made.bodies) if reviewer.bundle == 1 else sampled.bytes_each
            found.append(Measured(float(size), float(len(made.bodies)), used[rollout.id]))
        return found

    def _read(self, ids: Sequence[str]) -> Iterator[Rollout]:
        """Yield rollouts in the order of pages, without their token arrays."""
        chosen = Selection(ids=tuple(ids))
        for page in iter_rollouts(self._session, chosen, page=_PAGE, arrays=False):
            yield from page


def answers_key(reviewer: Reviewer) -> tuple[str, str, str, int]:
    """Return what says which answers are a reviewer's."""
    return reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1


def _bundles(rollouts: Iterable[Rollout], length: int) -> Iterator[list[Rollout]]:
    """Yield neighbours of one group, at most ``length`` together."""
    bundle: list[Rollout] = []
    for rollout in rollouts:
        if bundle and (len(bundle) == length or bundle[0].group_id != rollout.group_id):
            yield bundle
            bundle = []
        bundle.append(rollout)
    if bundle:
        yield bundle


def _minutes(found: Estimate, reviewer: ModelReviewer, concurrency: int) -> Range:
    """Return how long a reviewer takes alone, with the caps that its user has set."""
    calling = reviewer.calling
    width = min(concurrency, calling.concurrency or concurrency)
    minutes = found.seconds.times(1 / (60 * width))
    least = found.calls / calling.requests_per_minute if calling.requests_per_minute else 0.0
    return replace(
        minutes,
        low=max(least, minutes.low),
        middle=max(least, minutes.middle),
        high=max(least, minutes.high),
    )


def _sum(ranges: Sequence[Range]) -> Range:
    """Return the sum of figures that may all be low or high together."""
    return Range(
        sum(item.low for item in ranges),
        sum(item.middle for item in ranges),
        sum(item.high for item in ranges),
    )


def _longest(ranges: Sequence[Range]) -> Range:
    return Range(
        max(item.low for item in ranges),
        max(item.middle for item in ranges),
        max(item.high for item in ranges),
    )
