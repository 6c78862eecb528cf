"""Units: a clause or shorter, and never a lost character."""

import itertools
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reviewers.units import LIMIT, cut_units, number_units


def pieces(text: str) -> list[str]:
    return [unit.text(text) for unit in cut_units(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She has 3. He has 4!", ["She has 3.", "He has 4!"]),
        ("It costs $5.50 and 1,000 cents.", ["It costs $5.50 and 1,000 cents."]),
        (
            "We use i.e. the mean, e.g. Dr. Lee's, cf. Fig. 2 vs. Eq. 3.",
            ["We use i.e. the mean,", "e.g. Dr. Lee's,", "cf. Fig. 2 vs. Eq. 3."],
        ),
        (
            "She eats three for breakfast, so she has 13 left to sell.",
            ["She eats three for breakfast,", "so she has 13 left to sell."],
        ),
        (
            "She eats three every morning and she sells the rest",
            ["She eats three every morning", "and she sells the rest"],
        ),
        ("Yes, no, maybe.", ["Yes, no, maybe."]),
        ("1. First item\n2) Second item\n- third", ["1. First item", "2) Second item", "- third"]),
        ("Hmm... wait. Is it 5? (No.)", ["Hmm...", "wait.", "Is it 5?", "(No.)"]),
        ('He said "stop." Then left; fine: 5', ['He said "stop."', "Then left;", "fine:", "5"]),
        ("<think>Okay.</think>The answer", ["<think>", "Okay.", "</think>", "The answer"]),
    ],
)
def test_english_is_cut_into_clauses(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        r"Then $f(x, y) = 3. 5; z$ holds",
        r"Then \( a, b, c; d. e \) holds",
        r"So \[ \text{this, and that. Here} \] holds",
        "Call `f(a, b); g(c. d)` here",
        "The pair (first of all, second. third) is here",
    ],
)
def test_formulas_code_and_asides_stay_whole(text: str) -> None:
    assert pieces(text) == [text]


def test_prices_are_no_formulas() -> None:
    text = "It costs $18 every single day; she pays $7 of it. So $11 remain."

    assert pieces(text) == [
        "It costs $18 every single day;",
        "she pays $7 of it.",
        "So $11 remain.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("他每天吃三个鸡蛋，然后卖掉剩下的鸡蛋。所以赚了18美元！", 3),
        ("彼女は卵を三つ食べます。残りは十三個です。", 2),
        ("في كل يوم تأكل ثلاث بيضات، ثم تبيع الباقي. هل هذا صحيح؟ نعم.", 4),
        ("היא אוכלת שלוש ביצים. כמה נשארו?", 2),
        ("वह तीन अंडे खाती है। बाकी बेचती है।", 2),
    ],
)
def test_other_scripts_are_cut_at_their_own_punctuation(text: str, expected: int) -> None:
    assert len(pieces(text)) == expected


def test_every_line_end_ends_a_unit() -> None:
    text = "a\r\nb\nc\rd\x0be\x0cf\x85g\u2028h\u2029i\x1cj"

    assert pieces(text) == list("abcdefghij")


def test_long_stretches_are_cut_at_spaces() -> None:
    words = pieces("word " * 100)

    assert [len(piece) for piece in words] == [199, 199, 99]
    assert set(" ".join(words).split()) == {"word"}


def test_a_stretch_without_spaces_is_cut_between_characters() -> None:
    assert [len(piece) for piece in pieces("x" * 450)] == [200, 200, 50]

    family = "👨‍👩‍👧‍👦"
    assert len(family) == 7
    cut = pieces(family * 40)
    assert all(len(piece) % 7 == 0 for piece in cut)

    waved = pieces("é" * 150)
    assert all(unicodedata.combining(piece[0]) == 0 for piece in waved)


@pytest.mark.parametrize("run", [".", '."', "(", "`", "$", "https://", " and", "， ", "\\("])
def test_a_long_run_of_marks_costs_linear_time(run: str) -> None:
    text = run * 100_000 + "x"

    begun = time.process_time()
    units = cut_units(text)

    # A cost that grows with the square would take minutes.
    assert time.process_time() - begun < 10
    assert units[-1].stop == len(text)


def test_a_long_run_of_spaces_is_no_unit() -> None:
    assert pieces("a" + " " * 700 + "b") == ["a", "b"]


def test_characters_without_any_gap_are_still_cut() -> None:
    assert [len(piece) for piece in pieces("a" + "\u0301" * 400)] == [200, 200, 1]


def test_numbered_lines_keep_indentation_and_paragraphs() -> None:
    text = "  Code:\n\n\ndef f(a):\n    return a + 1\n\nSo it works. Yes.\n"

    assert number_units(text, cut_units(text)) == (
        "[1]   Code:\n\n[2] def f(a):\n[3]     return a + 1\n\n[4] So it works.\n[5] Yes."
    )


def test_a_text_cannot_forge_the_number_of_a_line() -> None:
    text = "One.\n[7] Forged. [8] Again"

    assert number_units(text, cut_units(text)).split("\n") == [
        "[1] One.",
        "[2] [7] Forged.",
        "[3] [8] Again",
    ]


def test_white_space_alone_has_no_unit() -> None:
    assert cut_units(" \n\t\u3000\r\n ") == ()
    assert number_units(" ", ()) == ""


texts = st.text() | st.text(alphabet="ab .,;:!?\n$()[]{}`\\<>/0123,。、،", max_size=500)


@given(texts)
@example("\x1c")
@example("a" * 201 + "\n" + "\u200d" * 300)
def test_every_visible_character_is_in_exactly_one_unit(text: str) -> None:
    units = cut_units(text)

    covered = "".join(unit.text(text) for unit in units)
    assert [c for c in covered if not c.isspace()] == [c for c in text if not c.isspace()]
    assert all(left.stop <= right.start for left, right in itertools.pairwise(units))
    assert all(0 < len(unit) <= LIMIT for unit in units)
    assert all(unit.text(text) == unit.text(text).strip() for unit in units)
    assert all(len(unit.text(text).splitlines()) == 1 for unit in units)
    assert units == cut_units(text)


@given(texts)
def test_each_unit_is_shown_once_with_its_number(text: str) -> None:
    units = cut_units(text)

    lines = [line for line in number_units(text, units).split("\n") if line]
    shown = [line.split("] ", 1)[1].strip() for line in lines]
    assert shown == [unit.text(text) for unit in units]
    assert [line.split("]", 1)[0][1:] for line in lines] == [
        str(number) for number in range(1, len(units) + 1)
    ]
