"""What stored answers have used: samples and sums, on both databases."""

import pytest

from dca.domain.review import Abstention, AbstentionKind, Review, ReviewerInfo, ReviewKey, Usage
from store.engine import transaction
from store.reviews import add_answers, add_reviewers
from store.rollouts import add_rollouts
from store.usage import AnswerUsage, UsageTotal, sample_usage, usage_totals
from tests.command_line import plain_rollouts

ONE, TWO = ReviewerInfo("one", "openai", "openai", "m"), ReviewerInfo("two", "rules", "rules", "1")
LABELS = "contribution-v1"
FULL = Usage(100, 20, 5, 40, 1.5, 10, 0.25)


def key(number: int, info: ReviewerInfo = ONE, prompt: str = "p") -> ReviewKey:
    return ReviewKey(f"{number:020d}", info.digest, prompt, LABELS)


@pytest.fixture
def filled(store_engine):
    """Five reviews of one reviewer, an abstention that a review followed, one of another."""
    failed = Abstention(key(0), AbstentionKind.INVALID, "no JSON", FULL)
    lost = Abstention(key(7), AbstentionKind.UNAVAILABLE, "reset")
    reviews = [Review(key(number), (), usage=FULL) for number in range(4)]
    with transaction(store_engine) as session:
        add_rollouts(session, plain_rollouts(8))
        add_reviewers(session, [ONE, TWO])
        add_answers(session, [failed, lost])
        add_answers(session, reviews)
        add_answers(session, [Review(key(4), (), usage=Usage(7, 3)), Review(key(1, TWO), ())])
    return store_engine


@pytest.mark.parametrize("page", [1, 2, 2_000])
def test_all_answers_of_a_reviewer_are_summed_whatever_the_page(filled, page) -> None:
    with transaction(filled) as session:
        found = usage_totals(session, page=page)

    assert found[ONE.digest] == UsageTotal(
        ONE.digest,
        reviews=5,
        abstentions=2,
        unknown=1,
        unpriced=1,
        input_tokens=507,
        output_tokens=103,
        reasoning_tokens=25,
        cached_tokens=200,
        cache_write_tokens=50,
        seconds=7.5,
        dollars=1.25,
    )
    assert found[TWO.digest] == UsageTotal(TWO.digest, reviews=1, unknown=1)


def test_a_sample_holds_the_answers_of_one_key_and_grows_with_its_limit(filled) -> None:
    with transaction(filled) as session:
        few, more, every = (
            sample_usage(session, ONE.digest, "p", LABELS, 1, limit=limit) for limit in (2, 4, 99)
        )
        other = sample_usage(session, ONE.digest, "another", LABELS, 1, limit=9)

    assert len(every) == 7
    assert few == more[:2] == every[:2]
    assert more == every[:4]
    assert AnswerUsage(f"{7:020d}", Usage(), reviewed=False) in every
    assert sum(answer.reviewed for answer in every) == 5
    assert other == []
