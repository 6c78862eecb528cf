"""The one bridge from the synchronous layers to the reviewers, which are asynchronous."""

import asyncio
import gc
import importlib.util
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

COLLECT_AT = (50_000, 20, 20)
"""Thresholds of the cyclic garbage collector while a panel works."""
FROZEN_BY_PYTHON = 1_000
"""Python 3.12 freezes a few hundred objects when it starts; a host that freezes, many more."""


def wait_for(work: Coroutine[None, None, Result]) -> Result:
    """Run ``work`` to the end and return what it returns; raises what it raises."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
    # A notebook's loop runs in this thread; ours gets one of its own.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_run, work).result()


def _run(work: Coroutine[None, None, Result]) -> Result:
    """Run ``work`` on a new loop: uvloop's where it is installed, a third cheaper."""
    with collecting_rarely(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


@contextmanager
def collecting_rarely() -> Generator[None]:
    """Let the cyclic garbage collector run rarely, and pass over what exists already.

    A review allocates thousands of small objects, nearly all without cycles, beside some hundred
    thousand of the loaded libraries: looking through them at Python's own thresholds takes about
    a third of the CPU time of a run. A host that set higher thresholds, switched the collector
    off or froze objects of its own keeps that.
    """
    before = gc.get_threshold()
    if not 0 < before[0] < COLLECT_AT[0] or gc.get_freeze_count() > FROZEN_BY_PYTHON:
        yield
        return
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory; ``None``, the standard loop, where there is none (Windows)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - may be missing

    return uvloop.new_event_loop
