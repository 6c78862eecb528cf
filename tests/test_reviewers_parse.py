"""Replies, good and bad: what is read, what is set aside, what makes a reply invalid."""

import pytest

from dca.domain.errors import ReplyInvalid, ReplyTruncated, ReviewerRefused, ReviewError
from dca.domain.labels import Label, LabelSet
from dca.domain.review import Blame, Link, LinkKind, Soundness
from dca.domain.spans import Span
from reviewers.decode import decode_object
from reviewers.schema import Outcome
from reviewers.values import whole
from tests.replies import QUOTES, TEXT, form, quoted, read, refusals, reply, step, stretches


def test_a_full_reply_in_units_is_read() -> None:
    parsed = read(
        reply(
            step(1, 1, 2, "setup", confidence=0.9),
            step(2, 3, 3, "harmful", confidence=0.95),
            step(3, 4, 5, "decisive", confidence=1),
            links=[{"from": 2, "to": 3, "kind": "repairs"}, {"from": 1, "to": 3, "kind": "uses"}],
            blame=0,
            soundness="sound",
        )
    )

    assert [item.span for item in parsed.steps] == [Span(0, 33), Span(34, 53), Span(54, 87)]
    assert [item.label for item in parsed.steps] == ["setup", "harmful", "decisive"]
    assert [item.confidence for item in parsed.steps] == [0.9, 0.95, 1.0]
    assert parsed.steps[0].reason == "why"
    assert parsed.links == (Link(1, 2, LinkKind.REPAIRS), Link(0, 2, LinkKind.USES))
    assert parsed.covered == Span(0, len(TEXT))
    assert (parsed.blame, parsed.soundness) == (Blame(None), Soundness.SOUND)
    assert parsed.unplaced == ()


def test_a_full_reply_in_quotes_is_read() -> None:
    parsed = read(
        reply(
            quoted(1, "Tom has 3 apples. He buys 2 more."),
            quoted(2, "So he has 6 apples.", "harmful"),
            quoted(3, "3 + 2 [...] answer is 5."),
            blame=2,
        ),
        QUOTES,
    )

    assert stretches(parsed) == [
        "Tom has 3 apples. He buys 2 more.",
        "So he has 6 apples.",
        "3 + 2 = 5.\nThe answer is 5.",
    ]
    assert parsed.blame == Blame(1)
    assert parsed.covered == Span(0, len(TEXT))


def test_reordered_steps_are_sorted_and_links_and_blame_follow() -> None:
    parsed = read(
        reply(
            step(7, 5, 5),
            step(3, 1, 1, "setup"),
            step(5, 3, 3, "harmful"),
            links=[{"from": 3, "to": 7, "kind": "uses"}],
            blame=5,
        )
    )

    assert [item.label for item in parsed.steps] == ["setup", "harmful", "contributing"]
    assert parsed.links == (Link(0, 2, LinkKind.USES),)
    assert parsed.blame == Blame(1)


def test_reordered_quotes_of_a_repeated_text_go_on_from_the_last_one() -> None:
    text = "x = 5 here. Then y = 2. Then x = 5 again."

    parsed = read(reply(quoted(1, "Then y = 2."), quoted(2, "x = 5")), QUOTES, text)

    assert [item.span.start for item in parsed.steps] == [12, 29]


def test_overlapping_steps_are_all_kept() -> None:
    parsed = read(reply(step(1, 1, 5), step(2, 2, 3, "harmful"), step(3, 2, 3, "idle")))

    assert [item.span for item in parsed.steps] == [Span(0, 87), Span(18, 53), Span(18, 53)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (step(2, 4, 3), "units 4 to 3 run backwards"),
        (step(2, 5, 6), "units 5 to 6 are not among 1 to 5"),
        (step(2, 0, 1), "units 0 to 1 are not among 1 to 5"),
        (step(2, None, 1), "units None to 1 are no numbers"),
        (step(2, "a\x00b", [1]), "units 'a b' to a nested value are no numbers"),
        (step(2, 2, 2, "brilliant"), "unknown label 'brilliant'"),
        (step(2, 2, 2, None), "unknown label None"),
        (step(2, 2, 2, {"x": 1}), "unknown label a nested value"),
    ],
)
def test_a_bad_step_is_set_aside_and_its_text_is_not_called_idle(bad, why: str) -> None:
    parsed = read(reply(step(1, 1, 1), bad, links=[{"from": 1, "to": 2, "kind": "uses"}], blame=2))

    assert len(parsed.steps) == 1
    assert refusals(parsed) == [why, *["names step 2, which was set aside"] * 2]
    assert parsed.covered is None
    assert parsed.blame is None


@pytest.mark.parametrize(
    ("quote", "why"),
    [
        ("Bob has three pears and a dog.", "no stretch of the text is 90% similar to the quote"),
        ("汤姆有三个苹果。", "the quote is not in the text and too short to be matched loosely"),
        ("", "the quote is empty"),
        (None, "the step has no quote"),
        (17, "the step has no quote"),
    ],
)
def test_a_misquote_is_set_aside_with_the_reason(quote, why: str) -> None:
    parsed = read(reply(quoted(1, "Tom has 3 apples."), quoted(2, quote)), QUOTES)

    assert stretches(parsed) == ["Tom has 3 apples."]
    assert [(item.quote, item.reason) for item in parsed.unplaced] == [
        (quote if isinstance(quote, str) else "step 2", why)
    ]
    assert parsed.covered is None


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ({"from": 1, "to": 1, "kind": "uses"}, "the step links to itself"),
        ({"from": 1, "to": 9, "kind": "uses"}, "names step 9, which the reply does not have"),
        ({"from": 9, "to": 1, "kind": "uses"}, "names step 9, which the reply does not have"),
        ({"from": 1, "to": 3, "kind": "uses"}, "names step 3, which the reply gives twice"),
        ({"from": 1, "to": "x", "kind": "uses"}, "is no number of a step"),
        ({"from": 1, "to": 2, "kind": "inspires"}, "unknown kind 'inspires'"),
        ({"from": 1, "to": 2}, "unknown kind None"),
        ([1, 2], "the link is no object"),
        (None, "the link is no object"),
    ],
)
def test_a_bad_link_is_set_aside_and_the_rest_stands(link, why: str) -> None:
    good = {"from": 1, "to": 2, "kind": "suggests"}
    steps = [step(1, 1, 1), step(2, 2, 2), step(3, 3, 3), step(3, 4, 4)]

    parsed = read(reply(*steps, links=[link, good, good]))

    assert parsed.links == (Link(0, 1, LinkKind.SUGGESTS),)
    assert refusals(parsed) == [why]
    assert parsed.covered == Span(0, len(TEXT))


def test_links_that_are_no_list_are_set_aside() -> None:
    assert refusals(read(reply(step(1, 1, 1), links={"from": 1}))) == ["the links are no list"]


@pytest.mark.parametrize(
    ("said", "blame", "faults"),
    [
        (0, Blame(None), 0),
        (1, Blame(0), 0),
        ("1", Blame(0), 0),
        (None, None, 0),
        (4, None, 1),
        (-1, None, 1),
        (True, None, 1),
        ("step 1", None, 1),
        ([1], None, 1),
    ],
)
def test_blame_is_a_step_none_of_them_or_no_verdict(said, blame, faults: int) -> None:
    parsed = read(reply(step(1, 3, 3, "harmful"), blame=said))

    assert parsed.blame == blame
    assert len(parsed.unplaced) == faults


@pytest.mark.parametrize(
    ("said", "verdict", "faults"),
    [
        ("sound", Soundness.SOUND, 0),
        (" Unsound ", Soundness.UNSOUND, 0),
        ("unsure", Soundness.UNSURE, 0),
        (None, None, 0),
        ("solid", None, 1),
        (True, None, 1),
    ],
)
def test_soundness_is_a_verdict_or_none(said, verdict, faults: int) -> None:
    parsed = read(reply(step(1, 3, 3), soundness=said))

    assert parsed.soundness == verdict
    assert len(parsed.unplaced) == faults


def test_a_verdict_that_was_not_asked_for_is_not_read() -> None:
    said = reply(step(1, 3, 3), blame=1, soundness="sound")

    failed = read(said, form(outcome=Outcome.FAILED))
    succeeded = read(said, form(outcome=Outcome.SUCCEEDED))

    assert (failed.blame, failed.soundness) == (Blame(0), None)
    assert (succeeded.blame, succeeded.soundness) == (None, Soundness.SOUND)


@pytest.mark.parametrize(
    ("more", "covered", "faults"),
    [
        ({"covered_first": 1, "covered_last": 5}, Span(0, 89), 0),
        ({"covered_first": 2, "covered_last": 3}, Span(19, 54), 0),
        ({"covered_first": 1, "covered_last": 9}, None, 1),
        ({"covered_first": 3, "covered_last": 1}, None, 1),
        ({"covered_first": None, "covered_last": 1}, None, 0),
    ],
)
def test_the_covered_range_is_that_of_its_units(more, covered, faults: int) -> None:
    parsed = read(reply(step(1, 1, 1), **more), text=f" {TEXT}\n")

    assert parsed.covered == covered
    assert len(parsed.unplaced) == faults


@pytest.mark.parametrize("said", [False, None, "yes", 1])
def test_quotes_cover_the_text_only_when_the_reply_says_so(said) -> None:
    assert read(reply(quoted(1, "Tom"), covered=said), QUOTES).covered is None


@pytest.mark.parametrize("said", [1.5, -0.1, 90, "high", True, [0.5]])
def test_a_confidence_outside_its_range_is_left_out_and_the_step_stays(said) -> None:
    parsed = read(reply(step(1, 1, 1, confidence=said)))

    assert parsed.steps[0].confidence is None
    assert "outside 0 to 1" in refusals(parsed)[0]
    assert parsed.covered == Span(0, len(TEXT))


def test_steps_without_numbers_are_numbered_by_their_place() -> None:
    bare = [{"first": n, "last": n, "label": "idle"} for n in (1, 2)]

    parsed = read(reply(*bare, links=[{"from": 1, "to": 2, "kind": "uses"}]))

    assert parsed.links == (Link(0, 1, LinkKind.USES),)
    assert parsed.steps[0].reason == ""


def test_labels_are_read_whatever_their_case_unless_that_is_ambiguous() -> None:
    pair = LabelSet("pair", (Label("Good", "G", 1, "x"), Label("good", "H", 0, "y")))

    assert read(reply(step(1, 1, 1, " DECISIVE "))).steps[0].label == "decisive"
    assert read(reply(step(1, 1, 1, "good")), form(labels=pair)).steps[0].label == "good"
    with pytest.raises(ReplyInvalid, match="unknown label 'GOOD'"):
        read(reply(step(1, 1, 1, "GOOD")), form(labels=pair))


GOOD = reply(step(1, 1, 2, "setup"), step(2, 3, 3, "harmful"))


@pytest.mark.parametrize(
    "raw",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here is my review:\n\n{GOOD}\n\nLet me know {{if}} you need more!",
        f"Uses {{curly}} {{braces}} in LaTeX \\frac{{1}}{{2}} first. {GOOD}",
        f"<think>Maybe {reply(step(1, 5, 5))}? No.</think>\n{GOOD}",
        f"\ufeff {GOOD} ",
        f"{GOOD}\n{GOOD}",
        f"[{GOOD}]",
        GOOD.replace("why", "wh\ny\t\x01"),
        GOOD[:-1] + ",}",
        GOOD.replace("}], ", "},], ").replace('"why"', '"why,]"'),
    ],
)
def test_repairs_with_one_reading_are_made(raw: str) -> None:
    parsed = read(raw)

    assert [item.span for item in parsed.steps] == [Span(0, 33), Span(34, 53)]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "empty"),
        ("<think>only thought</think>", "empty"),
        ("The first step is right and the second is wrong.", "no JSON object"),
        ("第一步是对的，第二步是错的。", "no JSON object"),
        ("[1, 2, 3]", "no JSON object"),
        ('{"review": {"links": []}}', "no JSON object"),
        (f'{{"review": {GOOD}}}', "no JSON object"),
        ("{'steps': []}", "no JSON object"),
        ('{"steps": [], "steps": []}', "no JSON object"),
        ('{"steps": NaN}', "no JSON object"),
        ('{"steps": ' + "9" * 5000 + "}", "no JSON object"),
        ('{"steps": []}', "marks no step"),
        ('{"steps": null}', "marks no step"),
        ('{"steps": {"n": 1}}', "marks no step"),
        ('{"steps": [1]}', "a step is no object"),
        (reply(step(1, 1, 1), None), "a step is no object"),
        (reply(step(1, 8, 9), step(2, 9, 8)), "no step can be placed: units 8 to 9"),
        (GOOD + reply(step(1, 5, 5)), "2 different answers"),
        ("{x} " * 200 + GOOD, "no JSON object"),
        ("\0{{{", "no JSON object"),
        ("{{", "no JSON object"),
        ("{steps: [", "no JSON object"),
        ('{"steps": [1, 2}', "no JSON object"),
        ('{"steps": ' + "9" * 5000 + ", ", "no JSON object"),
    ],
)
def test_structural_damage_makes_the_reply_invalid(raw: str, why: str) -> None:
    with pytest.raises(ReplyInvalid, match=why):
        read(raw)


@pytest.mark.parametrize("stop", [1, 12, 40, len(GOOD) // 2, len(GOOD) - 1])
def test_a_reply_that_ends_inside_its_object_is_truncated(stop: int) -> None:
    cut = GOOD[:stop]
    comma = '{"links": [1,], ' + cut[1:]
    for raw in (cut, f"```json\n{cut}", f"By \\frac{{1}}{{2}}: {cut}", comma):
        with pytest.raises(ReplyTruncated):
            read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, I cannot review this content.",
        "I cannot assist with this request.",
        "I am unable to help.",
    ],
)
def test_a_short_apology_is_a_refusal(raw: str) -> None:
    with pytest.raises(ReviewerRefused):
        read(raw)


def test_a_long_apology_is_an_invalid_reply() -> None:
    with pytest.raises(ReplyInvalid):
        read("I cannot see why. " + "The step is wrong. " * 60)


def test_deep_nesting_is_no_crash() -> None:
    for raw in ('{"steps":' + "[" * 100_000, '{"steps":' + "[" * 990 + "]" * 990 + "}"):
        with pytest.raises(ReviewError):
            read(raw)
    deep = '{"steps": [1], "x": ' + "[" * 300 + "]" * 300 + "}"
    with pytest.raises(ReplyInvalid):
        read(deep + deep.replace("1", "2", 1))


def test_reasons_are_one_clean_line() -> None:
    parsed = read(reply(step(1, 1, 1, reason="a\u0000b\n\ud800c\u009bd" + "x" * 2_000)))

    assert parsed.steps[0].reason.startswith("a b c d")
    assert len(parsed.steps[0].reason) == 1_000
    parsed.steps[0].reason.encode()
    assert read(reply(step(1, 1, 1, reason=["no"]))).steps[0].reason == ""


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (3.0, 3),
        (" 3 ", 3),
        (3.5, None),
        ("3.0", None),
        ("[3]", None),
        ("٣", None),
        (True, None),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
        (10**40, None),
        ([3], None),
    ],
)
def test_whole_numbers_are_read_only_without_doubt(value, number) -> None:
    assert whole(value) == number


def test_a_decoded_object_is_returned_as_it_is() -> None:
    assert decode_object('{"steps": [], "note": "\\u00e9"}') == {"steps": [], "note": "é"}
