"""Worked examples in the form in which a reviewer is asked to reply: pure."""

import itertools
from collections.abc import Sequence

from dca.domain.review import Soundness
from dca.domain.spans import Span
from prompts.words import Example, load_examples
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol

MOST_EXAMPLES = 3
"""Examples that there are for each outcome."""


def chosen_examples(outcome: Outcome, count: int) -> tuple[tuple[Example, Outcome], ...]:
    """Return ``count`` examples for a reviewer that is told ``outcome``, with theirs.

    Where the outcome is not told, failures and successes alternate.
    """
    if not count:
        return ()
    known = load_examples()
    failed = [(example, Outcome.FAILED) for example in known.failed]
    succeeded = [(example, Outcome.SUCCEEDED) for example in known.succeeded]
    mixed = itertools.chain.from_iterable(zip(failed, succeeded, strict=True))
    pools = {Outcome.FAILED: failed, Outcome.SUCCEEDED: succeeded, Outcome.UNKNOWN: [*mixed]}
    return tuple(pools[outcome][:count])


def example_reply(
    example: Example, form: ReplyForm, told: Outcome, units: Sequence[Span]
) -> dict[str, object]:
    """Return the review of ``example`` as a reply of the form.

    Args:
        example: With its review.
        form: Of a reply; where it is for several rollouts, one review of it.
        told: What the reviewer is told of this example.
        units: Of the example's text, in the ``units`` protocol.
    """
    steps = [
        {
            "n": number,
            **_place(example, step.quote, form, units),
            **({} if form.terse else {"reason": step.reason}),
            "label": step.label,
            **({} if form.terse else {"confidence": step.confidence}),
        }
        for number, step in enumerate(example.steps, 1)
    ]
    whole = {"covered_first": 1, "covered_last": len(units)} if units else {"covered": True}
    # Whoever is told that an answer is wrong is not asked whether it is supported.
    judged = Soundness.UNSURE if told is Outcome.FAILED else example.soundness
    return {
        "steps": steps,
        "links": [
            {"from": source, "to": target, "kind": kind.value}
            for source, target, kind in example.links
        ],
        **whole,
        **({} if form.terse else {"finding": example.finding}),
        **({"blame": example.blame} if form.outcome.asks_blame else {}),
        **({"soundness": judged.value} if form.outcome.asks_soundness else {}),
    }


def _place(
    example: Example, quote: str, form: ReplyForm, units: Sequence[Span]
) -> dict[str, object]:
    """Return how a reply names the stretch that ``quote`` copies."""
    if form.protocol is ReplyProtocol.QUOTES:
        return {"quote": quote}
    start = example.reasoning.index(quote)
    span = Span(start, start + len(quote))
    inside = [number for number, unit in enumerate(units, 1) if unit.overlap(span)]
    return {"first": inside[0], "last": inside[-1]}
