"""What the benchmarks of the review engine have reviewed, and the requests about it."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.review_clients import KEY, bodies_name, item_key
from dca.domain.rollout import Message, Rollout, content_id
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.prices import Price
from reviewers.question import pose

KEY_ENV = "DCA_BENCH_KEY"
GROUP = 8
"""Rollouts of one problem."""
_THINGS = ("apples", "clips", "tickets", "bottles", "marbles", "pages", "coins", "eggs")
_TURNS = ("So", "Then", "Now", "Next", "That means", "Wait,", "After that", "In all,")


def make_rollouts(count: int, *, first: int = 0, sentences: int = 48) -> Iterator[Rollout]:
    """Yield rollouts, always the same for the same numbers.

    Args:
        count: How many.
        first: Number of the first.
        sentences: Of the reasoning, about 46 characters each.
    """
    for number in range(first, first + count):
        draw = random.Random(number)
        thing = draw.choice(_THINGS)
        prompt = f"Problem {number // GROUP}: how many {thing} are left in the end, and why?"
        lines: list[str] = []
        total = draw.randrange(10, 90)
        for _ in range(sentences):
            more = draw.randrange(2, 60)
            lines.append(
                f"{draw.choice(_TURNS)} {total} + {more} = {total + more} {thing} are there."
            )
            total = (total + more) % 997
        text = " ".join(lines) + f"\nThe answer is {total}."
        group = content_id("bench-group", number // GROUP)
        yield Rollout(
            content_id("bench", number),
            group,
            "sums",
            (Message("user", prompt),),
            text,
            float(draw.random() < 0.5),
            truth=str(total),
            model="policy",
            step=number // 8000,
        )


def make_reviewer(url: str, *, anthropic: bool = False, **calling: object) -> ModelReviewer:
    """Return the reviewer that asks the fault server at ``url``; sets its key.

    Args:
        url: Root of the server.
        anthropic: Whether to speak messages, else chat completions.
        calling: Fields of ``Calling`` that differ from the defaults.
    """
    os.environ[KEY_ENV] = KEY
    options = Calling(**{"max_tokens": 4_000, **calling})  # pyright: ignore[reportArgumentType] - fields by name
    price = Price(1.0, 4.0)
    if anthropic:
        endpoint = Endpoint("tiny", url, KEY_ENV)
        return anthropic_reviewer("model", endpoint, calling=options, price=price)
    endpoint = Endpoint("tiny", f"{url}/v1", KEY_ENV)
    return openai_reviewer("model", endpoint, calling=options, price=price, family="tiny")


def make_bodies(reviewer: ModelReviewer, count: int) -> Iterator[bytes]:
    """Yield the bodies of the requests that ``reviewer`` would send about the first rollouts."""
    for rollout in make_rollouts(count):
        question = pose(rollout, reviewer.asking)
        yield reviewer.dialect.encode(question, reviewer.endpoint, reviewer.calling)


def rollout_keys(reviewer: ModelReviewer, count: int) -> dict[str, str]:
    """Return ledger key to rollout id of the first rollouts."""
    bodies = make_bodies(reviewer, count)
    ids = (rollout.id for rollout in make_rollouts(count))
    return {item_key(body): key for body, key in zip(bodies, ids, strict=True)}


def write_bodies(folder: Path, count: int) -> None:
    """Write the bodies of the requests about the first rollouts, one file for each dialect."""
    for anthropic in (False, True):
        reviewer = make_reviewer("http://127.0.0.1:1", anthropic=anthropic)
        lines = b"\n".join(make_bodies(reviewer, count))
        (folder / bodies_name(anthropic=anthropic)).write_bytes(lines)
