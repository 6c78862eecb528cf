import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.headroom import FINE, SILENT, Headroom, Reset, Room
from reviewers.limits import Limiter, Ticket


def requests(left: float, *, limit: float = 60.0, seconds: float | None = None) -> Headroom:
    """Return headers of a limit of requests in a minute that refills all the time."""
    if seconds is None:
        seconds = (limit - left) * 60 / limit
    return Headroom(requests=Room(limit, left, Reset(seconds, FINE, dated=False)))


def send(limiter: Limiter, now: float, tokens: tuple[float, float] = (0.0, 0.0)) -> Ticket:
    ticket = limiter.reserve(*tokens, now)
    limiter.start(ticket, now)
    return ticket


def answer(limiter: Limiter, ticket: Ticket, headroom: Headroom, now: float) -> None:
    limiter.settle(ticket, ticket.sizes[2], ticket.sizes[3], now)
    limiter.learn(headroom, ticket, now)


def test_without_any_limit_known_everything_may_go_at_once() -> None:
    limiter = Limiter()
    tickets = [limiter.reserve(1000, 500, 0.0) for _ in range(100)]

    assert {limiter.due(ticket, 0.0) for ticket in tickets} == {0.0}
    assert limiter.ready_at(3.0) == 3.0


def test_the_first_headers_hold_back_what_has_not_been_sent() -> None:
    limiter = Limiter()
    first = send(limiter, 0.0)
    waiting = [limiter.reserve(0, 0, 0.0) for _ in range(4)]
    answer(limiter, first, requests(3.25), 0.0)

    # 3.25 are left; a cushion of 1.25 (one, and a quarter of a second of the refill) stays. So
    # two go at once, and then one comes free each second.
    assert [limiter.due(ticket, 0.0) for ticket in waiting] == pytest.approx([0, 0, 1, 2])


def test_places_move_up_in_line_when_more_is_learned() -> None:
    limiter = Limiter()
    first, second = send(limiter, 0.0), send(limiter, 0.0)
    answer(limiter, first, requests(1.25), 0.0)
    waiting = limiter.reserve(0, 0, 0.0)
    assert limiter.due(waiting, 0.0) == pytest.approx(2.0)

    # The limit was raised; in that light 119 are left.
    answer(limiter, second, requests(119, limit=120), 0.0)
    assert limiter.due(waiting, 0.0) == 0.0


def test_a_request_that_is_never_sent_gives_its_place_to_the_next() -> None:
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(2.25), 0.0)
    kept, dropped = limiter.reserve(0, 0, 0.0), limiter.reserve(0, 0, 0.0)
    assert limiter.due(kept, 0.0) == 0.0
    assert limiter.due(dropped, 0.0) == pytest.approx(1.0)

    limiter.release(dropped, 0.0)
    assert limiter.due(kept, 0.0) == 0.0
    assert limiter.due(limiter.reserve(0, 0, 0.0), 0.0) == pytest.approx(1.0)


def test_nothing_goes_before_the_end_of_a_pause() -> None:
    limiter = Limiter()
    ticket = limiter.reserve(0, 0, 0.0)
    limiter.pause(7.0)
    limiter.pause(5.0)

    assert limiter.due(ticket, 1.0) == 7.0
    assert limiter.ready_at(1.0) == 7.0
    assert limiter.closed_until(1.0) == 7.0
    assert limiter.due(ticket, 8.0) == 8.0
    assert limiter.closed_until(8.0) == 8.0


def test_tokens_are_reserved_by_estimate_and_settled_by_use() -> None:
    def due_after(input_used: float, output_used: float) -> float:
        limiter = Limiter()
        full = Headroom(
            input_tokens=Room(6000, 6000, Reset(0, FINE, dated=False)),
            output_tokens=Room(1200, 1200, Reset(0, FINE, dated=False)),
        )
        answer(limiter, send(limiter, 0.0), full, 0.0)
        ticket = send(limiter, 0.0, (5000, 500))
        limiter.settle(ticket, input_used, output_used, 0.0)
        return limiter.due(limiter.reserve(3000, 300, 0.0), 0.0)

    # Cushions: a quarter of a second, 25 of 100 input tokens a second and 5 of 20 output tokens.
    assert due_after(5000, 500) == pytest.approx((3000 + 25 - 1000) / 100)
    assert due_after(2000, 500) == 0.0
    assert due_after(2000, 1100) == pytest.approx((300 + 5 - 100) / 20)


def test_a_number_between_what_was_and_what_is_left_is_no_news() -> None:
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(60), 0.0)
    tickets = [send(limiter, 0.0) for _ in range(10)]

    # The first of ten was counted when 59 were left, or all ten with it.
    answer(limiter, tickets[0], requests(59), 0.5)
    answer(limiter, tickets[1], requests(51), 0.5)
    waiting = [limiter.reserve(0, 0, 0.5) for _ in range(60)]

    # 50.5 are left, less the cushion of 1.25: 49 go at once.
    assert sum(limiter.due(ticket, 0.5) <= 0.5 for ticket in waiting) == 49


def test_what_others_take_is_noticed() -> None:
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(60), 0.0)
    ticket = send(limiter, 0.0)
    answer(limiter, ticket, requests(11.25), 0.0)
    waiting = [limiter.reserve(0, 0, 0.0) for _ in range(60)]

    assert sum(limiter.due(ticket, 0.0) <= 0.0 for ticket in waiting) == 10


def test_a_refusal_uses_nothing_and_explains_itself() -> None:
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(60), 0.0)
    refused = send(limiter, 0.0, (1000, 100))
    limiter.refuse(refused, requests(0), 0.0)
    one = limiter.reserve(0, 0, 0.0)

    # Nothing is left, and the cushion has grown by half: 1 + 1.875 s of refill at 1 a second.
    assert limiter.due(one, 0.0) == pytest.approx(2.875)


def test_a_cushion_grows_once_in_a_round_and_shrinks_with_time() -> None:
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(60), 0.0)
    for ticket in [send(limiter, 0.0) for _ in range(5)]:
        limiter.refuse(ticket, requests(0), 0.5)
    # Half a request may have been refilled since they were sent. What is missing is taken for
    # the work of others, so a tenth less refill is counted on.
    assert limiter.ready_at(0.5) == pytest.approx(0.5 + (2.875 - 0.5) / 0.9)

    later = send(limiter, 600.0)
    answer(limiter, later, requests(59), 600.0)
    again = [limiter.reserve(0, 0, 600.0) for _ in range(60)]
    assert sum(limiter.due(ticket, 600.0) <= 600.0 for ticket in again) == 57  # 59 less 1.25


def test_a_refusal_that_headers_contradict_makes_the_bursts_shorter() -> None:
    # The headers tell 600 a minute and 590 left, but the server lets through 10 a second.
    limiter = Limiter()
    answer(limiter, send(limiter, 0.0), requests(599, limit=600), 0.0)

    def at_once(now: float) -> int:
        waiting = [limiter.reserve(0, 0, now) for _ in range(700)]
        free = sum(limiter.due(ticket, now) <= now for ticket in waiting)
        for ticket in reversed(waiting):
            limiter.release(ticket, now)
        return free

    assert at_once(0.0) == 595  # 599 less a cushion of 3.5
    limiter.refuse(send(limiter, 0.0), requests(590, limit=600), 0.0)
    assert at_once(0.0) == 0
    assert at_once(100.0) == 146  # a quarter of 600
    for moment in (100.0, 200.0, 300.0):
        limiter.refuse(send(limiter, moment), requests(590, limit=600), moment)
    assert at_once(400.0) == 6  # one second of 10, less the cushion of a third of it


def test_headers_that_tell_too_little_are_no_limit() -> None:
    limiter = Limiter()
    for room in (Room(None, 5.0), Room(60.0, None)):
        answer(limiter, send(limiter, 0.0), Headroom(requests=room), 0.0)
    answer(limiter, send(limiter, 0.0), SILENT, 0.0)
    assert limiter.ready_at(0.0) == 0.0

    # Later ones may leave out the limit, and those without a number change nothing.
    answer(limiter, send(limiter, 0.0), requests(60), 0.0)
    answer(limiter, send(limiter, 0.0), Headroom(requests=Room(60.0, None)), 0.0)
    limiter.learn(Headroom(requests=Room(None, 1.25)), send(limiter, 0.0), 0.0)
    assert limiter.due(limiter.reserve(0, 0, 0.0), 0.0) == pytest.approx(1.0)


def test_a_fixed_window_is_used_evenly() -> None:
    limiter = Limiter()
    for second in range(6):
        ticket = send(limiter, float(second))
        headroom = requests(500 - 50 * second, limit=600, seconds=40 - second)
        answer(limiter, ticket, headroom, second + 0.5)
    waiting = [limiter.reserve(0, 0, 5.5) for _ in range(20)]
    gaps = [limiter.due(ticket, 5.5) for ticket in waiting]

    # 250 left for 35 s: behind an even use of 9.98 a second, so the first waits for it, and
    # they follow each other evenly.
    assert gaps[1] - gaps[0] == pytest.approx(60 / 599)
    assert gaps[0] > 5.5


def test_headers_older_than_a_short_fixed_window_tell_nothing_of_what_is_left() -> None:
    limiter = Limiter()
    tickets = [send(limiter, 0.0) for _ in range(3)]
    answer(limiter, tickets[0], requests(6, limit=10, seconds=0.9), 0.5)
    answer(limiter, tickets[1], requests(1, limit=10, seconds=0.3), 0.9)
    before = limiter.ready_at(3.0)
    answer(limiter, tickets[2], requests(0, limit=10, seconds=0.9), 3.0)

    assert before == 3.0
    assert limiter.ready_at(3.0) == 3.0


def test_a_cap_of_the_user_holds_whatever_the_headers_allow() -> None:
    limiter = Limiter(requests_per_minute=60, tokens_per_minute=6000)
    answer(limiter, send(limiter, 0.0, (40, 10)), requests(9999, limit=10_000), 0.0)
    fast = limiter.reserve(40, 10, 0.0)

    assert limiter.due(fast, 0.0) == pytest.approx(1.0)  # 60 a minute: one each second
    limiter.start(fast, 1.0)
    limiter.settle(fast, 400, 300, 1.0)  # 650 more tokens than thought, at 100 a second
    assert limiter.due(limiter.reserve(40, 10, 1.0), 1.0) == pytest.approx(1 + 6.5, abs=1.01)


def test_a_refused_request_counts_against_the_cap_of_the_user() -> None:
    limiter = Limiter(requests_per_minute=60)
    limiter.refuse(send(limiter, 0.0), SILENT, 0.0)

    assert limiter.due(limiter.reserve(0, 0, 0.0), 0.0) == pytest.approx(1.0)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(10, 200))
def test_due_moments_are_in_line_and_reserving_then_releasing_changes_nothing(
    seed: int, left: int, size: int
) -> None:
    rng = random.Random(seed)
    limiter = Limiter(tokens_per_minute=3000.0)
    now = 0.0
    answer(limiter, send(limiter, now), requests(left), now)
    waiting: list[Ticket] = []
    for _ in range(40):
        now += rng.uniform(0, 1.5)
        before = limiter.ready_at(now)
        extra = limiter.reserve(size, size, now)
        limiter.release(extra, now)
        assert limiter.ready_at(now) == pytest.approx(before)
        waiting.append(limiter.reserve(size, size, now))
        moments = [limiter.due(ticket, now) for ticket in waiting]
        assert moments == sorted(moments)
        assert moments[0] >= now
        if moments[0] <= now:
            ticket = waiting.pop(0)
            limiter.start(ticket, now)
            answer(limiter, ticket, SILENT, now)
