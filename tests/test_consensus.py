"""Consensus on toy panels whose votes are counted by hand."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.consensus.settle import Bench, Document, seat, settle
from dca.domain.consensus import AgreedSpan, Consensus, ConsensusParams, Status
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.domain.review import (
    Blame,
    Link,
    LinkKind,
    Review,
    ReviewerInfo,
    ReviewKey,
    Soundness,
    Step,
)
from dca.domain.spans import Span

PARAMS = ConsensusParams()


def reviewer(name: str, family: str = "") -> ReviewerInfo:
    return ReviewerInfo(name, "rules", family or name, "1")


def review(*steps: tuple[int, int, str], covered: Span | None = None, **rest) -> Review:
    key = ReviewKey("r", "d", "rules", "contribution-v1")
    made = tuple(Step(Span(start, stop), label) for start, stop, label in steps)
    return Review(key, made, covered=covered, **rest)


def agree(
    text: str, reviews: dict[str, Review], *, params: ConsensusParams = PARAMS, panel: str = "abc"
) -> Consensus:
    bench = seat([reviewer(name) for name in panel], params)
    return settle([Document("r", text, reviews)], bench, CONTRIBUTION_V1, params).consensus[0]


def drawn(spans: Sequence[AgreedSpan]) -> list[tuple[int, int, str, str | None]]:
    return [(s.span.start, s.span.stop, s.status.value, s.label) for s in spans]


def test_a_unanimous_panel_agrees_on_every_span() -> None:
    #       0123456789
    text = "aaaa bbbb."
    both = review((0, 4, "setup"), (5, 9, "decisive"))

    found = agree(text, {"a": both, "b": both, "c": both})

    # The blank goes with the left word and the full stop with the last one.
    assert drawn(found.spans) == [(0, 5, "agreed", "setup"), (5, 10, "agreed", "decisive")]
    assert [s.share for s in found.spans] == [1.0, 1.0]
    assert found.spans[0].votes == {"a": "setup", "b": "setup", "c": "setup"}
    assert (found.spans[0].left, found.spans[0].right, found.spans[1].right) == (1.0, 1.0, 1.0)


def test_two_of_three_reach_the_quorum_of_two_thirds() -> None:
    found = agree(
        "word",
        {
            "a": review((0, 4, "idle")),
            "b": review((0, 4, "idle")),
            "c": review((0, 4, "harmful")),
        },
    )

    assert drawn(found.spans) == [(0, 4, "agreed", "idle")]
    assert found.spans[0].share == pytest.approx(2 / 3)
    assert found.spans[0].shares == {
        "idle": pytest.approx(2 / 3),
        "harmful": pytest.approx(1 / 3),
    }


def test_a_tie_is_disputed_and_names_no_label() -> None:
    found = agree("word", {"a": review((0, 4, "idle")), "b": review((0, 4, "setup"))})

    assert drawn(found.spans) == [(0, 4, "disputed", None)]
    assert found.spans[0].share == 0.5


def test_one_voice_is_thin_and_none_is_uncovered() -> None:
    #       0123456789
    found = agree("said quiet", {"a": review((0, 4, "decisive"))})

    assert drawn(found.spans) == [(0, 4, "thin", "decisive"), (4, 10, "uncovered", None)]
    assert found.spans[1].share == 0.0
    assert found.spans[1].votes == {}


def test_two_voices_of_one_family_are_thin() -> None:
    bench = seat([reviewer("a", "x"), reviewer("b", "x"), reviewer("c", "y")], PARAMS)
    said = review((0, 4, "idle"))
    document = Document("r", "word", {"a": said, "b": said})

    found = settle([document], bench, CONTRIBUTION_V1, PARAMS).consensus[0]

    assert drawn(found.spans) == [(0, 4, "thin", "idle")]


def test_voices_with_less_than_half_of_the_weight_are_thin() -> None:
    said = review((0, 4, "idle"))

    five = agree("word", {"a": said, "b": said}, panel="abcde")
    four = agree("word", {"a": said, "b": said}, panel="abcd")

    assert drawn(five.spans) == [(0, 4, "thin", "idle")]
    assert drawn(four.spans) == [(0, 4, "agreed", "idle")]


def test_a_small_lead_is_disputed_when_a_margin_is_asked() -> None:
    said = {name: review((0, 4, "idle")) for name in "ab"} | {"c": review((0, 4, "setup"))}

    found = agree("word", said, params=ConsensusParams(margin=0.5))

    assert drawn(found.spans) == [(0, 4, "disputed", None)]  # lead 2/3 - 1/3 = 1/3 < 0.5


def test_unmarked_text_votes_idle_only_inside_the_covered_range() -> None:
    #       0123456789
    text = "seen blind"
    said = {"a": review(covered=Span(0, 4)), "b": review(covered=Span(0, 4))}

    assert drawn(agree(text, said).spans) == [
        (0, 4, "agreed", "idle"),
        (4, 10, "uncovered", None),
    ]


def test_the_innermost_of_overlapping_steps_holds_the_text() -> None:
    #       01234567890123
    text = "outer in outer"
    nested = review((0, 14, "setup"), (6, 8, "harmful"))

    found = agree(text, {"a": nested, "b": nested})

    assert drawn(found.spans) == [
        (0, 6, "agreed", "setup"),
        (6, 8, "agreed", "harmful"),
        (8, 14, "agreed", "setup"),
    ]


def test_of_two_steps_on_the_same_stretch_the_smaller_code_holds_in_any_order() -> None:
    one = review((0, 4, "idle"), (0, 4, "setup"))
    two = review((0, 4, "setup"), (0, 4, "idle"))

    for said in (one, two):
        found = agree("word", {"a": said, "b": said})
        assert drawn(found.spans) == [(0, 4, "agreed", "setup")]


@pytest.mark.parametrize(
    ("splitters", "expected"),
    [
        # One of three reviewers splits: support 1/3 <= 0.4, the boundary goes.
        ("a", [(0, 9, "agreed", "idle")]),
        # Two of three: 2/3 > 0.4, it stays, and the blank goes to the left.
        ("ab", [(0, 5, "agreed", "idle"), (5, 9, "agreed", "idle")]),
    ],
)
def test_neighbours_of_one_label_join_unless_the_panel_marks_the_boundary(
    splitters: str, expected: list[tuple[int, int, str, str]]
) -> None:
    split, joined = review((0, 4, "idle"), (5, 9, "idle")), review((0, 9, "idle"))

    found = agree("word word", {n: split if n in splitters else joined for n in "abc"})

    assert drawn(found.spans) == expected
    if len(expected) == 2:
        assert found.spans[0].right == found.spans[1].left == pytest.approx(2 / 3)


def test_punctuation_between_spans_goes_to_the_clearer_neighbour() -> None:
    #       012345678
    text = "one - two"
    said = {
        "a": review((0, 3, "idle"), (6, 9, "setup")),
        "b": review((0, 3, "idle"), (6, 9, "setup")),
        "c": review((0, 3, "decisive"), (6, 9, "setup")),
    }

    found = agree(text, said)

    assert drawn(found.spans) == [(0, 3, "agreed", "idle"), (3, 9, "agreed", "setup")]


def test_text_without_a_letter_is_settled_too() -> None:
    said = review((0, 3, "idle"))

    assert drawn(agree("???", {"a": said, "b": said}).spans) == [(0, 3, "agreed", "idle")]
    assert drawn(agree("\n \n", {"a": said, "b": said}).spans) == [(0, 3, "uncovered", None)]


def test_steps_outside_the_text_are_cut_to_it() -> None:
    said = review((2, 99, "setup"), (50, 60, "harmful"), covered=Span(0, 99))

    found = agree("word", {"a": said, "b": said})

    assert drawn(found.spans) == [(0, 2, "agreed", "idle"), (2, 4, "agreed", "setup")]


def test_nobody_and_nothing_to_settle() -> None:
    assert drawn(agree("word", {}).spans) == [(0, 4, "uncovered", None)]
    assert agree("word", {}).blame is None
    assert agree("word", {}).soundness is None
    empty = settle([], seat([], PARAMS), CONTRIBUTION_V1, PARAMS)
    assert empty.consensus == ()
    alone = settle([Document("r", "word", {})], seat([], PARAMS), CONTRIBUTION_V1, PARAMS)
    assert drawn(alone.consensus[0].spans) == [(0, 4, "uncovered", None)]


def test_a_set_of_one_label_can_only_agree() -> None:
    labels = LabelSet("one", (Label("idle", "R", 0.0, "x"),))
    said = review((0, 4, "idle"))
    bench = seat([reviewer("a"), reviewer("b")], PARAMS)

    found = settle([Document("r", "word", {"a": said, "b": said})], bench, labels, PARAMS)

    assert drawn(found.consensus[0].spans) == [(0, 4, "agreed", "idle")]


def test_weights_discount_a_family_and_n_eff_counts_independent_voices() -> None:
    bench = seat([reviewer("a", "x"), reviewer("b", "x"), reviewer("c", "y")], PARAMS)

    # Rows of rho sum to 1.5, 1.5, 1. n_eff = (7/3)^2 / w' rho w, with
    # w' rho w = 2/3 + 2/3 + 1 = 7/3, so n_eff = 7/3.
    assert bench.weights == {
        "a": pytest.approx(2 / 3),
        "b": pytest.approx(2 / 3),
        "c": pytest.approx(1.0),
    }
    assert bench.n_eff == pytest.approx(7 / 3)


def test_clones_share_one_vote() -> None:
    params = ConsensusParams(family_correlation=1.0)
    clones = seat([reviewer("a", "x"), reviewer("b", "x"), reviewer("c", "y")], params)

    assert clones.weights == {"a": 0.5, "b": 0.5, "c": 1.0}
    assert clones.n_eff == pytest.approx(2.0)
    assert seat([], params).n_eff == 0.0


# Links


def linked(*pairs: tuple[int, int, LinkKind]) -> Review:
    #            0-3 one, 4-7 two, 8-13 three
    steps = ((0, 3, "setup"), (4, 7, "decisive"), (8, 13, "idle"))
    return review(*steps, links=tuple(Link(*pair) for pair in pairs))


def test_a_link_of_two_of_three_reviewers_stands() -> None:
    uses, suggests = LinkKind.USES, LinkKind.SUGGESTS
    found = agree(
        "one two three",
        {
            "a": linked((0, 1, uses), (1, 2, uses)),
            "b": linked((0, 1, suggests)),
            "c": linked(),
        },
    )

    (link,) = found.links  # 1 -> 2 has 1 of 3 only
    assert (link.source, link.target, link.reviewers) == (0, 1, ("a", "b"))
    assert link.support == pytest.approx(2 / 3)
    assert link.kind is uses  # one voice each: the weaker claim
    assert link.dropped == ""


def test_a_link_backwards_in_time_needs_everyone() -> None:
    back = linked((1, 0, LinkKind.REPAIRS))

    some = agree("one two three", {"a": back, "b": back, "c": linked()})
    all_ = agree("one two three", {"a": back, "b": back, "c": back})

    assert some.links[0].dropped == "the cause begins after the effect"
    assert all_.links[0].dropped == ""


def test_the_weakest_link_of_a_cycle_is_dropped() -> None:
    uses = LinkKind.USES
    # 0 -> 1 and 1 -> 2 by all three, 2 -> 0 by a and b, whom c does not contradict: c marks no
    # step there, so it is not asked.
    full = linked((0, 1, uses), (1, 2, uses), (2, 0, uses))
    silent = review((0, 3, "setup"), (4, 7, "decisive"), links=(Link(0, 1, uses),))

    found = agree("one two three", {"a": full, "b": full, "c": silent})

    assert {(x.source, x.target): x.dropped for x in found.links} == {
        (0, 1): "",
        (1, 2): "",
        (2, 0): "closes a cycle",
    }


def test_a_long_step_stands_for_the_spans_inside_it() -> None:
    fine = linked((0, 2, LinkKind.USES), (1, 2, LinkKind.USES))
    coarse = review((0, 7, "setup"), (8, 13, "idle"), links=(Link(0, 1, LinkKind.USES),))

    found = agree("one two three", {"a": fine, "b": coarse})

    assert [(x.source, x.target) for x in found.links] == [(0, 2), (1, 2)]
    assert [x.support for x in found.links] == [1.0, 1.0]


def test_a_step_does_not_stand_for_a_span_that_it_only_grazes() -> None:
    #       0123456789012
    text = "one two three"
    # Step 0 holds 2 of its 6 characters in the second span: 1/3 < 1/2.
    grazing = review((0, 6, "setup"), (8, 13, "idle"), links=(Link(0, 1, LinkKind.USES),))
    rest = review((0, 3, "setup"), (4, 13, "idle"), links=(Link(0, 1, LinkKind.USES),))

    found = agree(text, {"a": grazing, "b": rest, "c": rest})

    assert drawn(found.spans) == [(0, 4, "agreed", "setup"), (4, 13, "agreed", "idle")]
    assert [(x.source, x.target, x.reviewers) for x in found.links] == [(0, 1, ("a", "b", "c"))]


def test_a_step_never_leads_to_itself() -> None:
    halves = review((0, 3, "idle"), (4, 7, "idle"), links=(Link(0, 1, LinkKind.USES),))
    whole = review((0, 7, "idle"))

    found = agree("one two", {"a": halves, "b": whole, "c": whole})

    assert drawn(found.spans) == [(0, 7, "agreed", "idle")]
    assert found.links == ()


def test_a_link_between_marks_that_decide_nothing_is_no_claim() -> None:
    #            0-3 one, 4 =, 6-9 two
    sign = review((4, 5, "idle"), (6, 9, "idle"), links=(Link(0, 1, LinkKind.USES),))
    words = review((0, 3, "setup"), (6, 9, "idle"))

    # The sign hangs on "one", on which a and b did not vote.
    assert agree("one = two", {"a": sign, "b": sign, "c": words}).links == ()


# Verdicts


def blaming(start: int, stop: int) -> Review:
    return review((start, stop, "harmful"), blame=Blame(0))


def test_the_blamed_step_is_what_a_quorum_blames() -> None:
    found = agree(
        "0123456789",
        {"a": blaming(2, 6), "b": blaming(4, 9), "c": blaming(3, 6)},
    )

    # 3-4: a, c; 4-6: a, b, c. Mean share (1 * 2/3 + 2 * 1) / 3 = 8/9.
    assert found.blame is not None
    assert (found.blame.status, found.blame.span) == (Status.AGREED, Span(3, 6))
    assert found.blame.share == pytest.approx(8 / 9)
    assert found.blame.votes["b"] == Span(4, 9)


def test_only_the_first_blamed_stretch_counts() -> None:
    twice = {"a": blaming(0, 2), "b": blaming(0, 2), "c": blaming(5, 7), "d": blaming(5, 7)}

    found = agree("0123456789", twice, panel="abcd")

    assert found.blame is not None
    assert (found.blame.status, found.blame.span, found.blame.share) == (
        Status.DISPUTED,
        None,
        0.5,
    )
    low = agree("0123456789", twice, panel="abcd", params=ConsensusParams(quorum=0.5))
    assert low.blame is not None
    assert low.blame.span == Span(0, 2)


def test_a_panel_can_agree_that_no_step_is_wrong() -> None:
    none = review((0, 2, "idle"), blame=Blame(None))

    found = agree("0123456789", {"a": none, "b": none, "c": blaming(0, 2)})

    assert found.blame is not None
    assert (found.blame.status, found.blame.span) == (Status.AGREED, None)
    assert found.blame.share == pytest.approx(2 / 3)


def test_one_verdict_alone_is_thin() -> None:
    found = agree("0123456789", {"a": blaming(0, 2), "b": review((0, 2, "harmful"))})

    assert found.blame is not None
    assert (found.blame.status, found.blame.span, found.blame.share) == (Status.THIN, None, 1.0)


@pytest.mark.parametrize(
    ("verdicts", "status", "verdict", "share"),
    [
        (("unsound", "unsound", "sound"), Status.AGREED, Soundness.UNSOUND, 2 / 3),
        (("sound", "sound", "unsure"), Status.AGREED, Soundness.SOUND, 1.0),
        (("sound", "unsound", "unsure"), Status.DISPUTED, None, 0.5),
        (("unsound", "unsure", "unsure"), Status.THIN, None, 1.0),
        (("unsure", "unsure", "unsure"), Status.UNCOVERED, None, 0.0),
    ],
)
def test_soundness_is_voted_on_and_unsure_is_no_vote(
    verdicts: tuple[str, ...], status: Status, verdict: Soundness | None, share: float
) -> None:
    said = {
        name: review((0, 4, "idle"), soundness=Soundness(word))
        for name, word in zip("abc", verdicts, strict=True)
    }

    found = agree("word", said).soundness

    assert found is not None
    assert (found.status, found.verdict) == (status, verdict)
    assert found.share == pytest.approx(share)
    assert found.votes["a"] == verdicts[0]


# Properties

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
