from dca.domain.review import Blame, Link, LinkKind
from dca.domain.rollout import Message, Rollout
from reviewers.rules.revision import Revision, read_revision


def rollout(completion, *, reward=None, problem="Tom has 3 boxes of 4 pens."):
    return Rollout("r", "g", "math", (Message("user", problem),), completion, reward=reward)


def marked(text, found):
    return [(step.span.text(text), step.label) for step in found.steps]


def test_a_retraction_in_one_sentence_is_cut_into_wrong_stretch_cue_and_repair():
    text = "That makes 3 + 4 = 8, no, 3 * 4 = 12."

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("That makes 3 + 4 = 8,", "indirect"),
        ("no,", "indirect"),
        ("3 * 4 = 12.", "contributing"),
    ]
    assert found.links == (Link(0, 2, LinkKind.REPAIRS),)
    assert found.covered is None
    assert found.soundness is None


def test_a_retraction_over_sentences_joins_its_cues():
    text = "He has 3 + 4 = 7 pens. Wait, no. That's wrong. It is 3 * 4 = 12. Good."

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("He has 3 + 4 = 7 pens.", "indirect"),
        ("Wait, no. That's wrong.", "indirect"),
        ("It is 3 * 4 = 12.", "contributing"),
    ]
    assert found.steps[0].confidence == 0.8


def test_a_wrong_equation_close_before_is_what_is_taken_back():
    text = "He has 3 * 4 = 13 pens. That is a lot of pens. I made a mistake. So 3 * 4 = 12."

    found = read_revision(rollout(text))

    assert marked(text, found)[0] == ("He has 3 * 4 = 13 pens.", "indirect")


def test_an_abandoned_stretch_is_harmful():
    text = "He has 3 + 4 = 7 pens. No, that's not right."

    found = read_revision(rollout(text, reward=0.0))

    assert marked(text, found) == [
        ("He has 3 + 4 = 7 pens.", "harmful"),
        ("No, that's not right.", "indirect"),
    ]
    assert found.blame is None


def test_a_retraction_that_arrives_at_the_same_value_changes_nothing():
    text = "He has 3 * 4 = 12. Wait, that can't be right. Well, 4 * 3 = 12."

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("Wait, that can't be right.", "idle"),
        ("Well, 4 * 3 = 12.", "idle"),
    ]


def test_a_check_inside_a_repair_keeps_the_repair():
    text = (
        "He has 3 + 4 = 7. That's wrong. Look again. Let me check: 3 * 4 = 12. Yes, that is right."
    )

    assert marked(text, read_revision(rollout(text, problem="12 pens?"))) == [
        ("He has 3 + 4 = 7.", "indirect"),
        ("That's wrong.", "indirect"),
        ("Let me check:", "idle"),
        ("3 * 4 = 12.", "contributing"),
        ("Yes, that is right.", "idle"),
    ]


def test_a_second_retraction_does_not_take_back_an_idle_repetition():
    text = "So 3 * 4 = 12. That's wrong. So 4 * 3 = 12. That's wrong. So 3 + 4 = 7."

    assert [label for _, label in marked(text, read_revision(rollout(text)))] == ["idle", "idle"]


def test_no_after_a_question_is_only_an_answer():
    text = "Is it 3 + 4? No, it is 3 * 4 = 12."

    assert read_revision(rollout(text)).steps == ()


def test_a_retraction_at_the_very_beginning_takes_nothing_back():
    assert read_revision(rollout("No, that's wrong. 3 * 4 = 12.")).steps == ()


def test_wait_alone_is_no_retraction():
    text = "He has 3 * 4 = 12 pens. Wait, he also has 2 pencils. Hmm."

    assert read_revision(rollout(text)).steps == ()


def test_wait_takes_back_what_the_next_sentence_states_otherwise():
    text = "Wait. He has 3 * 4 = 13 pens. Wait, 3 * 4 = 12 pens."

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("He has 3 * 4 = 13 pens.", "indirect"),
        ("Wait,", "indirect"),
        ("3 * 4 = 12 pens.", "contributing"),
    ]
    assert found.links == (Link(0, 2, LinkKind.REPAIRS),)


def test_wait_takes_back_the_same_quantity_with_another_value():
    one = "The number of pens sold is 3 + 4 = 7. Actually, the number of pens sold is 3 * 4 = 12."
    two = "The number of pens is 3 + 4 = 7. Actually, each bottle weighs 3 * 4 = 12."

    assert [label for _, label in marked(one, read_revision(rollout(one)))] == [
        "indirect",
        "indirect",
        "contributing",
    ]
    assert read_revision(rollout(two)).steps == ()


def test_wait_takes_back_the_same_calculation_with_another_unclear_result():
    text = "The bus takes 11 / 3 = 3 trips. Hmm, 11 / 3 = 4 trips."

    assert len(read_revision(rollout(text)).steps) == 3


def test_a_dropped_approach_suggests_the_next():
    text = "Count by 4: 4, 8. This approach doesn't work. Let's try another way: 3 * 4 = 12."

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("Count by 4: 4, 8.", "indirect"),
        ("This approach doesn't work. Let's try another way:", "indirect"),
        ("3 * 4 = 12.", "contributing"),
    ]
    assert found.links == (Link(0, 2, LinkKind.SUGGESTS),)


def test_a_dropped_approach_with_nothing_after_it_is_left_alone():
    assert read_revision(rollout("Count. This doesn't work.")).steps == ()


def test_a_check_that_confirms_is_idle():
    text = "3 * 4 = 12. Check: 12 / 4 = 3. So that is right. A: 12"

    found = read_revision(rollout(text))

    assert marked(text, found) == [
        ("Check:", "idle"),
        ("12 / 4 = 3.", "idle"),
        ("So that is right.", "idle"),
    ]


def test_a_check_of_known_values_is_idle_without_being_called_right():
    text = "3 * 4 = 12. To verify, 12 / 4 = 3. The answer is 12"

    assert [label for _, label in marked(text, read_revision(rollout(text)))] == ["idle", "idle"]


def test_a_check_that_says_so_at_once_is_idle():
    text = "3 * 4 = 12. Let me check that this is correct. A: 12"

    assert [label for _, label in marked(text, read_revision(rollout(text)))] == ["idle"]


def test_a_check_that_finds_a_fault_is_left_to_the_retraction():
    text = "3 + 4 = 7. Check: 7 / 4 = 1.75. That's wrong. 3 * 4 = 12."

    found = read_revision(rollout(text))

    assert ("Check:", "idle") not in marked(text, found)
    assert marked(text, found)[-1] == ("3 * 4 = 12.", "contributing")


def test_a_check_that_calculates_wrongly_or_something_new_confirms_nothing():
    wrong, new = "3 * 4 = 12. Check: 12 / 4 = 4.", "3 * 4 = 12. Check: 12 + 8 = 20. End. On. Off."

    assert read_revision(rollout(wrong)).steps == ()
    assert read_revision(rollout(new)).steps == ()


def test_a_contradiction_is_harmful_and_blamed_in_a_failure():
    text = "So 3 * 4 = 12. Then 12 - 2 = 10. As 3 * 4 = 13, he has 13."

    found = read_revision(rollout(text, reward=0.0))

    assert marked(text, found) == [("As 3 * 4 = 13, he has 13.", "harmful")]
    assert found.steps[0].reason == "elsewhere the text says 12"
    assert found.blame == Blame(0)
    assert read_revision(rollout(text, reward=1.0)).blame is None


def test_the_class_reads_the_same():
    item = rollout("3 + 4 = 8, no, 7")

    assert Revision().read(item) == read_revision(item)
