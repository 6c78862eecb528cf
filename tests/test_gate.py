"""The gate: slots shared fairly, and every wait ends when it closes."""

import asyncio

import pytest

from reviewers.gate import Closed, Gate, Lane


async def hold(gate: Gate, lane: Lane, free: asyncio.Event, *, begun: bool = False) -> None:
    async with gate.slot(lane, begun=begun):
        await free.wait()


async def settle() -> None:
    """Let everything happen that can happen without time."""
    for _ in range(8):
        await asyncio.sleep(0)


def test_free_slots_go_to_the_lane_with_the_fewest_in_flight() -> None:
    async def main() -> list[tuple[int, int]]:
        gate, free = Gate(6), asyncio.Event()
        one, other = gate.lane(), gate.lane()
        tasks = [asyncio.create_task(hold(gate, one, free)) for _ in range(9)]
        await settle()
        seen = [(one.flying, other.flying)]
        # All slots are taken by the first; the second gets the next that become free.
        tasks += [asyncio.create_task(hold(gate, other, asyncio.Event())) for _ in range(4)]
        await settle()
        seen.append((one.flying, other.flying))
        free.set()
        await settle()
        seen.append((one.flying, other.flying))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [*seen, (gate.flying, one.flying + other.flying)]

    assert asyncio.run(main()) == [(6, 0), (6, 0), (0, 4), (0, 0)]


def test_whoever_asks_in_the_same_round_has_the_same_chance() -> None:
    async def main() -> tuple[int, int]:
        gate, free = Gate(4), asyncio.Event()
        one, other = gate.lane(), gate.lane()
        tasks = [
            asyncio.create_task(hold(gate, lane, free)) for lane in (one, other) for _ in range(8)
        ]
        await settle()
        flying = one.flying, other.flying
        free.set()
        await asyncio.gather(*tasks)
        return flying

    assert asyncio.run(main()) == (2, 2)


def test_a_lane_keeps_its_width_and_may_grow() -> None:
    async def main() -> list[int]:
        gate, free, width = Gate(9), asyncio.Event(), [0]
        lane = gate.lane(lambda: width[0])
        tasks = [asyncio.create_task(hold(gate, lane, free)) for _ in range(5)]
        await settle()
        seen = [lane.flying]
        for width[0] in (2, 4):
            gate.call()
            await settle()
            seen.append(lane.flying)
        width[0] = 9
        free.set()
        gate.call_again(0.001, 3)
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(main()) == [0, 2, 4]


def test_closing_lets_everything_go_that_waits_and_nothing_that_flies() -> None:
    async def main() -> list[str]:
        gate, free = Gate(1), asyncio.Event()
        lane, narrow = gate.lane(), gate.lane(lambda: 0)
        flying = asyncio.create_task(hold(gate, lane, free))
        await settle()
        waiting = [
            asyncio.create_task(hold(gate, lane, free)),
            asyncio.create_task(hold(gate, narrow, free)),
            asyncio.create_task(gate.rest(60)),
        ]
        paid = asyncio.create_task(hold(gate, lane, free, begun=True))
        await settle()
        gate.close()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert not flying.done()
        assert not paid.done()
        free.set()
        await asyncio.gather(flying, paid, gate.rest(0.001, begun=True))
        for late in (hold(gate, lane, free), gate.rest(0)):
            with pytest.raises(Closed):
                await late
        return [type(end).__name__ for end in ends]

    assert asyncio.run(main()) == ["Closed"] * 3


def test_a_lane_that_is_over_lets_its_own_waiters_go_and_no_others() -> None:
    async def main() -> tuple[str, bool]:
        gate, free, over = Gate(1), asyncio.Event(), [False]
        mine, other = gate.lane(over=lambda: over[0]), gate.lane()
        first = asyncio.create_task(hold(gate, other, free))
        await settle()
        left = asyncio.create_task(hold(gate, mine, free))
        kept = asyncio.create_task(hold(gate, other, free))
        over[0] = True
        free.set()
        ends = await asyncio.gather(left, first, kept, return_exceptions=True)
        return type(ends[0]).__name__, ends[1] is ends[2] is None

    assert asyncio.run(main()) == ("Closed", True)


def test_a_slot_that_is_granted_to_somebody_who_leaves_is_handed_on() -> None:
    async def main() -> int:
        gate, free = Gate(1), asyncio.Event()
        lane = gate.lane()
        first = asyncio.create_task(hold(gate, lane, free))
        await settle()
        second, third = (asyncio.create_task(hold(gate, lane, asyncio.Event())) for _ in range(2))
        await settle()
        free.set()
        await first
        await asyncio.sleep(0)  # The slot is granted now, and its owner has not woken yet.
        second.cancel()
        await settle()
        flying = lane.flying
        third.cancel()
        await asyncio.gather(second, third, return_exceptions=True)
        assert gate.flying == 0
        return flying

    assert asyncio.run(main()) == 1


def test_a_rest_lasts_as_long_as_it_is_told() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await Gate(1).rest(0.05)
        return loop.time() - begun

    assert asyncio.run(main()) >= 0.049
