"""Marks in completions, numbers, letters and outcomes."""

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import MissingExtra, UsageError
from dca.formats.marks import answer_span, think_span
from dca.formats.math_judge import math_judge
from dca.formats.math_worker import answer
from dca.formats.numbers import equal_numbers, read_number
from dca.formats.verify import REWARDS, Outcome, comparison, judge, read_letter


def answer_of(text):
    span = answer_span(text)
    return None if span is None else span.text(text)


def thought_of(text, *tags):
    span = think_span(text, *tags)
    return None if span is None else span.text(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x\nA: 18", "18"),
        ("so \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{1} no, \\fbox {2}", "2"),
        ("work\n#### 1,234\n", "1,234"),
        ("#### Conclusion\nit is so", None),
        ("<think>the answer is 3</think>Final Answer: **(B)**", "(B)"),
        ("<think>the answer is 3", None),
        ("thus </think>\n<answer> 12 </answer>", "12"),
        ("**Answer:** 42", "42"),
        ("### Answer: x=5\nThat is all.", "x=5"),
        ("Answer:\n42", "42"),
        ("Answer:", None),
        ("ans： 3", "3"),
        ("A: hi\nB: you", None),
        ("The answer is $18.", "$18"),
        ("The final answer is 3.14! Hope that helps.", "3.14"),
        ("the answer is: **7**.", "7"),
        ("The answer is\n", None),
        ("\\boxed{ }", None),
        ("\\boxed{5", None),
        ("no mark at all", None),
        ("this is no mark: \\alpha </answer>", None),
    ],
)
def test_a_clear_mark_gives_the_answer(text, found):
    assert answer_of(text) == found


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>a\nb</think> c", "a\nb"),
        ("begun in the prompt</think> c", "begun in the prompt"),
        ("<think>cut by the lim", "cut by the lim"),
        ("<think>\n\n</think>no thinking", None),
        ("no tags", None),
    ],
)
def test_think_tags_mark_the_chain_of_thought(text, thought):
    assert thought_of(text) == thought


def test_other_think_tags_may_be_named():
    assert thought_of("[T]hm[/T] 4", ("[T]", "[/T]")) == "hm"
    assert thought_of("<think>hm</think>", ("[T]", "[/T]")) is None


@given(st.text(alphabet="Aa nswer:is\\boxed{}#<>/think\n.*(1é👍🏽", max_size=200))
def test_marks_of_any_text_lie_inside_it_and_are_not_empty(text):
    for span in (answer_span(text), think_span(text)):
        assert span is None or (0 <= span.start < span.stop <= len(text))


@pytest.mark.parametrize(
    "hostile",
    [
        *("*", "_ ", "<answer>", "answer is ", "answer   ", "####  ", "\\boxed{", "\n", "A is: "),
        *("- ", "1 ", "1 000 ", "1, ", "1 or ", "(1", "x = 1 or ", "not ", "step 1 ", "a "),
    ],
)
def test_hostile_repetition_takes_linear_time(hostile):
    text = hostile * (400_000 // len(hostile)) + " is : \\ #### </answer>"
    started = time.process_time()
    answer_span(text)
    read_number(text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "value", "percent"),
    [
        ("1,234.5", "1234.5", False),
        ("$1,234,567", "1234567", False),
        ("- $5", "-5", False),
        ("$-5.00", "-5", False),
        ("−7", "-7", False),
        ("50 %", "50", True),
        ("5 percent", "5", True),
        ("10\\%", "10", True),
        ("3/4", "0.75", False),
        ("1 1/2", "1.5", False),
        ("2½ cups", "2.5", False),
        ("\\frac{1}{2}", "0.5", False),
        ("-\\dfrac34", "-0.75", False),
        ("1e-3", "0.001", False),
        ("1.5 \\times 10^{3}", "1500", False),
        ("x = 3 + 4 = 7 apples", "7", False),
        ("1{,}234", "1234", False),
        ("18.", "18", False),
        (".5", "0.5", False),
        ("é 4", "4", False),
        ("1 000", "1000", False),
        ("1\u2009000 km", "1000", False),
        ("1\u202f234\u00a0567.5", "1234567.5", False),
        ("In 2020 100 people", "2020", False),
        ("1 and 1/2", "1.5", False),
        ("20% of 90, which is 18", "18", False),
        ("20% of the total", "20", True),
        ("12 - 4, so 8", "8", False),
        ("3 times 4 is 12", "12", False),
        ("5 more than 3", "5", False),
        ("18 eggs (see step 2).", "18", False),
        ("18 eggs, as in step 2", "18", False),
        ("Step 2: 18", "18", False),
        ("(18)", "18", False),
        ("\\(18\\)", "18", False),
        ("4, not 3", "4", False),
        ("is not 3 but 4", "4", False),
        ("1/2 or 0.5", "0.5", False),
        ("50% (or 0.5)", "50", True),
        ("18 dollars for the 9 eggs", "18", False),
        ("3 of the 5", "3", False),
    ],
)
def test_numbers_are_read_as_people_write_them(text, value, percent):
    found = read_number(text)
    assert (found.value == type(found.value)(value), found.percent) == (True, percent)


@pytest.mark.parametrize(
    "text",
    [
        *("none", "1/0", "1,2,3", "12:30", "2024-05-01", "\\frac10", ""),
        *("5 or 6", "$5 or $6", "5, or 6", "5 or maybe 6", "5 (or 6)", "5 apples or 6"),
        *("3, 4", "(3, 4)", "3; 4", "1, 2, and 3", "between 3 and 5", "3 to 5", "3–5", "3 - 5"),
        *("4 hours and 30 minutes", "20% of 90", "3 + 4", "3 x 4", "3 times 4"),
        *("not 3", "it isn't 3", "x ≠ 3", "x != 3", "cannot be 3", "more than 3", "not 3, 4"),
        *("x = 3 or x = 4", "x = 3, x=4", "0.5 or 1/0"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_what_states_no_single_number_is_none(text, last):
    assert read_number(text, last=last) is None


def test_the_last_number_that_stands_for_itself_may_be_asked_for():
    def last(text):
        return str(read_number(text, last=True).value)

    assert last("She has 18 eggs (see step 2).") == "18"
    assert last("She has 18 eggs [2]") == "18"
    assert last("3 apples and 4 pears make 7 fruits") == "7"
    assert last("She has 12 apples and eats 4, so 8 are left.") == "8"
    assert last("In 2020 100 people came") == "100"


def test_numbers_agree_within_a_millionth_and_percent_is_either_form():
    def same(one, other):
        return equal_numbers(read_number(one), read_number(other))

    assert same("0.333333333", "1/3")
    assert not same("0.3333", "1/3")
    assert same("50%", "0.5")
    assert same("50%", "50")
    assert not same("50%", "5")
    assert same("0", "0.0")
    assert same("1e300", "1e300")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("B. Paris", "B"),
        ("B) x", "B"),
        ("option B", "B"),
        ("**B**", "B"),
        ("$\\text{(C)}$", "C"),
        ("so it is C.", "C"),
        ("choice D because of it", "D"),
        ("option A or option B", None),
        ("[E]", "E"),
        ("(A) or (B)", None),
        ("A train", None),
        ("I think", None),
        ("Paris", None),
    ],
)
def test_letters_of_options_are_read(text, letter):
    assert read_letter(text) == letter


@pytest.mark.parametrize(
    ("method", "completion", "truth", "outcome"),
    [
        ("numeric", "so\nA: 18", "Janet\n#### 18", Outcome.CORRECT),
        ("numeric", "so\nA: 18 dollars", "$18.00", Outcome.CORRECT),
        ("numeric", "She has 12 apples and eats 4, so 8 are left.", "8", Outcome.CORRECT),
        ("numeric", "She has 12 apples.", "8", Outcome.WRONG),
        ("numeric", "The answer is blue.", "8", Outcome.WRONG),
        ("numeric", "I do not know.", "8", Outcome.NO_ANSWER),
        ("numeric", "The answer is 5 or 6.", "5", Outcome.WRONG),
        ("numeric", "It could be 5 or 6.", "6", Outcome.NO_ANSWER),
        ("numeric", "Answer: not 3", "3", Outcome.WRONG),
        ("numeric", "That is 20% of 90, which is 18.", "18", Outcome.CORRECT),
        ("numeric", "She has 18 eggs (see step 2).", "18", Outcome.CORRECT),
        ("numeric", "The answer is 1 000.", "1000", Outcome.CORRECT),
        ("numeric", "18", "17 or 18", Outcome.UNREADABLE_TRUTH),
        ("numeric", "7", "seven", Outcome.UNREADABLE_TRUTH),
        ("numeric", "<think>it is 8", "8", Outcome.UNFINISHED),
        ("numeric", "8", "  ", Outcome.NO_TRUTH),
        ("numeric", "8", None, Outcome.NO_TRUTH),
        ("exact", "**Paris**.", "paris", Outcome.CORRECT),
        ("exact", "Thinking.\nAnswer: the  Seine", "The Seine", Outcome.CORRECT),
        ("exact", "\\boxed{\\text{Evelyn}}", "Evelyn", Outcome.CORRECT),
        ("exact", "London", "Paris", Outcome.WRONG),
        ("exact", "It could be\nParis", "Paris", Outcome.NO_ANSWER),
        ("choice", "The correct option is (B).", "B", Outcome.CORRECT),
        ("choice", "hm\nAnswer: C", "(B) Paris", Outcome.WRONG),
        ("choice", "no idea", "B", Outcome.NO_ANSWER),
        ("choice", "B", "Paris", Outcome.UNREADABLE_TRUTH),
    ],
)
def test_an_outcome_follows_from_the_final_answer(method, completion, truth, outcome):
    with comparison(method) as compare:
        assert judge(compare, completion, truth) is outcome


def test_a_cut_completion_without_an_answer_has_no_outcome():
    with comparison("numeric") as compare:
        assert judge(compare, "Let me", "8", truncated=True) is Outcome.UNFINISHED
        assert judge(compare, "It is 9", "8", truncated=True) is Outcome.WRONG


def test_only_what_was_judged_has_a_reward():
    judged = {outcome for outcome, reward in REWARDS.items() if reward is not None}
    assert judged == {Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER}
    assert REWARDS[Outcome.CORRECT] == 1
    assert REWARDS[Outcome.NO_ANSWER] == 0


def test_an_unknown_method_names_the_known_ones():
    with (
        pytest.raises(UsageError, match="'maths'") as error,
        comparison("maths"),
    ):
        pass
    assert error.value.hint == "Choose one of exact, numeric, choice, math."


def test_math_is_judged_in_a_thread_and_a_computation_without_end_is_stopped():
    found = []

    def ask():
        with math_judge(timeout=1.5) as ask:
            found.append(ask("so \\boxed{\\frac{2}{4}}", "1/2"))
            found.append(ask("\\boxed{9^{9^{9^9}}}", "5"))
            found.append(ask("Answer: $1+x^2$", "x^2+1"))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == ["correct", "undecided", "correct"]


def test_math_outcomes():
    with comparison("math") as compare:
        assert judge(compare, "It is \\boxed{\\dfrac12}", "0.5") is Outcome.CORRECT
        assert judge(compare, "It is \\boxed{3}", "$0.5$") is Outcome.WRONG
        assert judge(compare, "no idea", "0.5") is Outcome.NO_ANSWER


def test_math_tells_an_unreadable_truth_and_its_own_limits():
    assert answer("\\boxed{3}", "$ $") == "unreadable_truth"
    assert answer("\\boxed{3}", "3") == "correct"
    assert answer("\\boxed{\\frac{1}{0}}", "\\frac{1}{0}") == "correct"
    assert answer("\\boxed{3}", "\\frac{1}{0}") == "wrong"
    assert answer("\\boxed{10^{10^{10}}}", "\\infty") == "undecided"


def test_a_math_judge_that_is_asked_nothing_starts_nothing():
    with math_judge() as ask:
        assert callable(ask)


def test_math_without_its_package_names_the_extra(tmp_path):
    code = (
        "import sys, importlib.util\n"
        "sys.meta_path.insert(0, type('No', (), {'find_spec': lambda s, n, *a: None})())\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n: None if n == 'math_verify' else find(n)\n"
        "from dca.formats.math_judge import math_judge\n"
        "from dca.domain.errors import MissingExtra\n"
        "try:\n"
        "    with math_judge(): pass\n"
        "except MissingExtra as error: print(error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "math-verify" in done.stdout
    assert "[verify]" in done.stdout
    assert issubclass(MissingExtra, UsageError)
