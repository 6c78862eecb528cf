from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.rules.novelty import Novelty, read_novelty

PROBLEM = "Tom has three boxes of 4 pens. He loses two pens on the way. How many pens are left?"


def rollout(completion, *, problem=PROBLEM):
    return Rollout("r", "g", "math", (Message("user", problem),), completion)


def marked(completion, **more):
    found = read_novelty(rollout(completion, **more))
    return [(step.span.text(completion), step.label) for step in found.steps]


def test_new_calculations_contribute_and_everything_else_does_not():
    text = (
        "Okay, let me think. Tom has 3 boxes of 4 pens, so 3 * 4 = 12.\n"
        "He loses two pens on the way, so 12 - 2 = 10.\nThe answer is 10.\nI hope this helps you!"
    )

    assert marked(text) == [
        ("Okay, let me think.", "idle"),
        ("Tom has 3 boxes of 4 pens,", "setup"),
        ("so 3 * 4 = 12.", "contributing"),
        ("He loses two pens on the way,", "setup"),
        ("so 12 - 2 = 10.", "contributing"),
        ("The answer is 10.", "idle"),
        ("I hope this helps you!", "idle"),
    ]


def test_the_whole_text_is_covered_and_nothing_is_judged():
    found = read_novelty(rollout("3 * 4 = 12"))

    assert found.covered == Span(0, 10)
    assert (found.links, found.blame, found.soundness) == ((), None, None)


def test_a_first_statement_of_the_answer_contributes():
    assert marked("A: 10") == [("A: 10", "contributing")]
    assert marked("The answer is (B).") == [("The answer is (B).", "contributing")]


def test_an_answer_with_decimals_is_recognised():
    text = "5 / 2 = 2.50\nA: 2.5"

    assert marked(text)[-1] == ("A: 2.5", "idle")


def test_an_answer_that_is_calculated_where_it_stands_contributes():
    assert marked("The answer is 12 - 2 = 10.") == [("The answer is 12 - 2 = 10.", "contributing")]


def test_a_repeated_calculation_is_idle():
    text = "3 * 4 = 12 pens in all\n3 * 4 = 12 pens in all"

    assert [label for _, label in marked(text)] == ["contributing", "idle"]


def test_repeated_words_are_idle():
    text = "Every carton weighs much.\nCrayons melt quickly.\nEvery carton weighs much."

    assert [label for _, label in marked(text)] == ["contributing", "contributing", "idle"]


def test_a_new_number_in_words_contributes():
    assert marked("That makes twelve altogether") == [
        ("That makes twelve altogether", "contributing")
    ]


def test_the_words_of_the_problem_in_another_order_are_setup():
    assert marked("pens: boxes, Tom, way") == [("pens: boxes, Tom, way", "setup")]


def test_the_words_of_problem_and_text_mixed_are_idle():
    text = "Crayons cost 99.\nTom, 99 pens, crayons boxes"

    assert marked(text)[-1] == ("Tom, 99 pens, crayons boxes", "idle")


def test_numbers_of_list_items_are_not_new():
    assert marked("7) Tom has 3 boxes of 4 pens") == [("7) Tom has 3 boxes of 4 pens", "setup")]


def test_marks_without_words_are_no_step():
    assert marked("...\n***\n\n😀") == []


def test_a_huge_answer_is_survived():
    assert marked("A: " + "9" * 39 + "^50")[-1][1] == "contributing"


def test_the_class_reads_the_same():
    item = rollout("3 * 4 = 12")

    assert Novelty().read(item) == read_novelty(item)
