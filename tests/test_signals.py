"""A consensus on tokens: labels, confidence and blame of hand-made spans, and their group."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.consensus import (
    AgreedSpan,
    Consensus,
    PanelBlame,
    PanelSoundness,
    Status,
)
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Soundness
from dca.domain.spans import Span
from dca.pipeline.signals import NO_LABEL, build_group, signal
from dca.pipeline.token_views import TokenView
from training.credit.group import NO_SPAN

TEXT = "abcdefghijkl"


def view(*widths: int) -> TokenView:
    """Tokens of the given numbers of bytes, one after the other."""
    stop_T = np.cumsum(widths)
    count = len(widths)
    return TokenView(
        ids=np.zeros(count, np.int32),
        prompt_ids=np.zeros(0, np.int32),
        start_T=stop_T - np.array(widths),
        stop_T=stop_T,
        offsets=np.zeros((count, 2), np.int32),
        logprobs=None,
        exact=True,
        tokenizer="",
    )


def agreed(start: int, stop: int, label: str, share: float = 1.0) -> AgreedSpan:
    return AgreedSpan(Span(start, stop), Status.AGREED, label, share, {}, {}, 1.0, 1.0)


def disputed(start: int, stop: int, share: float) -> AgreedSpan:
    return AgreedSpan(Span(start, stop), Status.DISPUTED, None, share, {}, {}, 1.0, 1.0)


def settled(*spans: AgreedSpan, blamed: Span | None = None, status=Status.AGREED) -> Consensus:
    return Consensus("r", spans, blame=PanelBlame(status, blamed, 1.0, {}))


def test_confidence_is_the_share_behind_the_label_and_0_where_nothing_is_agreed() -> None:
    consensus = settled(
        agreed(0, 4, "decisive", 0.75), disputed(4, 8, 0.5), agreed(8, 12, "harmful", 1.0000001)
    )

    marks = signal(TEXT, consensus, view(2, 2, 4, 4), CONTRIBUTION_V1)

    assert marks.confidence_T.tolist() == [0.75, 0.75, 0.0, 1.0]
    assert marks.value_T.tolist() == [1.0, 1.0, 0.0, -1.0]
    assert marks.span_T.tolist() == [0, 0, NO_SPAN, 2]
    assert marks.label_T.tolist() == [0, 0, NO_LABEL, 5]
    group = build_group([1.0], [4], [marks], success_at=0.5)
    assert group.panel is not None
    assert group.panel.confidence_GT.tolist() == [[0.75, 0.75, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((4, 4, 4), [False, True, False]),
        # The second token has three of its four bytes before the blamed step, the third one three
        # of four behind it.
        ((1, 4, 2, 4, 1), [False, False, True, False, False]),
        # Three of four bytes inside, on both sides.
        ((3, 4, 1, 3, 1), [False, True, True, False, False]),
        # A tie goes to the earlier: out at the start, in at the end.
        ((2, 4, 4, 2), [False, False, True, False]),
        ((4, 0, 4, 4), [False, False, True, False]),
    ],
)
def test_a_token_is_blamed_when_the_blamed_step_holds_most_of_its_bytes(widths, expected) -> None:
    spans = (agreed(0, 4, "setup"), agreed(4, 8, "harmful"), agreed(8, 12, "idle"))

    marks = signal(TEXT, settled(*spans, blamed=Span(4, 8)), view(*widths), CONTRIBUTION_V1)

    assert marks.blamed_T.tolist() == expected
    assert marks.blamed_T.tolist() == (marks.span_T == 1).tolist()


def test_a_blamed_step_inside_a_span_is_a_step_of_its_own() -> None:
    consensus = settled(agreed(0, 12, "harmful"), blamed=Span(4, 8))

    marks = signal(TEXT, consensus, view(3, 3, 3, 3), CONTRIBUTION_V1)

    # Bytes in the step: 0 of 3, 2 of 3, 2 of 3, 0 of 3.
    assert marks.blamed_T.tolist() == [False, True, True, False]


@pytest.mark.parametrize("status", [Status.DISPUTED, Status.THIN])
def test_only_an_agreed_blame_counts(status) -> None:
    spans = (agreed(0, 12, "harmful"),)

    for consensus in (
        settled(*spans, blamed=Span(0, 4), status=status),
        settled(*spans),
        Consensus("r", spans),
    ):
        assert not signal(TEXT, consensus, view(6, 6), CONTRIBUTION_V1).blamed_T.any()


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.data(),
)
def test_where_a_step_is_made_of_whole_spans_blame_and_labels_give_it_the_same_tokens(
    widths, lengths, data
) -> None:
    edges = [0, *np.cumsum(lengths).tolist()]
    first = data.draw(st.integers(0, len(lengths) - 1))
    last = data.draw(st.integers(first, len(lengths) - 1))
    spans = [agreed(a, b, "idle") for a, b in pairwise(edges)]
    text = "x" * max(edges[-1], sum(widths))
    consensus = settled(*spans, blamed=Span(edges[first], edges[last + 1]))

    marks = signal(text, consensus, view(*widths), CONTRIBUTION_V1)

    inside = (first <= marks.span_T) & (marks.span_T <= last)
    assert marks.blamed_T.tolist() == inside.tolist()


def test_a_group_says_which_rollouts_are_successes() -> None:
    verdict = PanelSoundness(Status.AGREED, Soundness.UNSOUND, 1.0, {})
    unsound = Consensus("r", (agreed(0, 12, "idle"),), soundness=verdict)
    marks = [signal(TEXT, found, view(12), CONTRIBUTION_V1) for found in (unsound, None, None)]

    rewards, lengths = [0.7, 0.5, -1.0], [1, 1, 1]
    group = build_group(rewards, lengths, marks, success_at=0.7)

    assert group.success_G.tolist() == [True, False, False]
    assert build_group(rewards, lengths, None, success_at=0.5).success_G.tolist() == [
        True,
        True,
        False,
    ]
    assert group.panel is not None
    assert group.panel.unsound_G.tolist() == [True, False, False]
    assert group.panel.reviewed_G.tolist() == [True, False, False]
