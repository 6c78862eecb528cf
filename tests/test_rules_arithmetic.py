import asyncio

from dca.domain.review import Blame, Link, LinkKind, Soundness
from dca.domain.rollout import Message, Rollout
from reviewers.protocol import review_key
from reviewers.rules.arithmetic import Arithmetic, read_arithmetic


def rollout(completion, *, reward=None, problem=""):
    return Rollout("r", "g", "math", (Message("user", problem),), completion, reward=reward)


def marked(text, found):
    return [(step.span.text(text), step.label) for step in found.steps]


DUCKS = "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\nA: 18"


def test_right_equations_contribute_and_the_one_that_gives_the_answer_decides():
    found = read_arithmetic(rollout(DUCKS, reward=1.0))

    assert marked(DUCKS, found) == [
        ("16 - 3 - 4 = <<16-3-4=9>>9", "contributing"),
        ("9 * 2 = $<<9*2=18>>18", "decisive"),
    ]
    assert found.links == (Link(0, 1, LinkKind.USES),)
    assert found.covered is None
    assert found.blame is None
    assert found.soundness is Soundness.SOUND


def test_in_a_failure_no_equation_is_decisive_and_soundness_is_not_judged():
    found = read_arithmetic(rollout(DUCKS, reward=0.0))

    assert [step.label for step in found.steps] == ["contributing", "contributing"]
    assert found.soundness is None


def test_the_equation_that_decides_stands_before_the_answer():
    text = "16 - 7 = 9.\nThe answer is 9.\nCheck: 3 * 3 = 9."

    assert [step.label for step in read_arithmetic(rollout(text)).steps] == [
        "decisive",
        "contributing",
    ]


def test_a_wrong_equation_that_gives_the_answer_is_not_decisive():
    text = "3 * 4 = 11.\nA: 11"

    assert marked(text, read_arithmetic(rollout(text, reward=1.0))) == [("3 * 4 = 11", "harmful")]


def test_algebra_that_cannot_be_read_leaves_the_soundness_unsure():
    text = "We know that x+17 = 2x.\nx = 17/2 = 8.5\nA: 8.5"

    assert read_arithmetic(rollout(text, reward=1.0)).soundness is Soundness.UNSURE


def test_algebra_after_the_answer_changes_nothing():
    text = "17/2 = 8.5\nA: 8.5\nNote: 2x = 17"

    assert read_arithmetic(rollout(text, reward=1.0)).soundness is Soundness.SOUND


def test_a_wrong_equation_is_harmful_and_blamed():
    text = "3 * 4 = 11, then 11 + 5 = 16.\nThe answer is 16."

    found = read_arithmetic(rollout(text, reward=0.0))

    assert marked(text, found) == [("3 * 4 = 11", "harmful"), ("11 + 5 = 16", "contributing")]
    assert found.steps[0].reason == "the calculation comes to 12"
    assert found.blame == Blame(0)


def test_a_success_that_rests_on_a_wrong_equation_is_unsound_and_nobody_is_blamed():
    text = "3 * 4 = 11. 11 + 5 = 16. A slip. The answer is 16"

    found = read_arithmetic(rollout(text, reward=1.0))

    assert found.blame is None
    assert found.soundness is Soundness.UNSOUND


def test_a_wrong_equation_beside_the_way_to_the_answer_leaves_it_sound():
    text = "2 * 2 = 5 is what he said? no matter: 7 * 7 = 48.\n3 * 4 = 12.\nA: 12"

    found = read_arithmetic(rollout(text, reward=1.0))

    assert ("7 * 7 = 48", "harmful") in marked(text, found)
    assert found.soundness is Soundness.SOUND


def test_a_repaired_equation_is_indirect_and_linked_to_its_repair():
    text = "7 * 8 = 54. Wait, that's wrong: 7 * 8 = 56. So 56 + 1 = 57.\nA: 57"

    found = read_arithmetic(rollout(text, reward=0.0))

    assert marked(text, found) == [
        ("7 * 8 = 54", "indirect"),
        ("7 * 8 = 56", "contributing"),
        ("56 + 1 = 57", "contributing"),
    ]
    assert found.links == (Link(1, 2, LinkKind.USES), Link(0, 1, LinkKind.REPAIRS))
    assert found.blame is None
    assert read_arithmetic(rollout(text, reward=1.0)).soundness is Soundness.SOUND


def test_a_retraction_that_recomputes_otherwise_repairs_too():
    text = "12 - 5 = 8. Hmm, 12 minus 5, so 12 - 5 - 0 = 7.\nA: 7"

    found = read_arithmetic(rollout(text))

    assert marked(text, found)[0] == ("12 - 5 = 8", "indirect")


def test_a_retraction_without_repair_takes_the_blame_away_but_not_the_label():
    text = "12 - 5 = 8. No, that's wrong. I give up."

    found = read_arithmetic(rollout(text, reward=0.0))

    assert marked(text, found) == [("12 - 5 = 8", "harmful")]
    assert found.blame is None


def test_doubt_alone_does_not_excuse_a_wrong_equation():
    text = "12 - 5 = 8. Hmm, fine.\nA: 8"

    found = read_arithmetic(rollout(text, reward=0.0))

    assert found.blame == Blame(0)


def test_a_check_after_a_wrong_equation_is_no_retraction():
    text = "12 - 5 = 8. Check: it is fine. A: 8"

    assert read_arithmetic(rollout(text, reward=0.0)).blame == Blame(0)


def test_confidence_falls_with_the_room_for_another_reading():
    text = "3 + 4 = 8. 3 pears + 4 pears = 8. 4 + 3 = <<22+5=27>>27. 1 + 1 = 2."

    assert [step.confidence for step in read_arithmetic(rollout(text)).steps] == [
        0.95,
        0.85,
        0.6,
        0.6,
    ]


def test_what_cannot_be_judged_is_no_vote_and_leaves_the_soundness_unsure():
    text = "11 / 3 = 3 people. 3 * 2 = 6.\nA: 6"

    found = read_arithmetic(rollout(text, reward=1.0))

    assert marked(text, found) == [("3 * 2 = 6", "decisive")]
    assert found.links == ()
    assert found.soundness is Soundness.UNSURE


def test_an_answer_that_no_equation_gives_leaves_the_soundness_unsure():
    assert read_arithmetic(rollout("3 * 2 = 6.\nA: 7")).soundness is Soundness.UNSURE
    assert read_arithmetic(rollout("3 * 2 = 6. Fine")).soundness is Soundness.UNSURE


def test_a_slip_around_a_right_calculator_mark_leaves_the_soundness_unsure():
    text = "She carries 4 + 3 = <<22+5=27>>27 bags.\nA: 27"

    assert read_arithmetic(rollout(text, reward=1.0)).soundness is Soundness.UNSURE


def test_the_nearest_earlier_result_is_the_one_that_is_used():
    text = "2 + 3 = 5. 1 + 4 = 5. 5 * 2 = 10."

    assert read_arithmetic(rollout(text)).links == (Link(1, 2, LinkKind.USES),)


def test_the_reviewer_wraps_the_reading_in_a_review():
    reviewer, item = Arithmetic(), rollout(DUCKS, reward=1.0)

    review = asyncio.run(reviewer.review(item))

    assert review.key == review_key(reviewer, item)
    assert review.steps == reviewer.read(item).steps
    assert review.soundness is Soundness.SOUND
    assert review.raw == ""
