"""What holds of the consensus of any panel on any text."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.consensus.settle import Bench, Document, seat, settle
from dca.domain.consensus import Consensus, ConsensusParams, Status
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Review
from tests.toy_panels import PARAMS, agree, drawn, review, reviewer

LABELS = st.sampled_from(CONTRIBUTION_V1.keys)
STEPS = st.lists(
    st.tuples(st.integers(0, 19), st.integers(1, 8), LABELS).map(
        lambda t: (t[0], min(20, t[0] + t[1]), t[2])
    ),
    max_size=6,
)
PANELS = st.dictionaries(st.sampled_from("abcde"), STEPS, max_size=5)
TEXTS = st.text(st.sampled_from("ab1 .\n"), min_size=20, max_size=20)


def made(panel: dict[str, list[tuple[int, int, str]]]) -> dict[str, Review]:
    return {name: review(*steps) for name, steps in panel.items()}


def bench_of(params: ConsensusParams = PARAMS) -> Bench:
    return seat([reviewer(name) for name in "abcde"], params)


@given(TEXTS, PANELS)
def test_spans_cover_the_text_once_and_in_order(text, panel) -> None:
    found = agree(text, made(panel), panel="abcde")

    edges = [found.spans[0].span.start] + [s.span.stop for s in found.spans]
    assert edges[0] == 0
    assert edges[-1] == len(text)
    assert all(a < b for a, b in pairwise(edges))
    assert [s.span.start for s in found.spans] == edges[:-1]
    assert sum(found.shares().values()) == pytest.approx(1.0)
    assert all(0 <= s.share <= 1 + 1e-9 for s in found.spans)


@given(TEXTS, PANELS, st.randoms())
def test_the_order_of_reviewers_and_steps_never_matters(text, panel, random) -> None:
    names = list(panel)
    random.shuffle(names)
    shuffled = {name: random.sample(panel[name], len(panel[name])) for name in names}
    infos = [reviewer(name) for name in "abcde"]
    random.shuffle(infos)

    one = settle([Document("r", text, made(panel))], bench_of(), CONTRIBUTION_V1, PARAMS)
    two = settle(
        [Document("r", text, made(shuffled))], seat(infos, PARAMS), CONTRIBUTION_V1, PARAMS
    )

    assert drawn(one.consensus[0].spans) == drawn(two.consensus[0].spans)
    assert [s.votes for s in one.consensus[0].spans] == [s.votes for s in two.consensus[0].spans]


@given(st.lists(st.tuples(TEXTS, PANELS), min_size=1, max_size=4))
def test_documents_do_not_touch_each_other(corpus) -> None:
    documents = [
        Document(str(number), text, made(panel)) for number, (text, panel) in enumerate(corpus)
    ]

    together = settle(documents, bench_of(), CONTRIBUTION_V1, PARAMS)
    apart = [settle([d], bench_of(), CONTRIBUTION_V1, PARAMS) for d in documents]

    assert together.consensus == tuple(one.consensus[0] for one in apart)
    np.testing.assert_allclose(
        together.coincidence_DKK, np.concatenate([one.coincidence_DKK for one in apart])
    )


@given(TEXTS, STEPS.filter(bool), st.integers(2, 5))
def test_unanimous_spans_always_agree(text, steps, voices) -> None:
    names = "abcde"[:voices]
    params = ConsensusParams(quorum=1.0, margin=1.0)

    found = agree(text, {name: review(*steps) for name in names}, params=params, panel=names)

    marked = {p for start, stop, _ in steps for p in range(start, stop) if text[p].isalnum()}
    for item in found.spans:
        inside = set(range(item.span.start, item.span.stop)) & marked
        if inside:
            assert item.status is Status.AGREED


@given(TEXTS, STEPS, st.integers(0, 20))
def test_cutting_the_text_finer_changes_no_share(text, steps, at) -> None:
    said = {"a": review(*steps), "b": review((0, 20, "idle"))}
    # A third reviewer's zero-weight cut: the same vote in two pieces instead of one.
    halves = [(a, b, "idle") for a, b in ((0, at), (at, 20)) if a < b]
    finer = {"a": review(*steps), "b": review(*halves)}

    one, two = agree(text, said, panel="ab"), agree(text, finer, panel="ab")

    def by_character(found: Consensus) -> list[str]:
        return [s.status.value for s in found.spans for _ in range(len(s.span))]

    solid = [p for p in range(20) if text[p].isalnum()]
    assert [by_character(one)[p] for p in solid] == [by_character(two)[p] for p in solid]
