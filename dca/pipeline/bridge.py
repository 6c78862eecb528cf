"""The one bridge from the synchronous layers to the reviewers, which are asynchronous."""

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


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
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory; ``None``, the standard loop, where there is none (Windows)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - may be missing

    return uvloop.new_event_loop
