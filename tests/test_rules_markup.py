"""Equations beside tags and the bars of tables, and equations in full-width signs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.rollout import Message, Rollout
from reviewers.rules.answer import find_answer
from reviewers.rules.arithmetic import read_arithmetic
from reviewers.rules.dataflow import read_dataflow
from reviewers.rules.equations import read_page
from reviewers.rules.novelty import read_novelty
from reviewers.rules.numbers import Verdict
from reviewers.rules.widths import plain_widths

FRAMES = [
    "<think>{}</think>",
    "<think>\n{}\n</think>",
    '<step n="1" id=first>{}</step>',
    "So <b>{}</b>.",
    "<p>The sum: <strong>{}</strong></p>",
    "<td>5</td><td>{}</td>",
    "line<br/>{}<br>",
    "| {} |",
    "|{}|",
    "| sum | {} | ok |",
    "step 1 | {} | done",
    "| Step | Sum |\n|---|---|\n| 1 | {} |",
]
EQUATIONS = [
    ("3 + 4 = 7", Verdict.RIGHT),
    ("3 + 4 = 8", Verdict.WRONG),
    ("(3 + 4) * 2 = 14", Verdict.RIGHT),
    ("(3 + 4) * 2 = 15", Verdict.WRONG),
    ("-3 + 5 = 2", Verdict.RIGHT),
    ("-3 + 5 = 3", Verdict.WRONG),
]


def rollout(completion, *, problem="", reward=None):
    return Rollout("r", "g", "math", (Message("user", problem),), completion, reward=reward)


def wrong(text):
    return [e.span.text(text) for e in read_page(text).equations if e.verdict is Verdict.WRONG]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("equation", "verdict"), EQUATIONS)
def test_an_equation_is_read_beside_tags_and_bars(frame, equation, verdict):
    text = frame.format(equation)

    assert [(e.span.text(text), e.verdict) for e in read_page(text).equations] == [
        (equation, verdict)
    ]


def test_a_wrong_equation_in_a_tag_is_harmful():
    text = "<think>3 + 4 = 8</think><answer>8</answer>"

    found = read_arithmetic(rollout(text, reward=0.0))

    assert [(s.span.text(text), s.label) for s in found.steps] == [("3 + 4 = 8", "harmful")]
    assert found.steps[0].reason == "the calculation comes to 7"


def test_every_row_of_a_table_is_checked():
    text = "| day | pens |\n| 1 | 3 + 4 = 8 |\n| 2 | 3 * 4 = 12 |\n| 3 | 2 * 2 = 5 |"

    assert wrong(text) == ["3 + 4 = 8", "2 * 2 = 5"]


@pytest.mark.parametrize(
    ("text", "phrase", "verdict"),
    [
        ("<b>3</b> + 4 = 7", "3</b> + 4 = 7", Verdict.RIGHT),
        ("<b>3</b> + 4 = <i>8</i>", "3</b> + 4 = <i>8", Verdict.WRONG),
        ("2 + 3 = 3 + <span>2</span>", "2 + 3 = 3 + <span>2", Verdict.RIGHT),
    ],
)
def test_a_tag_that_only_dresses_a_number_is_not_there(text, phrase, verdict):
    assert [(e.span.text(text), e.verdict) for e in read_page(text).equations] == [
        (phrase, verdict)
    ]


@pytest.mark.parametrize(
    "text",
    [
        # Powers and indices.
        "3<sup>2</sup> + 4 = 13",
        "5 + 3 = 2<sup>3</sup>",
        # What stands behind a tag may go on with what stands before it.
        "<td>3</td>(4 + 1) = 15",
        "max<int>(3 + 4) = 8",
        "2 + 3 = 3 + <mn>2</mn>",
        "<mn>3</mn><mo>+</mo><mn>4</mn><mo>=</mo><mn>8</mn>",
        # Attributes.
        '<td data-sum="3 + 4 = 8">7</td>',
        "<img alt='3 + 4 = 8'/>",
        "<td width=3+4=8>7</td>",
        # Comparisons.
        "a<b>c",
        "a <b> 3 + 4 = 8",
        "x<y>3 + 4 = 8",
        "if a<b and c>3 + 4 = 8",
        "3 < 4 = 8 > 2 + 1",
        # Bars that are no table's.
        "a|b",
        "a|b 3 + 4 = 8",
        "|x| = 3",
        "|3 - 5| = 2",
        "| 3 - 5 | = 2",
        "|x| = |3|",
        "|4|-2+3 = 5 = |5|",
        "|-2| + 4 = 6",
        "5 + 5 = 12 - |2|",
        "2 + 3 = 3 + | 2 |",
        "| 2 + 3 = 3 + | 2 |",
        "6 = 4 + |-2|",
        "|---|---|",
    ],
)
def test_what_only_looks_like_a_tag_or_a_table_is_no_false_alarm(text):
    assert wrong(text) == []


def test_a_line_that_goes_on_after_an_equality_is_no_row():
    # The second line begins with "=", so its bars are looked at anew.
    assert wrong("| a | 3 + 4\n= 8 - |1|") == []


def test_a_very_long_line_is_no_row():
    cell = "| 3 + 4 = 8 "

    assert len(wrong(cell * 300 + "|")) == 300
    assert wrong(cell * 400 + "|") == []


def test_an_absolute_value_is_known_to_be_unread():
    assert read_page("|3 - 5| = 2").unread != ()
    assert read_page("| 3 - 5 | = 2").unread != ()


@pytest.mark.parametrize(
    ("text", "phrase", "verdict"),
    [
        ("３＋４＝７", "３＋４＝７", Verdict.RIGHT),
        ("３＋４＝８", "３＋４＝８", Verdict.WRONG),
        ("３＋４＝７＝８", "３＋４＝７＝８", Verdict.WRONG),
        ("（３＋４）×２＝１４！", "（３＋４）×２＝１４", Verdict.RIGHT),
        ("（３＋４）×２＝１５！", "（３＋４）×２＝１５", Verdict.WRONG),
        ("１２．５－１＝１１．５", "１２．５－１＝１１．５", Verdict.RIGHT),
        ("２０％ of ５０ ＝ １２", "２０％ of ５０ ＝ １２", Verdict.WRONG),
        ("１，２００＋１＝１２０１", "１，２００＋１＝１２０１", Verdict.RIGHT),
        ("３ｘ４＝１２", "３ｘ４＝１２", Verdict.RIGHT),
        ("答案：３＋４＝８。", "３＋４＝８", Verdict.WRONG),
        ("有３个，4＋5＝9。", "4＋5＝9", Verdict.RIGHT),
        ("＜think＞３＋４＝８＜／think＞", "３＋４＝８", Verdict.WRONG),
        ("｜３＋４＝８｜", "３＋４＝８", Verdict.WRONG),
    ],
)
def test_full_width_digits_and_signs_are_read(text, phrase, verdict):
    assert [(e.span.text(text), e.verdict) for e in read_page(text).equations] == [
        (phrase, verdict)
    ]


@pytest.mark.parametrize("text", ["３：４０＋１５＝３：５５", "３＋４＝８？", "ｘ＋４＝８"])
def test_full_width_clock_times_questions_and_names_are_no_false_alarm(text):
    assert wrong(text) == []


def test_every_rule_knows_a_full_width_answer():
    text = "３＋４＝７\nＡ: ７"
    item = rollout(text, problem="有３支和４支。", reward=1.0)
    answer = find_answer(item)

    assert answer is not None
    assert (answer.span.text(text), answer.value) == ("７", 7)
    assert [s.label for s in read_arithmetic(item).steps] == ["decisive"]
    assert [s.label for s in read_dataflow(item).steps] == ["decisive", "idle"]
    assert [s.label for s in read_novelty(item).steps] == ["decisive", "idle"]


@given(st.text(st.characters(min_codepoint=0xFF00, max_codepoint=0xFFEF), max_size=30))
def test_a_plain_text_has_every_sign_in_its_place(text):
    assert len(plain_widths(text)) == len(text)


def test_only_full_width_signs_change():
    assert plain_widths("３＋４，８；９：３０，￥５！é好") == "3+4，8；9:30，¥5！é好"
