"""Links of toy panels whose votes are counted by hand."""

import pytest

from dca.domain.review import Link, LinkKind, Review
from tests.toy_panels import agree, drawn, review


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
