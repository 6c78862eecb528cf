from dca.domain.review import LinkKind
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.rules.novelty import Novelty, read_novelty

PROBLEM = "Tom has three boxes of 4 pens. He loses two pens on the way. How many pens are left?"


def rollout(completion, *, problem=PROBLEM, reward=None):
    return Rollout("r", "g", "math", (Message("user", problem),), completion, reward=reward)


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
        ("so 12 - 2 = 10.", "decisive"),
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


def test_an_answer_that_is_calculated_where_it_stands_is_decisive():
    assert marked("The answer is 12 - 2 = 10.") == [("The answer is 12 - 2 = 10.", "decisive")]


def test_only_the_first_clause_with_the_answer_is_decisive():
    text = "That leaves him 10 of them.\nSo 5 * 2 = 10.\nA: 10"

    assert marked(text, reward=1.0) == [
        ("That leaves him 10 of them.", "decisive"),
        ("So 5 * 2 = 10.", "contributing"),
        ("A: 10", "idle"),
    ]


def test_a_number_of_the_problem_decides_only_as_a_result():
    text = "Rows of 4 chairs collapse.\nSo 12 / 3 = 4.\nA: 4"

    assert [label for _, label in marked(text)] == ["contributing", "decisive", "idle"]


def test_in_a_failure_nothing_is_decisive():
    text = "So 12 - 2 = 10.\nA: 10"

    assert [label for _, label in marked(text, reward=0.0)] == ["contributing", "idle"]


def linked(completion):
    found = read_novelty(rollout(completion))
    return [(link.source, link.target, link.kind) for link in found.links]


def test_what_is_repeated_is_linked_to_what_repeats_it():
    assert linked("3 * 4 = 12 pens in all\n3 * 4 = 12 pens in all") == [(0, 1, LinkKind.USES)]
    assert linked("Every carton weighs much.\nSo 3 * 4 = 12.\nEvery carton weighs much.") == [
        (0, 2, LinkKind.USES)
    ]
    assert linked("Crayons!\nCrayons!") == [(0, 1, LinkKind.USES)]
    assert linked("He sees 3 * 4 = 12.\n7 + 8 = 15.\nA: 12") == [(0, 2, LinkKind.USES)]


def test_a_repetition_that_is_put_together_or_has_other_numbers_is_not_linked():
    mixed = "Every carton weighs\nmuch like lead.\nmelts red\nlead melts every carton weighs much"

    assert linked("Jim scored 3 points by noon today.\nAnn scored 4 points by noon today.") == []
    assert linked(mixed + " like lead melts red") == []


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
    assert marked("A: " + "9" * 39 + "^30/7")[-1][1] == "contributing"


def test_the_class_reads_the_same():
    item = rollout("3 * 4 = 12")

    assert Novelty().read(item) == read_novelty(item)
