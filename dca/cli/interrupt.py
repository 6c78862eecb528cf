"""Ctrl-C during long work: the first drains, the second aborts."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from dca.cli.run import Run

DRAINING = "finishing what is in flight; press Ctrl-C again to abort"


@contextmanager
def draining(run: Run) -> Generator[threading.Event]:
    """Give an event that the first Ctrl-C, or a termination signal, sets; the second one raises.

    The work looks at the event, finishes what is in flight and stores it.
    """
    stop = threading.Event()

    def drain(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # From a thread: the signal may have come while this one held the display's lock.
        threading.Thread(target=run.note, args=(DRAINING,), daemon=True).start()

    before = {number: signal.signal(number, drain) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
