from dca.domain.review import Blame, Link, LinkKind, Soundness
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.rules.dataflow import Dataflow, read_dataflow

DUCKS = (
    "Ducks lay 16 eggs a day. She eats three and bakes with four. She sells the rest for $2 each."
)


def rollout(completion, *, reward=None, problem=DUCKS):
    return Rollout("r", "g", "math", (Message("user", problem),), completion, reward=reward)


def marked(text, found):
    return [(step.span.text(text), step.label) for step in found.steps]


def test_the_way_back_from_the_answer_is_marked():
    text = (
        "Her ducks lay 16 eggs.\nShe uses 3 + 4 = 7 eggs.\nThey walk 5 * 5 = 25 steps.\n"
        "She sells 16 - 7 = 9.\nShe makes 9 * 2 = $18.\nA: 18"
    )

    found = read_dataflow(rollout(text, reward=1.0))

    assert marked(text, found) == [
        ("Her ducks lay 16 eggs.", "setup"),
        ("She uses 3 + 4 = 7 eggs.", "contributing"),
        ("They walk 5 * 5 = 25 steps.", "idle"),
        ("She sells 16 - 7 = 9.", "contributing"),
        ("She makes 9 * 2 = $18.", "decisive"),
        ("A: 18", "idle"),
    ]
    assert found.links == (Link(1, 3, LinkKind.USES), Link(3, 4, LinkKind.USES))
    assert found.covered == Span(0, len(text))
    assert found.blame is None
    assert found.soundness is Soundness.SOUND


def test_in_a_failure_nothing_is_decisive_and_a_way_without_fault_blames_nobody():
    text = "She uses 3 + 4 = 7 eggs.\nShe makes 7 * 2 = 14.\nA: 14"

    found = read_dataflow(rollout(text, reward=0.0))

    assert [label for _, label in marked(text, found)] == ["contributing", "contributing", "idle"]
    assert found.blame == Blame(None)


def test_a_number_from_nowhere_on_the_way_is_harmful_in_a_failure():
    text = "She sells 16 - 7.5 = 8.5 eggs.\nShe makes 8.5 * 2 = 17.\nA: 17"

    found = read_dataflow(rollout(text, reward=0.0))

    assert marked(text, found)[0] == ("She sells 16 - 7.5 = 8.5 eggs.", "harmful")
    assert found.steps[0].reason == "the answer rests on it, but 7.5 comes from nowhere"
    assert found.blame == Blame(0)
    assert found.soundness is None


def test_a_number_from_nowhere_in_a_success_is_only_less_certain():
    text = "She sells 16 - 7.5 = 8.5 eggs.\nShe makes 8.5 * 2 = 17.\nA: 17"

    found = read_dataflow(rollout(text, reward=1.0))

    assert [step.label for step in found.steps] == ["contributing", "decisive", "idle"]
    assert found.steps[0].confidence == 0.55
    assert found.soundness is Soundness.UNSURE


def test_a_reader_who_finds_nothing_but_strange_numbers_has_lost_the_thread():
    text = "16 - 7.5 = 8.5.\n8.5 + 11.5 = 20.\n20 + 13.5 = 33.5.\n33.5 * 2 = 67.\nA: 67"

    found = read_dataflow(rollout(text, reward=0.0))

    assert "harmful" not in [step.label for step in found.steps]
    assert found.blame is None


def test_a_wrong_equation_on_the_way_is_harmful():
    text = "She uses 3 + 4 = 8 eggs.\nShe sells 16 - 8 = 8.\nA: 8"

    found = read_dataflow(rollout(text, reward=0.0))

    assert marked(text, found)[0] == ("She uses 3 + 4 = 8 eggs.", "harmful")
    assert found.blame == Blame(0)
    assert read_dataflow(rollout(text, reward=1.0)).soundness is Soundness.UNSOUND


def test_an_answer_that_no_step_leads_to_is_harmful_in_a_failure():
    text = "She uses 3 + 4 = 7 eggs.\nA: 40"

    found = read_dataflow(rollout(text, reward=0.0))

    assert marked(text, found) == [("A: 40", "harmful")]
    assert found.covered is None
    assert found.blame == Blame(0)


def test_an_answer_that_no_step_leads_to_is_unsound_in_a_success_but_not_harmful():
    text = "She uses 3 + 4 = 7 eggs.\nA: 40"

    found = read_dataflow(rollout(text, reward=1.0))

    assert marked(text, found) == []
    assert found.soundness is Soundness.UNSOUND


def test_an_answer_rounded_to_whole_people_is_not_from_nowhere():
    text = "The ducks need 16 / 3 = 5.33 boxes.\nA: 6"

    found = read_dataflow(rollout(text, reward=1.0))

    assert found.soundness is Soundness.UNSURE


def test_a_bare_answer_is_derived_from_nothing():
    assert read_dataflow(rollout("A: 18", reward=1.0)).soundness is Soundness.UNSOUND


def test_values_in_words_flow_too():
    text = "She keeps 7 of the 16 eggs.\nThat leaves 9.\nAt $2 each that is 9 * 2 = 18.\nA: 18"

    found = read_dataflow(rollout(text, reward=1.0, problem=DUCKS + " She keeps 7."))

    assert marked(text, found) == [
        ("She keeps 7 of the 16 eggs.", "setup"),
        ("That leaves 9.", "contributing"),
        ("At $2 each that is 9 * 2 = 18.", "decisive"),
        ("A: 18", "idle"),
    ]
    assert found.steps[1].confidence == 0.55


def test_names_carry_values():
    text = "Let x = 16 - 7.\nThen y = 2x.\nSo y = 18.\nThe answer is 18."

    found = read_dataflow(rollout(text, reward=1.0))

    assert Link(0, 1, LinkKind.USES) in found.links
    assert Link(1, 2, LinkKind.USES) in found.links


def test_a_text_without_a_numeric_answer_cannot_be_followed():
    text = "The convertible is newer than the truck. So the answer is (D)"

    found = read_dataflow(rollout(text, reward=0.0, problem="Five cars."))

    assert found.steps == ()
    assert found.covered is None
    assert found.blame is None
    assert read_dataflow(rollout(text, problem="Five cars.")).soundness is Soundness.UNSURE


FISH = "He had 7 fish and bought 17 more, twice as many as before. How many has he?"


def test_algebra_that_cannot_be_read_does_not_count_as_checked():
    text = (
        "he had x+17 fish.\nWe know that x+17 = 2x.\n"
        "Subtracting x from both sides, we get 2x = 17.\nx = 17/2 = 8.5\nA: 8.5"
    )

    assert read_dataflow(rollout(text, reward=0.0, problem=FISH)).blame is None
    assert read_dataflow(rollout(text, reward=0.0, problem=FISH)).soundness is None
    assert read_dataflow(rollout(text, reward=1.0, problem=FISH)).soundness is Soundness.UNSURE


def test_a_wrong_equation_is_blamed_beside_algebra_too():
    text = "We know that x+17 = 2x.\nx = 17/2 = 9\nSo 9 + 17 = 25.\nA: 25"

    assert read_dataflow(rollout(text, reward=0.0, problem=FISH)).blame == Blame(2)


def test_numbers_may_come_from_algebra_that_cannot_be_read():
    text = "We know that x+17 = 2x.\nHe adds 19.5 + 7 = 26.5.\nA: 26.5"
    nowhere = "We know that x+17 = 2x.\nHe adds 7 + 17 = 24.\nA: 260"

    found = read_dataflow(rollout(text, reward=0.0, problem=FISH))

    assert [step.label for step in found.steps][1] == "contributing"
    assert found.blame is None
    assert read_dataflow(rollout(nowhere, reward=0.0, problem=FISH)).blame is None
    assert read_dataflow(rollout(nowhere, problem=FISH)).soundness is Soundness.UNSURE


def test_nobody_is_cleared_when_the_text_holds_a_wrong_equation_anywhere():
    beside = "She uses 3 + 4 = 7 eggs.\nThey walk 5 * 5 = 24 steps.\n16 - 7 = 9.\nA: 9"
    slip = "She uses 3 + 5 = <<3+4=7>>7 eggs.\n16 - 7 = 9.\nA: 9"

    assert read_dataflow(rollout(beside, reward=0.0)).blame is None
    assert read_dataflow(rollout(slip, reward=0.0)).blame is None


def test_restated_results_are_idle():
    text = "She uses 3 + 4 = 7 eggs.\nSo 7 it is.\nShe sells 16 - 7 = 9.\nA: 9"

    found = read_dataflow(rollout(text, reward=1.0))

    assert marked(text, found)[1] == ("So 7 it is.", "idle")


def test_numbers_of_lists_steps_and_clocks_are_no_values():
    text = "1. Step 99 at 10:45.\n2. She uses 3 + 4 = 7.\nA: 7"

    found = read_dataflow(rollout(text, reward=0.0))

    assert marked(text, found) == [("2. She uses 3 + 4 = 7.", "contributing"), ("A: 7", "idle")]
    assert found.blame == Blame(None)


def test_numbers_with_spaces_for_thousands_are_given():
    text = "The fee is <<400000*3/100=12000>>12000.\nA: 12000"

    found = read_dataflow(rollout(text, reward=0.0, problem="Sold for $400 000 at 3%."))

    assert found.blame == Blame(None)


def test_the_answer_may_be_calculated_where_it_is_stated():
    text = "She uses 3 + 4 = 7.\nThe answer is 16 - 7 = 9."

    found = read_dataflow(rollout(text, reward=1.0))

    assert marked(text, found)[-1] == ("The answer is 16 - 7 = 9.", "decisive")


def test_a_clause_that_restates_the_problem_is_parted_from_the_calculation_after_it():
    text = (
        "She eats three and bakes with four, so she uses 3 + 4 = 7 eggs.\n"
        "There are 16 eggs and she uses 7, so she sells 16 - 7 = 9.\nA: 9"
    )

    found = read_dataflow(rollout(text, reward=1.0))

    assert marked(text, found) == [
        ("She eats three and bakes with four,", "setup"),
        ("so she uses 3 + 4 = 7 eggs.", "contributing"),
        ("There are 16 eggs and she uses 7,", "setup"),
        ("so she sells 16 - 7 = 9.", "decisive"),
        ("A: 9", "idle"),
    ]
    assert found.links == (Link(1, 3, LinkKind.USES),)


def test_what_everybody_knows_needs_no_source():
    known = "There are 7 days in a week, so she sells 9 * 7 = 63.\nA: 63"
    guess = "Maybe there are 17 ducks, so she sells 9 * 17 = 153.\nA: 153"
    problem = "She sells 9 eggs a day."

    assert read_dataflow(rollout(known, problem=problem)).soundness is Soundness.SOUND
    assert read_dataflow(rollout(guess, problem=problem)).soundness is Soundness.UNSURE


def test_the_class_reads_the_same():
    item = rollout("3 + 4 = 7.\nA: 7")

    assert Dataflow().read(item) == read_dataflow(item)
