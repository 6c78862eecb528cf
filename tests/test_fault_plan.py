import math
from collections import Counter
from statistics import median, stdev

import pytest

from benchmarks.fault_server.plan import (
    FINAL,
    MIXED,
    USABLE,
    Fault,
    Plan,
    Rates,
    parse_rates,
)

ITEMS = [number.to_bytes(16, "big") for number in range(20_000)]


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    first, second, other = (
        [plan.draw(item, 2) for item in ITEMS[:500]]
        for plan in (Plan(3, MIXED), Plan(3, MIXED), Plan(4, MIXED))
    )
    assert first == second != other


def test_attempts_at_one_item_are_drawn_apart():
    plan = Plan(1, Rates({Fault.RESET: 0.5}))
    both = Counter((plan.draw(item, 1).fault, plan.draw(item, 2).fault) for item in ITEMS)
    # A quarter of 20,000 each, with a standard deviation of 61.
    assert all(abs(count - 5000) < 300 for count in both.values())
    assert len(both) == 4


def test_mixed_spoils_an_eighth_of_the_attempts_in_ten_equal_parts():
    plan = Plan(1, Rates(MIXED.faults))
    faults = Counter(plan.draw(item, 1).fault for item in ITEMS)
    clean = faults.pop(None)
    # 17,500 of 20,000, standard deviation 47; each of ten kinds 250, standard deviation 16.
    assert abs(clean - 17_500) < 235
    limited = faults.pop(Fault.LIMITED) + faults.pop(Fault.LIMITED_BARE)
    assert len(faults) == 9
    assert all(abs(count - 250) < 80 for count in (*faults.values(), limited))


def test_waiting_times_are_lognormal_with_the_median_that_was_asked_for():
    plan = Plan(1, median_s=0.05, sigma=0.5)
    draws = [plan.draw(item, 1).latency_s for item in ITEMS]
    assert median(draws) == pytest.approx(0.05, rel=0.03)
    assert stdev(math.log(each) for each in draws) == pytest.approx(0.5, rel=0.03)
    assert Plan(1, median_s=0).draw(ITEMS[0], 1).latency_s == 0


def test_sizes_vary_only_with_a_tail():
    even, tailed = Plan(1), Plan(1, tail=1.5)
    assert {even.draw(item, 1).size for item in ITEMS[:100]} == {1.0}
    sizes = [tailed.draw(item, 1).size for item in ITEMS]
    assert median(sizes) == pytest.approx(1, rel=0.08)
    assert max(sizes) > 50


def test_poisoned_items_never_get_a_valid_answer_and_have_no_minimum():
    plan = Plan(1, Rates({Fault.FENCED: 0.3}, poison=0.01))
    poisoned = [item for item in ITEMS if plan.is_poisoned(item)]
    # 200 of 20,000, standard deviation 14.
    assert abs(len(poisoned) - 200) < 70
    for item in poisoned[:20]:
        assert plan.minimum_attempts(item) is None
        assert not {plan.draw(item, attempt).fault for attempt in range(1, 50)} & USABLE


def test_the_minimum_of_attempts_ends_at_the_first_answer_that_settles_the_item():
    plan = Plan(1, Rates({Fault.RESET: 0.4, Fault.REFUSAL: 0.1, Fault.BAD_SCHEMA: 0.2}))
    for item in ITEMS[:300]:
        least = plan.minimum_attempts(item)
        assert least is not None
        drawn = [plan.draw(item, attempt).fault for attempt in range(1, least + 1)]
        assert drawn[-1] in USABLE | FINAL
        assert not set(drawn[:-1]) & (USABLE | FINAL)
    assert Plan(1, Rates({Fault.RESET: 1.0})).minimum_attempts(ITEMS[0]) is None


def test_batches_fail_and_expire_at_their_rates():
    plan = Plan(1, Rates(batch_failed=0.2, batch_expired=0.3))
    faults = Counter(plan.batch_fault(number) for number in range(2000))
    # Standard deviations 18, 20 and 22.
    assert abs(faults["failed"] - 400) < 90
    assert abs(faults["expired"] - 600) < 105
    assert Plan(1).batch_fault(1) == ""
    assert Plan(1, Rates(batch_expired=1.0)).batch_fault(1) == "expired"


def test_rates_are_read_from_words():
    assert parse_rates("none") == Rates()
    assert parse_rates("mixed") == MIXED
    changed = parse_rates("mixed, poison=0, html=0.01,batch-expired=1")
    assert changed == Rates({**MIXED.faults, Fault.HTML: 0.01}, batch_expired=1.0)


@pytest.mark.parametrize("text", ["some", "reset", "reset=2", "reset=0.6,hang=0.6", "poison=x"])
def test_rates_that_make_no_sense_are_refused(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - three sources word it in three ways
        parse_rates(text)
