"""Spans and weights of toy panels whose votes are counted by hand."""

import pytest

from dca.consensus.settle import Document, seat, settle
from dca.domain.consensus import ConsensusParams
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.domain.spans import Span
from tests.toy_panels import PARAMS, agree, drawn, review, reviewer


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
    ("panel", "splitters", "support"),
    [
        ("abc", "a", 1 / 3),
        ("abcde", "ab", 2 / 5),  # exactly the 0.4 of merge_support
        ("abcd", "ab", 1 / 2),
        ("abc", "ab", 2 / 3),
    ],
)
def test_neighbours_of_one_label_join_unless_the_panel_marks_the_boundary(
    panel: str, splitters: str, support: float
) -> None:
    split, joined = review((0, 4, "idle"), (5, 9, "idle")), review((0, 9, "idle"))

    said = {name: split if name in splitters else joined for name in panel}
    found = agree("word word", said, panel=panel)

    if support <= 0.4:
        assert drawn(found.spans) == [(0, 9, "agreed", "idle")]
    else:
        # The boundary stays, and the blank goes to the left.
        assert drawn(found.spans) == [(0, 5, "agreed", "idle"), (5, 9, "agreed", "idle")]
        assert found.spans[0].right == found.spans[1].left == pytest.approx(support)


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
