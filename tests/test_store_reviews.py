from itertools import product

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from dca.domain.review import (
    AbstentionKind,
    Blame,
    Review,
    ReviewerInfo,
    Soundness,
    Step,
    Unplaced,
    Usage,
)
from dca.domain.spans import Span
from store.engine import transaction
from store.reviews import (
    AnswerCount,
    abstention_reasons,
    abstentions_of,
    add_answers,
    add_reviewers,
    answers_digest,
    count_answers,
    count_pending,
    list_reviewers,
    pending,
    reviews_of,
)
from store.rollouts import add_rollouts
from store.selection import Selection, parse_where
from tests.store_examples import (
    LABELS,
    OTHER,
    REVIEWER,
    abstention,
    full_rollout,
    key,
    review,
    rollout,
)

ITEMS = [rollout(number) for number in range(5)]
IDS = [item.id for item in ITEMS]
EVERYTHING = Selection()


@pytest.fixture
def session(store_engine):
    """A session on a store with five rollouts and two reviewers."""
    with transaction(store_engine) as opened:
        add_rollouts(opened, ITEMS)
        add_reviewers(opened, [REVIEWER, OTHER])
        yield opened


def test_reviewers_come_back_sorted_by_name_and_are_stored_once(session):
    late = ReviewerInfo("aaa", "human", "", "", {"note": "\x00\ud800"})
    add_reviewers(session, [OTHER, late])
    add_reviewers(session, [REVIEWER])
    add_reviewers(session, [])

    assert list_reviewers(session) == [late, REVIEWER, OTHER]
    assert list_reviewers(session)[0].digest == late.digest


def test_every_field_of_a_review_comes_back(session):
    bare = Review(key(ITEMS[1]), ())
    whole = review(ITEMS[0])

    assert add_answers(session, [bare, whole]) == 2

    assert reviews_of(session, IDS, label_set=LABELS) == {IDS[0]: [whole], IDS[1]: [bare]}


def test_every_verdict_comes_back(session):
    verdicts = list(product([None, Blame(None), Blame(0), Blame(1)], [None, *Soundness]))
    items = [rollout(number) for number in range(len(verdicts))]
    given = {
        item.id: [review(item, blame=blame, soundness=soundness, covered=None, usage=Usage())]
        for item, (blame, soundness) in zip(items, verdicts, strict=True)
    }

    add_rollouts(session, items)
    add_answers(session, [answer for answers in given.values() for answer in answers])

    assert reviews_of(session, list(given), label_set=LABELS) == given


ODD = 'a\x00b \ud800 \udfff "q" \\ \u2028 é 😀'


def test_whatever_a_model_writes_comes_back(session):
    given = review(
        ITEMS[0],
        steps=(Step(Span(0, 1), ODD, 0.5, ODD),),
        links=(),
        unplaced=(Unplaced(ODD, ODD),),
        raw=ODD,
    )
    failed = abstention(ITEMS[1], reason=ODD, raw=ODD)

    add_answers(session, [given, failed])

    ((found,),) = reviews_of(session, IDS, label_set=LABELS).values()
    ((unanswered,),) = abstentions_of(session, IDS, label_set=LABELS).values()
    assert found == given
    assert unanswered.raw == ODD
    # A reason is prose for the user: what no database holds is shown as an escape.
    assert unanswered.reason == 'a\\x00b \\ud800 \\udfff "q" \\ \u2028 é 😀'


def test_every_kind_of_abstention_comes_back(session):
    given = [
        abstention(item, kind=kind, usage=Usage(input_tokens=3), raw="")
        for item, kind in zip(ITEMS, AbstentionKind, strict=False)
    ]

    assert add_answers(session, given) == 0

    found = abstentions_of(session, IDS, label_set=LABELS)
    assert found == {item.key.rollout_id: [item] for item in given}


def test_a_stored_review_never_changes(session):
    first = review(ITEMS[0])
    assert add_answers(session, [first]) == 1

    assert add_answers(session, [review(ITEMS[0], raw="other"), review(ITEMS[1])]) == 1

    assert reviews_of(session, IDS[:1], label_set=LABELS) == {IDS[0]: [first]}


def test_a_review_replaces_an_abstention_and_an_abstention_never_a_review(session):
    add_answers(session, [abstention(ITEMS[0]), review(ITEMS[1])])
    add_answers(session, [review(ITEMS[0]), abstention(ITEMS[1])])
    add_answers(session, [review(ITEMS[2]), abstention(ITEMS[2])])

    assert abstentions_of(session, IDS, label_set=LABELS) == {}
    assert list(reviews_of(session, IDS, label_set=LABELS)) == IDS[:3]
    assert count_answers(session) == [AnswerCount(REVIEWER.digest, "p1", LABELS, 1, 3, 0)]


def test_the_latest_abstention_of_a_key_stands(session):
    add_answers(session, [abstention(ITEMS[0]), abstention(ITEMS[0], reason="second")])
    assert abstentions_of(session, IDS, label_set=LABELS)[IDS[0]][0].reason == "second"

    add_answers(session, [abstention(ITEMS[0], kind=AbstentionKind.REFUSED, reason="third")])
    (found,) = abstentions_of(session, IDS, label_set=LABELS)[IDS[0]]
    assert (found.kind, found.reason) == (AbstentionKind.REFUSED, "third")


def test_an_answer_of_an_unknown_reviewer_or_rollout_is_a_bug(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, ITEMS)
        add_reviewers(session, [REVIEWER])
    with pytest.raises(IntegrityError), transaction(store_engine) as session:
        add_answers(session, [review(ITEMS[0], OTHER)])
    with pytest.raises(IntegrityError), transaction(store_engine) as session:
        add_answers(session, [review(rollout(99))])


def test_answers_are_read_by_label_set_round_reviewer_and_prompt(session):
    first, second = review(ITEMS[0]), review(ITEMS[0], OTHER)
    later = review(ITEMS[0], key=key(ITEMS[0], round_=2))
    reworded = review(ITEMS[0], key=key(ITEMS[0], prompt="p2"))
    add_answers(session, [first, second, later, reworded])

    def found(**wanted):
        return reviews_of(session, IDS, **{"label_set": LABELS, **wanted}).get(IDS[0], [])

    assert found(reviewers=[REVIEWER.digest], prompts=["p1"]) == [first]
    assert found(reviewers=[REVIEWER.digest]) == [first, reworded]
    assert found(prompts=["p1"]) == sorted([first, second], key=lambda item: item.key.reviewer)
    assert found(round_=2) == [later]
    assert found(reviewers=[]) == found(label_set="other") == []
    assert [item.raw for item in found(raw=False)] == ["", "", ""]


def test_abstentions_are_read_the_same_way(session):
    first, second = abstention(ITEMS[0]), abstention(ITEMS[0], OTHER)
    add_answers(session, [first, second])

    def found(**wanted):
        return abstentions_of(session, IDS, **{"label_set": LABELS, **wanted}).get(IDS[0], [])

    assert found(reviewers=[OTHER.digest], prompts=["p1"]) == [second]
    assert found(round_=2) == found(prompts=["p2"]) == []
    assert [item.raw for item in found(raw=False)] == ["", ""]


def test_pending_are_the_rollouts_that_a_reviewer_has_not_answered(session):
    add_answers(session, [review(ITEMS[0]), abstention(ITEMS[1]), review(ITEMS[2], OTHER)])
    asked = (REVIEWER.digest, "p1", LABELS, 1)

    def left(*changed, where="", **wanted):
        selection = wanted.pop("selection", parse_where(where))
        pages = pending(session, *(changed or asked), selection, page=2, **wanted)
        count = count_pending(session, *(changed or asked), selection, **wanted)
        found = [item for page in pages for item in page]
        assert count == len(found)
        return found

    assert left() == ITEMS[2:]
    assert left(retry_failed=True) == ITEMS[1:]
    assert left(OTHER.digest, "p1", LABELS, 1) == [*ITEMS[:2], *ITEMS[3:]]
    assert left(REVIEWER.digest, "p2", LABELS, 1) == ITEMS
    assert left(REVIEWER.digest, "p1", "other", 1) == ITEMS
    assert left(REVIEWER.digest, "p1", LABELS, 2) == ITEMS
    assert left(where="id:00003 id:00000") == [ITEMS[3]]
    assert left(selection=Selection(limit=3)) == [ITEMS[2]]
    assert left(selection=Selection(ids=(IDS[4], IDS[0]))) == [ITEMS[4]]


def test_an_abstention_that_a_review_replaced_is_not_asked_again(session):
    add_answers(session, [abstention(ITEMS[0]), review(ITEMS[0])])

    pages = pending(session, REVIEWER.digest, "p1", LABELS, 1, Selection(), retry_failed=True)

    assert list(pages) == [ITEMS[1:]]


def test_pending_goes_on_while_answers_are_stored_and_brings_no_arrays(session):
    add_rollouts(session, [full_rollout()])
    seen = []

    for page in pending(session, REVIEWER.digest, "p1", LABELS, 1, Selection(), page=2):
        seen += page
        add_answers(session, [review(item, steps=(), links=()) for item in page])

    assert [item.id for item in seen] == [*IDS, full_rollout().id]
    assert seen[-1].tokens is None
    assert not list(pending(session, REVIEWER.digest, "p1", LABELS, 1, Selection()))


def test_answers_are_counted_by_reviewer_prompt_label_set_and_round(session):
    add_answers(session, [review(item) for item in ITEMS[:3]])
    add_answers(session, [abstention(ITEMS[3]), abstention(ITEMS[3], OTHER)])
    add_answers(session, [review(ITEMS[0], key=key(ITEMS[0], round_=2))])

    first = AnswerCount(REVIEWER.digest, "p1", LABELS, 1, 3, 1)
    second = AnswerCount(REVIEWER.digest, "p1", LABELS, 2, 1, 0)
    other = AnswerCount(OTHER.digest, "p1", LABELS, 1, 0, 1)
    in_order = sorted([first, second, other], key=lambda count: (count.reviewer, count.round))
    assert count_answers(session) == in_order
    assert count_answers(session, round_=2) == [second]
    assert count_answers(session, label_set="none") == []
    assert count_answers(session, label_set=LABELS) == in_order


def test_the_reasons_of_standing_abstentions_are_counted_within_the_selection(session):
    add_answers(session, [abstention(item) for item in ITEMS[:4]])
    add_answers(session, [review(ITEMS[0])])
    parts = (REVIEWER.digest, "p1", LABELS, 1)
    reason = "the endpoint answered 503"

    assert abstention_reasons(session, *parts, EVERYTHING) == {reason: 3}
    assert abstention_reasons(session, *parts, Selection(ids=(IDS[1],))) == {reason: 1}
    assert abstention_reasons(session, OTHER.digest, *parts[1:], EVERYTHING) == {}


def test_the_digest_of_answers_changes_with_what_a_consensus_would_read(session):
    def digest(selection=EVERYTHING, **wanted):
        return answers_digest(session, selection, **{"label_set": LABELS, **wanted})

    empty = digest()
    add_answers(session, [review(ITEMS[0]), abstention(ITEMS[1])])
    one = digest()
    add_answers(session, [review(ITEMS[0]), review(ITEMS[1], OTHER)])

    assert len({empty, one, digest(), digest(parse_where("id:00000"))}) == 4
    assert digest(reviewers=[REVIEWER.digest]) == one
    assert digest(round_=2) == digest(label_set="other") == empty
    assert digest(prompts=["p2"]) == empty
    assert digest() == digest(Selection(limit=99))


def test_the_number_of_statements_does_not_grow_with_the_answers(session, store_engine):
    answers = [review(item, info) for item in ITEMS for info in (REVIEWER, OTHER)]
    sent = []
    event.listen(store_engine, "before_cursor_execute", lambda *call: sent.append(call[2]))

    assert add_answers(session, answers[:1]) == 1
    for_one = len(sent)
    assert add_answers(session, answers) == 9
    assert len(sent) == 2 * for_one <= 6
    sent.clear()
    assert len(reviews_of(session, IDS, label_set=LABELS)) == 5
    assert len(sent) == 1
    assert list(pending(session, OTHER.digest, "p1", LABELS, 1, Selection())) == []
    assert len(sent) == 5  # a page of keys, their reviews and abstentions, and the empty page
