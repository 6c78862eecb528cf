import pytest

from dca.domain.errors import ConfigError
from dca.domain.labels import Label, LabelSet
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.rules import RULES, offline_panel
from reviewers.rules.answer import find_answer
from reviewers.rules.cues import Cue, cues_in, settles
from reviewers.rules.sentences import MAX_LENGTH, clauses, sentences


def rollout(completion, *, problem="", reward=None, answer=None):
    return Rollout(
        "r",
        "g",
        "math",
        (Message("user", problem),),
        completion,
        reward=reward,
        answer=answer,
    )


def texts(text, spans):
    return [span.text(text) for span in spans]


def test_sentences_end_at_marks_and_lines_but_not_inside_numbers_or_abbreviations():
    text = 'Mr. Lee has 3.5 kg. "Is it?" Yes!\n1. First, add.  2) Then stop... 5! = 120. 好。再见'

    assert texts(text, sentences(text)) == [
        "Mr. Lee has 3.5 kg.",
        '"Is it?"',
        "Yes!",
        "1. First, add.",
        "2) Then stop...",
        "5! = 120.",
        "好。",
        "再见",
    ]


def test_a_sentence_that_ends_in_a_number_still_ends():
    text = "He has 12. She has 7."

    assert texts(text, sentences(text)) == ["He has 12.", "She has 7."]


def test_a_dash_parts_clauses_but_not_a_difference():
    text = "He has 12 pens – a lot, and 12 – 5 = 7 – or $7 – $5 – $(2 + 1) more."

    assert texts(text, clauses(text, Span(0, len(text)))) == [
        "He has 12 pens –",
        "a lot,",
        "and 12 – 5 = 7 –",
        "or $7 – $5 – $(2 + 1) more.",
    ]


def test_an_endless_line_is_cut_at_spaces_and_where_there_are_none_in_the_middle():
    spaced, solid = "ab " * 1500, "x" * 4500

    assert all(0 < len(span) <= MAX_LENGTH for span in sentences(spaced))
    assert [len(span) for span in sentences(solid)] == [2000, 2000, 500]


def test_clauses_are_cut_before_conclusions():
    text = "He has 3 left, so 3 * 4 = 12 because each costs 4; then stop, and go"

    assert texts(text, clauses(text, Span(0, len(text)))) == [
        "He has 3 left,",
        "so 3 * 4 = 12",
        "because each costs 4;",
        "then stop,",
        "and go",
    ]


def test_a_subject_is_not_cut_from_its_verb():
    text = "She then had 6*2 = 12 eggs, then 3 more. And so it ends, I think so."

    assert texts(text, [c for s in sentences(text) for c in clauses(text, s)]) == [
        "She then had 6*2 = 12 eggs,",
        "then 3 more.",
        "And so it ends, I think so.",
    ]


@pytest.mark.parametrize(
    ("text", "stated", "value"),
    [
        ("2 * 9 = 18\nA: 18", "18", 18),
        ("so \\boxed{\\frac{3}{4}}.", "\\frac{3}{4}", 0.75),
        ("x\n#### 1,250", "1,250", 1250),
        ("<answer> -5 </answer>", "-5", -5),
        ("**Final Answer:** $60", "60", 60),
        ("The answer is therefore 12 apples.", "12 apples", 12),
        ("The final answer is: 3 * 4 = 12.", "3 * 4 = 12", 12),
        ("A: 25%", "25%", 25),
        ("A: 12 and a bit", "12", 12),
        ("A: about 3 4", "3", 3),
        ("The answer to the question is \\(7\\).", "7", 7),
    ],
)
def test_the_last_stated_answer_is_found(text, stated, value):
    answer = find_answer(rollout("The answer is 1.\n" + text))

    assert answer is not None
    assert answer.span.text("The answer is 1.\n" + text) == stated
    assert answer.value == value


def test_an_answer_in_words_has_no_value():
    answer = find_answer(rollout("So the answer is (D)"))

    assert answer is not None
    assert answer.value is None


def test_no_announcement_is_no_answer():
    assert find_answer(rollout("2 + 2 makes 4, obviously.")) is None


def test_the_answer_marked_by_the_source_comes_first():
    text = "The answer is 4. Hence 5"

    assert find_answer(rollout(text, answer=Span(17, 24))).value == 5


@pytest.mark.parametrize(
    ("text", "cue", "clause"),
    [
        ("3 + 4 = 8, no, 7", Cue.RETRACT, "no,"),
        ("So 8. Wait, that's wrong.", Cue.RETRACT, "Wait, that's wrong."),
        ("Hmm, that can't be right. So 7", Cue.RETRACT, "Hmm, that can't be right."),
        ("x — scratch that, y", Cue.RETRACT, "scratch that,"),
        ("I made a mistake in line 2. So", Cue.RETRACT, "I made a mistake in line 2."),
        ("So 8. Hmm, that's way off.", Cue.RETRACT, "Hmm, that's way off."),
        ("Let me recompute this: 7", Cue.RETRACT, "Let me recompute this:"),
        ("Wait 3 + 4", Cue.DOUBT, "Wait"),
        ("This approach doesn't work.", Cue.TURN, "This approach doesn't work."),
        ("Let's try another way.", Cue.TURN, "Let's try another way."),
        (
            "Let's try another way to verify.",
            Cue.CHECK,
            "Let's try another way to verify.",
        ),
        ("Check: 3 + 4 = 7", Cue.CHECK, "Check:"),
        ("Let me double-check the sum.", Cue.CHECK, "Let me double-check the sum."),
    ],
)
def test_cues_are_found_with_their_clauses(text, cue, clause):
    found = [(kind, where.text(text)) for kind, where in cues_in(text, 0, len(text))]

    assert (cue, clause) in found


@pytest.mark.parametrize(
    "text",
    [
        "There is no water, now go",
        "He waited 3 hours",
        "Correct 5 errors",
        "notes, nothing",
        "It's off by 1.5% because 18/100 = 0.18.",
        "That is off the list.",
        "It's off.",
    ],
)
def test_ordinary_words_are_no_cue(text):
    assert list(cues_in(text, 0, len(text))) == []


def test_a_clause_can_settle_a_check():
    text = "Yes, that's correct."

    assert settles(text, Span(0, len(text)))
    assert not settles(text, Span(0, 4))


def test_the_panel_holds_every_rule_in_a_family_of_its_own():
    panel = offline_panel()

    assert [reviewer.info.name for reviewer in panel] == list(RULES)
    assert list(RULES) == ["arithmetic", "dataflow", "revision", "novelty"]
    assert [reviewer.info.family for reviewer in panel] == [f"rules-{name}" for name in RULES]
    assert len({reviewer.info.digest for reviewer in panel}) == 4
    assert {reviewer.prompt_digest for reviewer in panel} == {"rules"}
    assert {reviewer.info.kind for reviewer in panel} == {"rules"}


def test_a_label_set_without_a_needed_label_is_refused():
    two = LabelSet("two", (Label("idle", "R", 0.0, "x"), Label("harmful", "X", -1.0, "y")))

    with pytest.raises(ConfigError, match=r"'arithmetic' gives the labels decisive, contributing"):
        offline_panel(two)
