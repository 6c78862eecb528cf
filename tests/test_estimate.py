"""What a review will cost: hand-worked figures, honest intervals, real prompts."""

import random
from dataclasses import replace
from statistics import fmean

import pytest

from benchmarks.review_work import make_rollouts
from dca.domain.errors import NothingSelected
from dca.domain.review import Abstention, AbstentionKind, Review, Step, Usage
from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from dca.pipeline.estimate import (
    ENOUGH,
    NOTHING,
    Estimate,
    Measured,
    Prompted,
    Range,
    Sampled,
    guess,
    project,
)
from dca.pipeline.forecast import (
    ReviewerForecast,
    forecast,
    prompted,
    questions,
    sample_blocks,
)
from dca.pipeline.pilot import pilot_selection
from reviewers.calling import Calling
from reviewers.dialogue import Dialogue
from reviewers.endpoint import Endpoint
from reviewers.long import discuss_long
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import openai_reviewer
from reviewers.prices import FREE, Price
from reviewers.protocol import review_key
from reviewers.question import pose
from reviewers.rules import offline_panel
from store.engine import transaction
from store.reviews import add_answers, add_reviewers
from store.rollouts import add_rollouts
from store.selection import Selection

ALL = Selection()
PRICE = Price(2.0, 10.0)
HERE = Endpoint("tiny", "http://127.0.0.1:1/v1")


def model(name: str = "a", price: Price | None = PRICE, **calling) -> ModelReviewer:
    return openai_reviewer(name, HERE, price=price, calling=Calling(**calling), family="x")


def near(one: Range, *figures: float) -> bool:
    return (one.low, one.middle, one.high) == pytest.approx(figures)


def test_a_guess_states_low_middle_and_high() -> None:
    # Four of eight pending, 9,000 bytes each; a written reply of 200 + 25 x 8 = 400 tokens.
    sampled = Sampled(8, tuple(Prompted(1, (9_000,), 8) for _ in range(4)), whole=False)

    found = guess(sampled, 16_000, PRICE)

    assert found.calls == 8
    assert near(found.input_tokens, 8 * 9_000 / 4.5, 8 * 9_000 / 3.5, 8 * 9_000 / 2.5)
    assert near(found.output_tokens, 8 * 200, 8 * 800, 8 * 3_200)
    assert found.dollars is not None
    # 16,000 x 2 + 1,600 x 10 = 48,000 millionths, and so on.
    middle = 8 * (2_571 * 2 + 800 * 10) / 1e6
    assert near(found.dollars, 0.048, middle, 8 * (3_600 * 2 + 3_200 * 10) / 1e6)
    assert near(found.seconds, 8 * 3.0, 8 * 17.0, 8 * 129.0)


def test_a_guess_never_goes_beyond_the_limit_of_a_reply() -> None:
    sampled = Sampled(1, (Prompted(1, (900, 900), 16),), whole=True)

    found = guess(sampled, 500, None)

    assert found.calls == 2
    # Two windows of 200 + 25 x 8 tokens: 200, 500 at the limit, 500 at the limit.
    assert near(found.output_tokens, 400, 1_000, 1_000)
    assert found.dollars is None


def test_answers_take_the_place_of_guesses_and_bring_an_interval() -> None:
    sampled = Sampled(100, tuple(Prompted(1, (4_000,), 9) for _ in range(100)), whole=True)
    # Four bytes a token in, and 300 or 500 tokens out.
    answers = [Measured(2_000.0, 1.0, Usage(500, given, seconds=2.0)) for given in (300, 500) * 10]

    found = project(sampled, answers, PRICE)

    assert near(found.input_tokens, 100_000, 100_000, 100_000)
    assert found.output_tokens.middle == pytest.approx(40_000)
    # Variance 10,000 x 20 / 19; of the total 100^2 x that / 20 + 100 x that; t(19) = 2.093.
    spread = 10_000 * 20 / 19
    reach = 2.093 * (100**2 * spread / 20 + 100 * spread) ** 0.5
    assert found.output_tokens.low == pytest.approx(40_000 - reach, rel=1e-3)
    assert found.output_tokens.high == pytest.approx(40_000 + reach, rel=1e-3)
    assert found.dollars is not None
    assert found.dollars.middle == pytest.approx(0.2 + 0.4)
    assert found.dollars.high == pytest.approx(0.6 + reach * 10 / 1e6, rel=1e-3)
    assert near(found.seconds, 200, 200, 200)


def test_the_bounds_of_a_figure_are_never_below_nothing() -> None:
    sampled = Sampled(2, (Prompted(1, (4_000,), 9),) * 2, whole=True)
    answers = [Measured(2_000.0, 1.0, Usage(500, given)) for given in (1, 1, 1, 1, 5_000)]

    found = project(sampled, answers, None)

    assert found.output_tokens.low == 0.0
    assert found.dollars is None
    assert project(Sampled(0, (), whole=True), answers, PRICE).dollars == NOTHING


def test_a_sample_of_prompts_widens_the_interval() -> None:
    sizes = tuple(Prompted(1, (size,), 9) for size in (1_000, 3_000) * 20)
    answers = [Measured(2_000.0, 1.0, Usage(500, 100)) for _ in range(20)]

    whole = project(Sampled(40, sizes, whole=True), answers, PRICE)
    part = project(Sampled(400, sizes, whole=False), answers, PRICE)

    assert whole.input_tokens.low == whole.input_tokens.high == pytest.approx(20_000)
    assert part.input_tokens.middle == pytest.approx(200_000)
    # 400 / 4 x 2.093 x sd / sqrt(40), sd of 1,000 x sqrt(40 / 39).
    reach = 100 * 2.093 * 1_000 * (40 / 39) ** 0.5 / 40**0.5
    assert part.input_tokens.high - 200_000 == pytest.approx(reach, rel=1e-3)


def test_a_long_window_is_priced_by_each_request_and_not_by_their_sum() -> None:
    banded = Price(1.0, 5.0, long_above=1_000, long=Price(2.0, 10.0))
    answers = [Measured(8_000.0, 2.0, Usage(2_000, 200)) for _ in range(ENOUGH)]
    sampled = Sampled(1, (Prompted(1, (4_000, 4_000), 9),), whole=True)

    found = project(sampled, answers, banded)

    # Two requests of 1,000 tokens in and 100 out each: none of them is long.
    assert found.dollars is not None
    assert found.dollars.middle == pytest.approx(2 * (1_000 + 500) / 1e6)


@pytest.mark.parametrize(("spread", "least"), [(0.3, 0.9), (0.8, 0.85)])
def test_the_interval_of_a_pilot_of_20_holds_what_the_rest_then_takes(spread, least) -> None:
    source = random.Random(1)
    held = 0
    for _ in range(400):
        lengths = [source.lognormvariate(6.0, spread) for _ in range(320)]
        sizes = [source.randrange(4_000, 16_000) for _ in lengths]
        taken = [size / source.uniform(3.4, 3.8) for size in sizes]
        answers = [
            Measured(float(size), 1.0, Usage(round(into), round(out)))
            for size, into, out in zip(sizes[:20], taken[:20], lengths[:20], strict=True)
        ]
        sampled = Sampled(300, tuple(Prompted(1, (size,), 9) for size in sizes[20:]), whole=True)
        found = project(sampled, answers, PRICE).dollars
        assert found is not None
        truth = (2 * sum(taken[20:]) + 10 * sum(lengths[20:])) / 1e6
        held += found.low <= truth <= found.high

    assert held / 400 >= least


def test_blocks_are_drawn_evenly_and_always_alike() -> None:
    ids = [f"{number:02d}" for number in range(25)]

    assert sample_blocks(iter(ids), 10, 9, 0) == (25, [ids[:10], ids[10:20], ids[20:]])
    assert sample_blocks(iter(()), 3, 2, 0) == (0, [])
    drawn = [sample_blocks(iter(ids), 1, 5, seed)[1] for seed in range(2_000)]
    assert drawn[7] == sample_blocks(iter(ids), 1, 5, 7)[1]
    counts = [sum([key] in blocks for blocks in drawn) for key in ids]
    assert 340 < min(counts) <= max(counts) < 460  # 400 each, six standard deviations of 18 wide.


def fill(engine, count: int) -> list[Rollout]:
    rollouts = list(make_rollouts(count, sentences=6))
    with transaction(engine) as session:
        add_rollouts(session, rollouts)
    return rollouts


def body(reviewer: ModelReviewer, rollout: Rollout) -> int:
    question = pose(rollout, reviewer.asking)
    return len(reviewer.dialect.encode(question, reviewer.endpoint, reviewer.calling))


def test_a_forecast_is_made_of_the_real_prompts_and_writes_nothing(store_engine) -> None:
    rollouts = fill(store_engine, 12)
    panel = [*offline_panel()[:1], model(max_tokens=900), model("b", price=None)]

    found = forecast(store_engine, panel, ALL, concurrency=4)

    rules, known, unknown = found.reviewers
    assert rules == ReviewerForecast("arithmetic", "", 12)
    total = sum(body(panel[1], rollout) for rollout in rollouts)
    assert (known.pending, known.prompts, known.answers, known.calls) == (12, 12, 0, 12)
    assert near(known.input_tokens, total / 4.5, total / 3.5, total / 2.5)
    assert known.output_tokens.high == 12 * 900
    assert found.dollars == known.dollars
    assert unknown.dollars is None
    assert found.unpriced == ("b",)
    # Two models share four slots.
    assert found.minutes.middle == pytest.approx(
        sum(row.minutes.middle for row in (known, unknown))
    )
    assert forecast(store_engine, panel, ALL, concurrency=4) == found


def test_of_many_rollouts_a_seeded_sample_is_prompted(store_engine) -> None:
    rollouts = fill(store_engine, 60)
    asked = model()
    truth = sum(body(asked, rollout) for rollout in rollouts) / 3.5

    one, other = (
        forecast(store_engine, [asked], ALL, most=20, seed=seed).reviewers[0] for seed in (1, 2)
    )

    assert (one.pending, one.prompts, one.calls) == (60, 20, 60)
    assert one.input_tokens.middle == pytest.approx(truth, rel=0.05)
    assert one.input_tokens != other.input_tokens
    assert forecast(store_engine, [asked], ALL, most=20, seed=1).reviewers[0] == one


def answered(reviewer: ModelReviewer, rollout: Rollout, usage: Usage) -> Review:
    key = review_key(reviewer, rollout)
    return Review(key, (Step(Span(0, 3), "idle"),), usage=usage)


def test_stored_answers_of_the_same_reviewer_are_the_pilot(store_engine) -> None:
    rollouts = fill(store_engine, 30)
    asked, other = model(), model("b")
    usages = [Usage(body(asked, item) // 4, 250, seconds=3.0) for item in rollouts]
    reviews = [
        answered(asked, item, usage) for item, usage in zip(rollouts[:9], usages[:9], strict=True)
    ]
    failed = [
        Abstention(review_key(asked, rollouts[9]), AbstentionKind.INVALID, "no JSON", usages[9]),
        # Nobody knows what this one took.
        Abstention(review_key(asked, rollouts[10]), AbstentionKind.UNAVAILABLE, "reset"),
    ]
    with transaction(store_engine) as session:
        add_reviewers(session, [asked.info, other.info])
        add_answers(session, [*reviews, *failed])

    first, second = forecast(store_engine, [asked, other], ALL).reviewers

    assert (first.pending, first.answers) == (19, 10)
    assert first.input_tokens.middle == pytest.approx(
        sum(usage.input_tokens or 0 for usage in usages[11:]), rel=0.02
    )
    assert near(first.output_tokens, 19 * 250, 19 * 250, 19 * 250)
    assert second.answers == 0
    retried = forecast(store_engine, [asked], ALL, retry_failed=True).reviewers[0]
    assert retried.pending == 21
    with transaction(store_engine) as session:
        add_answers(session, [answered(asked, item, usages[0]) for item in rollouts[9:]])
    done = forecast(store_engine, [asked], ALL)
    assert done.reviewers[0] == ReviewerForecast("a", "tiny", 0)
    assert done.dollars == NOTHING


def test_few_answers_do_not_count_yet(store_engine) -> None:
    rollouts = fill(store_engine, 8)
    asked = model()
    with transaction(store_engine) as session:
        add_reviewers(session, [asked.info])
        add_answers(
            session, [answered(asked, item, Usage(10, 10)) for item in rollouts[: ENOUGH - 1]]
        )

    assert forecast(store_engine, [asked], ALL).reviewers[0].answers == 0


def test_a_cap_of_requests_a_minute_and_a_width_of_its_own_take_their_time(store_engine) -> None:
    fill(store_engine, 10)
    free = model(price=FREE)
    slow = model(requests_per_minute=2.0)
    narrow = model(concurrency=1)

    rows = forecast(store_engine, [free, slow, narrow], ALL, concurrency=8).reviewers

    assert rows[0].dollars == NOTHING
    assert rows[1].minutes.low == 5.0
    assert rows[2].minutes.middle == pytest.approx(8 * rows[0].minutes.middle)


def test_nothing_selected_is_no_estimate(store_engine) -> None:
    with pytest.raises(NothingSelected):
        forecast(store_engine, [model()], ALL)


def test_a_pilot_is_drawn_from_what_is_pending(store_engine) -> None:
    rollouts = fill(store_engine, 30)
    asked, other = model(), model("b")
    with transaction(store_engine) as session:
        add_reviewers(session, [asked.info])
        add_answers(session, [answered(asked, item, Usage(1, 1)) for item in rollouts[:25]])

    both = pilot_selection(store_engine, [asked, other], ALL, 4, seed=3)
    alone = pilot_selection(store_engine, [asked], ALL, 9, seed=3)

    assert both.ids is not None
    assert 4 <= len(both.ids) <= 8
    assert alone.ids == tuple(sorted(item.id for item in rollouts[25:]))


class InWindows(ModelReviewer):
    """Shows long rollouts in windows of 4,000 tokens."""

    def dialogue(self, rollouts) -> Dialogue:
        (rollout,) = rollouts
        return discuss_long(self, rollout, 4_000)


def test_every_window_of_a_long_rollout_is_a_request(store_engine) -> None:
    (rollout,) = make_rollouts(1, sentences=200)
    plain = model()
    asked = InWindows(plain.info, HERE, plain.dialect)

    shown = list(questions(asked, (rollout,)))

    assert len(shown) > 2
    assert len({item.turns for item in shown}) == len(shown)
    made = prompted(asked, (rollout,))
    assert len(made.bodies) == len(shown)
    assert fmean(made.bodies) > 4_000
    assert len(list(questions(plain, (rollout,)))) == 1
    # A rollout without text is never asked about.
    assert prompted(plain, (replace(rollout, completion=" "),)) == Prompted(1, (), 0)


class Together(ModelReviewer):
    """Asks about three rollouts in one question."""

    @property
    def bundle(self) -> int:
        return 3

    def dialogue(self, rollouts) -> Dialogue:
        form = replace(self.asking.form(self.asking.outcome(rollouts[0])), together=True)
        yield replace(pose(rollouts[0], self.asking), form=form)
        yield pose(rollouts[0], self.asking)
        return ()


def test_rollouts_of_one_group_share_a_request(store_engine) -> None:
    # Groups of eight: 3 + 3 + 2 and 3 + 1.
    fill(store_engine, 12)
    plain = model()
    asked = Together(plain.info, HERE, plain.dialect, price=PRICE)

    (row,) = forecast(store_engine, [asked], ALL).reviewers

    assert (row.pending, row.prompts, row.calls) == (12, 12, 5)


def test_an_estimate_is_plain_data() -> None:
    assert Estimate(0, NOTHING, NOTHING, None, NOTHING).dollars is None
    assert Range(1, 2, 3).times(2) == Range(2, 4, 6)
