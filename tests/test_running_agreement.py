"""Alpha while a panel works: the same figure as the consensus computes, in little time."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.consensus.agreement import coincidences, nominal_alpha
from dca.consensus.atoms import cut, paint
from dca.consensus.settle import Document, gather
from dca.consensus.text import lay_out
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.domain.review import Review, ReviewKey, Step
from dca.domain.spans import Span
from dca.pipeline.running_agreement import A_LOOK, SAMPLE, RunningAgreement

TEXT = "x" * 60
KEYS = CONTRIBUTION_V1.keys
spans = st.tuples(st.integers(0, 59), st.integers(1, 20)).map(
    lambda pair: Span(pair[0], min(60, sum(pair)))
)
steps = st.lists(st.builds(Step, spans, st.sampled_from(KEYS)), min_size=1, max_size=6)
covers = st.none() | spans


def review(
    reviewer: str, rollout: str, marked: list[Step], covered: Span | None = None, label_set=None
) -> Review:
    """Return a review by ``reviewer``."""
    key = ReviewKey(rollout, reviewer, "p", label_set or CONTRIBUTION_V1.name)
    ordered = tuple(sorted(marked, key=lambda step: step.span))
    return Review(key, ordered, covered=covered)


def exact(documents: list[dict[str, Review]]) -> float:
    """Return alpha as the consensus computes it."""
    made = [Document(str(n), TEXT, reviews) for n, reviews in enumerate(documents)]
    corpus = lay_out([document.text for document in made])
    names = ("a", "b", "c")
    marked, cover = gather(made, names, corpus, CONTRIBUTION_V1)
    unmarked = CONTRIBUTION_V1.code("idle")
    atoms = paint(
        cut(corpus, marked, cover), corpus, marked, cover, reviewers=3, unmarked=unmarked
    )
    return nominal_alpha(coincidences(atoms, len(made), len(KEYS)).sum(axis=0))


@given(st.lists(st.lists(st.tuples(steps, covers), min_size=3, max_size=3), max_size=5))
def test_the_running_alpha_is_the_alpha_of_the_consensus(said):
    running = RunningAgreement(CONTRIBUTION_V1)
    documents = [
        {name: review(name, str(n), *marks) for name, marks in zip("abc", both, strict=True)}
        for n, both in enumerate(said)
    ]
    for reviews in documents:
        for one in reviews.values():
            running.take(one)
    for _ in documents:
        running.look()

    found, wanted = running.look(), exact(documents) if documents else float("nan")

    assert (found is None) == bool(np.isnan(wanted))
    if found is not None:
        assert found.alpha == pytest.approx(wanted)
        assert found.rollouts == len(documents)


def test_one_review_of_a_rollout_agrees_with_nobody():
    running = RunningAgreement(CONTRIBUTION_V1)
    half, rest = Step(Span(0, 30), KEYS[0]), Step(Span(30, 60), KEYS[1])

    running.take(review("a", "one", [half, rest]))
    alone = running.look()
    running.take(review("b", "one", [half, rest]))
    both = running.look()
    running.take(review("c", "one", [half, rest], label_set="other"))

    assert alone is None
    assert both is not None
    assert (both.alpha, both.rollouts) == (1.0, 1)
    assert running.look() == both


def test_a_label_set_without_idle_counts_marked_text_alone():
    labels = LabelSet("own", (Label("x", "X", 1.0, "x"), Label("y", "Y", -1.0, "y")))
    running = RunningAgreement(labels)
    x, y = Step(Span(0, 10), "x"), Step(Span(20, 30), "y")

    for name in "ab":
        running.take(review(name, "r", [x, y], Span(0, 60), label_set="own"))
    found = running.look()

    assert found is not None
    assert found.alpha == 1.0


def test_the_sample_stays_small_and_even_and_a_look_is_cheap():
    running = RunningAgreement(CONTRIBUTION_V1)
    chance = random.Random(1)
    marks = [
        [Step(Span(at, at + 6), chance.choice(KEYS)) for at in range(0, 60, 6)] for _ in range(4)
    ]
    rollouts = [f"{number:020x}" for number in range(5000)]
    for rollout in rollouts:
        for name, marked in zip("abcd", marks, strict=True):
            running.take(review(name, rollout, marked))

    begun = time.process_time()
    first = running.look()
    spent = time.process_time() - begun
    for _ in range(SAMPLE):
        last = running.look()

    assert first is not None
    assert first.rollouts == A_LOOK
    # Ten looks a second: 0.3 s of a second would be far too much on any machine.
    assert spent < 0.03
    assert last is not None
    assert SAMPLE // 4 < last.rollouts <= SAMPLE
