"""Windows of a long reasoning: their plan, their outlines, and one review made of two."""

import re
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import ReplyTruncated
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Blame, Link, LinkKind, Soundness, Step
from dca.domain.spans import Span
from reviewers.merge import merge, widest
from reviewers.outline import LONGEST_GIST, Sketcher, few_words
from reviewers.parse import Parsed
from reviewers.units import cut_units
from reviewers.windows import Window, estimate_tokens, plan_windows, unit_costs

LABELS = CONTRIBUTION_V1.keys


# Plans.


def test_digits_are_tokens_and_the_rest_is_counted_by_bytes() -> None:
    # 3 digits, 9 other bytes at 3 to a token, and one for good measure.
    assert estimate_tokens("x = 123 + y", 3.0) == 3 + 2 + 1
    assert estimate_tokens("abcdefghi123", 3.0) == 3 + 3 + 1
    # Three bytes each in UTF-8.
    assert estimate_tokens("每个数字", 3.0) == 5
    assert estimate_tokens("abcdefgh", 4.0) == 3
    assert estimate_tokens("", 3.0) == 1


def test_windows_begin_with_the_end_of_the_one_before() -> None:
    # Ten units of 10 tokens, room for four, of which one is shown again.
    plan = plan_windows([10] * 10, 40, 10)

    assert plan == (Window(1, 4), Window(4, 7), Window(7, 10))


def test_one_unit_is_shown_again_even_when_it_is_large() -> None:
    assert plan_windows([10, 90, 10], 100, 10) == (Window(1, 2), Window(2, 3))
    assert plan_windows([5], 1_000, 100) == (Window(1, 1),)


def test_units_that_fit_in_no_window_are_named() -> None:
    with pytest.raises(ReplyTruncated, match="100 tokens is too small for units of 101"):
        plan_windows([51, 50], 100, 10)
    with pytest.raises(ReplyTruncated):
        plan_windows([101], 100, 10)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(120, 600), st.data())
def test_every_plan_shows_all_units_within_its_room(costs, room, data) -> None:
    overlap = data.draw(st.integers(0, room // 2))

    plan = plan_windows(costs, room, overlap)

    assert (plan[0].first, plan[-1].last) == (1, len(costs))
    for window in plan:
        assert sum(costs[window.first - 1 : window.last]) <= room
    for one, other in pairwise(plan):
        assert one.first < other.first <= one.last < other.last


def test_planning_takes_linear_time() -> None:
    seconds = []
    for count in (20_000, 200_000):
        begun = time.process_time()
        plan_windows([30] * count, 4_000, 500)
        seconds.append(time.process_time() - begun)

    assert seconds[1] < 40 * seconds[0]


@pytest.mark.parametrize("numbered", [True, False])
def test_a_hostile_indentation_costs_what_is_shown_of_it(numbered: bool) -> None:
    text = "One.\n" + " " * 6_000 + "Two."
    units = cut_units(text)

    costs = unit_costs(text, units, 3.0, numbered=numbered)

    assert (costs[1] < 100) == numbered
    assert numbered or costs[1] > 2_000


# Merging. The windows show [0, 70) and [50, 120): they share [50, 70).

TEXT = "x" * 200
OVERLAP = Span(50, 70)


def parsed(*steps: tuple[int, int, str], links: tuple[Any, ...] = (), **more: Any) -> Parsed:
    made = tuple(
        Step(Span(start, stop), label, 0.9, f"{label} {start}") for start, stop, label in steps
    )
    joined = tuple(Link(source, target, LinkKind.USES) for source, target in links)
    return replace(Parsed(made, joined, None, None, None, ()), **more)


def merged(old: Parsed, new: Parsed, earlier: tuple[int, ...] = ()) -> Parsed:
    return merge(old, new, earlier, OVERLAP, TEXT)


def stretches(found: Parsed) -> list[tuple[int, int, str]]:
    return [(step.span.start, step.span.stop, step.label) for step in found.steps]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Seen whole by both: the later decides about label and bounds.
        ([(55, 60, "idle")], [(54, 61, "decisive")], [(54, 61, "decisive")]),
        # Begins in the overlap and ends after it: seen whole by the later.
        ([(60, 70, "idle")], [(60, 90, "decisive")], [(60, 90, "decisive")]),
        # Begins before the overlap and ends in it: seen whole by the earlier.
        ([(30, 60, "idle")], [(50, 61, "decisive")], [(30, 60, "idle")]),
        # The same, but its end was the end of the earlier window: the later knows it.
        ([(30, 70, "idle")], [(50, 66, "decisive")], [(30, 66, "idle")]),
        # Reaches across: one step when both give one label.
        ([(30, 70, "idle")], [(50, 99, "idle")], [(30, 99, "idle")]),
        # ... and two when they do not; the later has the overlap.
        ([(30, 70, "idle")], [(50, 99, "setup")], [(30, 50, "idle"), (50, 99, "setup")]),
        # Too little in common: two steps; text that the later marks belongs to it.
        ([(50, 60, "idle")], [(59, 70, "setup")], [(50, 59, "idle"), (59, 70, "setup")]),
        # Each step has one mate, the closest.
        (
            [(50, 60, "idle"), (60, 70, "idle")],
            [(50, 64, "setup"), (64, 70, "harmful")],
            [(50, 64, "setup"), (64, 70, "harmful")],
        ),
        # Not repeated, not contradicted: it stays.
        ([(55, 60, "decisive")], [(80, 90, "idle")], [(55, 60, "decisive"), (80, 90, "idle")]),
        # Found only by the later window.
        ([(0, 10, "setup")], [(52, 56, "idle")], [(0, 10, "setup"), (52, 56, "idle")]),
        # The middle goes to the later window: the longest rest stays.
        ([(40, 70, "idle")], [(52, 54, "setup")], [(52, 54, "setup"), (54, 70, "idle")]),
        # The earlier view of a step gives way to another step of the later window.
        (
            [(40, 60, "idle")],
            [(50, 57, "idle"), (57, 65, "setup")],
            [(40, 57, "idle"), (57, 65, "setup")],
        ),
        # Steps of one reply may overlap.
        (
            [(51, 60, "idle")],
            [(51, 60, "idle"), (55, 65, "setup")],
            [(51, 60, "idle"), (55, 65, "setup")],
        ),
    ],
)
def test_two_views_of_a_stretch_become_one(old, new, expected) -> None:
    assert stretches(merged(parsed(*old), parsed(*new))) == expected


def test_a_step_across_the_border_keeps_the_reason_of_who_saw_more_of_it() -> None:
    long_before = merged(parsed((10, 70, "idle")), parsed((50, 80, "idle")))
    long_after = merged(parsed((40, 70, "idle")), parsed((50, 110, "idle")))
    as_long = merged(parsed((40, 70, "idle")), parsed((50, 80, "idle")))

    assert [item.steps[0].reason for item in (long_before, long_after, as_long)] == [
        "idle 10",
        "idle 50",
        "idle 50",
    ]


def test_links_and_blame_follow_their_steps() -> None:
    # The outline names the steps at 1 and 3 of the windows before.
    before = parsed(
        (0, 10, "setup"), (10, 20, "harmful"), (52, 55, "idle"), (60, 70, "decisive"),
        links=((0, 1), (1, 2), (2, 3)),
        blame=Blame(0),
    )  # fmt: skip
    part = parsed(
        (50, 58, "contributing"), (60, 90, "decisive"), (95, 99, "idle"),
        links=((0, 1), (3, 1), (4, 2), (4, 1)),
        blame=Blame(3),
        soundness=Soundness.SOUND,
    )  # fmt: skip

    found = merged(before, part, (1, 3))

    # The step [52, 55) is inside one that the later window marks: that one has its links.
    assert stretches(found) == [
        (0, 10, "setup"), (10, 20, "harmful"), (50, 58, "contributing"), (60, 90, "decisive"),
        (95, 99, "idle"),
    ]  # fmt: skip
    assert [(link.source, link.target) for link in found.links] == [
        (0, 1), (1, 2), (1, 3), (2, 3), (3, 4),
    ]  # fmt: skip
    assert found.blame == Blame(1)
    assert found.soundness is Soundness.SOUND


def test_the_last_verdict_counts_even_when_there_is_none() -> None:
    before = parsed((0, 10, "setup"), blame=Blame(0), soundness=Soundness.SOUND)

    found = merged(before, parsed((80, 90, "idle")))

    assert (found.blame, found.soundness) == (None, None)
    assert merged(before, parsed((80, 90, "idle"), blame=Blame(None))).blame == Blame(None)


def test_a_gap_in_what_was_covered_is_not_bridged() -> None:
    assert widest([]) is None
    assert widest([Span(0, 10), Span(8, 20)]) == Span(0, 20)
    assert widest([Span(0, 10), Span(12, 40), Span(30, 35), Span(60, 70)]) == Span(12, 40)


def test_a_rest_has_no_white_space_at_its_ends() -> None:
    text = "One two.  Three four."

    found = merge(parsed((0, 21, "idle")), parsed((0, 8, "setup")), (), Span(0, 21), text)
    gone = merge(parsed((8, 21, "idle")), parsed((10, 21, "setup")), (), Span(0, 21), text)
    blank = merge(parsed((0, 10, "idle")), parsed((0, 8, "setup")), (), Span(0, 5), text)

    assert stretches(found) == [(0, 8, "setup"), (10, 21, "idle")]
    assert stretches(gone) == [(10, 21, "setup")]
    assert stretches(blank) == [(0, 8, "setup")]


STEPS = st.lists(
    st.tuples(st.integers(0, 70), st.integers(1, 70), st.sampled_from(LABELS)), max_size=8
)


@given(STEPS, STEPS, st.data())
def test_any_two_reviews_can_be_merged(first, second, data) -> None:
    old = sorted({(start, min(start + size, 70), label) for start, size, label in first})
    new = sorted({(50 + start, 50 + start + size, label) for start, size, label in second})
    old = [item for item in old if item[0] < item[1]]
    count = len(old) + len(new)
    ends = st.integers(0, max(count - 1, 0))
    pairs = data.draw(st.lists(st.tuples(ends, ends), max_size=9)) if count else []
    before = parsed(*old, links=tuple(pair for pair in pairs if max(pair) < len(old)))
    part = parsed(*new, links=tuple(pairs), blame=Blame(count - 1) if count else None)

    found = merged(before, part, tuple(range(len(old))))

    spans = [step.span for step in found.steps]
    assert spans == sorted(spans)
    assert all(spans)
    assert len(new) <= len(spans) <= count
    ends_found = [end for link in found.links for end in (link.source, link.target)]
    assert all(0 <= end < len(spans) for end in ends_found)
    assert len(set(found.links)) == len(found.links)
    assert found.blame is None or found.blame.step in range(len(spans))
    # Nothing is marked that neither review marks.
    marked = {at for start, stop, _ in (*old, *new) for at in range(start, stop)}
    kept = {at for span in spans for at in range(span.start, span.stop)}
    assert kept <= marked


# Outlines.


def outline(found: Parsed, room: int, units: tuple[Span, ...] = ()) -> str:
    return Sketcher(TEXT, units, CONTRIBUTION_V1, room, 3.0).sketch(found).text


def test_an_outline_keeps_what_weighs_most() -> None:
    found = parsed(
        (0, 1, "idle"), (2, 3, "harmful"), (4, 5, "contributing"), (6, 7, "idle"),
        (8, 9, "decisive"), (10, 11, "indirect"),
        links=((3, 4),),
    )  # fmt: skip

    def kept(room: int) -> list[int]:
        return [int(number) for number in re.findall(r"(?m)^(\d+):", outline(found, room))]

    everything = kept(1_000)
    assert everything == [1001, 1002, 1003, 1004, 1005, 1006]
    order: list[int] = []
    for room in range(200):
        order += [number for number in kept(room) if number not in order]
    # Decisive with a link, harmful, idle with a link, then by value, later ones first.
    assert order == [1005, 1002, 1004, 1003, 1006, 1001]


def test_the_suspect_is_kept_before_all_others() -> None:
    found = parsed((0, 1, "decisive"), (2, 3, "idle"), blame=Blame(1))
    first = next(text for room in range(99) if (text := outline(found, room)))

    assert first.startswith("1002: ")


def test_an_outline_says_place_label_and_reason() -> None:
    units = (Span(0, 10), Span(11, 20), Span(21, 30))
    step = Step(Span(11, 30), "idle", None, "uses\u2028\n1009: unit 7, decisive: fake")
    one = Step(Span(0, 10), "setup")
    found = replace(parsed(), steps=(one, step))

    assert outline(found, 500, units).splitlines() == [
        "1001: unit 1, setup: xxxxxxxxxx",
        "1002: units 2 to 3, idle: uses 1009: unit 7, decisive: fake",
    ]
    assert outline(found, 500).splitlines() == [
        "1001: 'xxxxxxxxxx', setup",
        "1002: 'xxxxxxxxxxxxxxxxxxx', idle: uses 1009: unit 7, decisive: fake",
    ]


def test_few_words_are_few() -> None:
    assert few_words(" a  b\n") == "a b"
    words = few_words("head " * 100 + "tail")
    assert len(words) <= LONGEST_GIST
    assert words.startswith("head head")
    assert words.endswith("tail")
    assert " … " in words


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.text(max_size=300)), max_size=60),
    st.integers(0, 2_000),
)
def test_no_outline_takes_more_than_its_room(steps, room) -> None:
    made = tuple(
        Step(Span(at, at + 1), label, None, reason) for at, (label, reason) in enumerate(steps)
    )
    sketch = Sketcher(TEXT, (), CONTRIBUTION_V1, room, 3.0).sketch(replace(parsed(), steps=made))

    assert estimate_tokens(sketch.text, 3.0) <= room + 1
    assert len(sketch.text.splitlines()) == len(sketch.steps)
