"""The bridge into asynchronous code: results, errors, and the garbage collector meanwhile."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from dca.pipeline.bridge import COLLECT_AT, FROZEN_BY_PYTHON, wait_for


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Put the collector back as it was, whatever a test does to it."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def state() -> tuple[tuple[int, int, int], bool]:
    return gc.get_threshold(), gc.get_freeze_count() > FROZEN_BY_PYTHON


async def fail() -> None:
    raise RuntimeError("on purpose")


def test_work_runs_with_rare_collections_which_end_with_it() -> None:
    gc.set_threshold(700, 10, 10)

    assert wait_for(state()) == (COLLECT_AT, True)

    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() <= FROZEN_BY_PYTHON


def test_an_error_passes_and_puts_the_collector_back() -> None:
    gc.set_threshold(700, 10, 10)

    with pytest.raises(RuntimeError, match="on purpose"):
        wait_for(fail())

    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() <= FROZEN_BY_PYTHON


@pytest.mark.parametrize("first", [0, 90_000])
def test_a_collector_that_the_host_set_up_is_left_alone(first: int) -> None:
    gc.set_threshold(first, 10, 10)

    assert wait_for(state()) == ((first, 10, 10), False)
    assert gc.get_threshold() == (first, 10, 10)


def test_what_the_host_froze_stays_frozen() -> None:
    gc.set_threshold(700, 10, 10)
    gc.freeze()

    assert wait_for(state()) == ((700, 10, 10), True)
    assert gc.get_freeze_count() > FROZEN_BY_PYTHON


def test_a_running_loop_is_no_obstacle() -> None:
    async def notebook() -> int:
        return wait_for(asyncio.sleep(0, 7))

    assert asyncio.run(notebook()) == 7
