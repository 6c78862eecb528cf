"""A model in this process, on a thread of its own, so that the event loop goes on while it works.

Questions come in from any event loop and wait together. Whenever the model can take more, it gets
all of them at once: that is how batches form, the next one while one is at work.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Protocol
from weakref import WeakValueDictionary

from dca.domain.errors import ConfigError, DcaError, MissingExtra, ReviewerUnavailable
from reviewers.calling import Calling
from reviewers.exchange import Question, Reply

LINGER = 0.005
"""Seconds that an idle model waits after a first question for others to come along."""
LONGEST_FAULT = 500
"""Code points of a library's own words in an error."""


@dataclass(slots=True, eq=False)
class Job:
    """One question that waits for its reply."""

    question: Question
    calling: Calling
    reply: "Future[Reply]" = field(default_factory=Future[Reply])
    begun: float = 0.0
    """When the model took it, monotonic seconds: loading and waiting are before."""

    @property
    def gone(self) -> bool:
        """True when nobody waits for the reply any more."""
        return self.reply.cancelled()

    def answer(self, reply: Reply) -> None:
        """Hand the reply to whoever waits, with the seconds that it took."""
        usage = replace(reply.usage, seconds=time.monotonic() - self.begun)
        with suppress(InvalidStateError):  # It went away in the same moment.
            self.reply.set_result(replace(reply, usage=usage))

    def refuse(self, error: DcaError) -> None:
        """Tell whoever waits that there will be no reply."""
        with suppress(InvalidStateError):
            self.reply.set_exception(error)


class Engine(Protocol):
    """A loaded model; every method is called on the one thread that has loaded it."""

    @property
    def busy(self) -> bool:
        """True while any job is not done."""
        ...

    def take(self, jobs: Sequence[Job]) -> None:
        """Begin with jobs; one that cannot be asked is refused by itself."""
        ...

    def step(self) -> None:
        """Go on for a while and answer what is done; jobs that have gone are dropped."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class LocalModel:
    """One loaded model, shared by all reviewers that ask it.

    It is loaded when the first question comes and unloaded when the last user has closed it.
    """

    def __init__(self, name: str, load: Callable[[], Engine]) -> None:
        """Prepare; nothing is loaded.

        Args:
            name: For messages.
            load: Loads the model, on the model's thread.
        """
        self.down: DcaError | None = None
        """Why it answers nothing more, until all users have closed it."""
        self._name = name
        self._load = load
        self._users = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._change = threading.Condition()
        """Held while anything below is read or written; notified when a job comes or it closes."""
        self._inbox: deque[Job] = deque()
        self._open: set[Job] = set()
        """Jobs that are not done, those in the inbox included."""

    def open(self) -> None:
        """Count one user more."""
        self._users += 1

    async def close(self) -> None:
        """Count one user less; with the last one the model is unloaded."""
        self._users -= 1
        if self._users > 0:
            return
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._thread, self._closing, self.down = None, False, None

    async def ask(self, question: Question, calling: Calling) -> Reply:
        """Return the model's reply; to be cancelled at any time.

        Raises:
            ReviewerUnavailable: This question gets no reply, or, where ``down`` is set, none does.
            ConfigError: The model cannot be loaded; ``down`` is set.
            MissingExtra: Its library is not installed; ``down`` is set.
        """
        job = Job(question, calling)
        with self._change:
            if self.down is not None:
                raise self.down
            self._open.add(job)
            self._inbox.append(job)
            if self._thread is None:
                name = f"dca-model-{self._name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._change.notify()
        try:
            return await asyncio.wrap_future(job.reply)
        finally:
            self._open.discard(job)

    def _run(self) -> None:
        """Load the model and work until it is closed; the thread's whole life."""
        try:
            engine = self._loaded()
            try:
                while (jobs := self._next(engine)) is not None:
                    engine.take(jobs)
                    engine.step()
            finally:
                engine.close()
        except DcaError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - an error on a thread must reach whoever waits
            fault = ReviewerUnavailable(f"{self._name}: the model has failed: {in_short(error)}")
            fault.__cause__ = error
            self._end(fault)
        else:
            self._end(ReviewerUnavailable(f"{self._name}: the model was closed"))

    def _loaded(self) -> Engine:
        """Load the model.

        Raises:
            ConfigError: It cannot be loaded.
            MissingExtra: Its library is not installed.
        """
        try:
            return self._load()
        except DcaError:
            raise
        except Exception as error:  # libraries raise errors of all kinds for what they cannot load
            raise ConfigError(
                f"{self._name}: the model cannot be loaded: {in_short(error)}",
                hint="Check model and engine of the reviewer, and the memory that is free.",
            ) from error

    def _next(self, engine: Engine) -> list[Job] | None:
        """Return the jobs that wait, once there is anything to do; ``None``: the end."""
        with self._change:
            idle = not engine.busy
            while idle and not self._inbox and not self._closing:
                self._change.wait()
            until = time.monotonic() + LINGER
            while idle and not self._closing and (left := until - time.monotonic()) > 0:
                self._change.wait(left)
            if self._closing:
                return None
            jobs = [job for job in self._inbox if not job.gone]
            self._inbox.clear()
        for job in jobs:
            job.begun = time.monotonic()
        return jobs

    def _end(self, error: DcaError) -> None:
        """Answer nothing more; whoever waits is told why."""
        with self._change:
            self.down = error
            self._inbox.clear()
            waiting, self._open = self._open, set()
        for job in waiting:
            job.refuse(error)


def in_short(error: BaseException) -> str:
    """Return the kind and the first lines of a library's error."""
    words = " ".join(str(error).split())[:LONGEST_FAULT]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def load_library(module: str, extra: str) -> Any:  # noqa: ANN401 - a module
    """Import a module of an extra.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(
            f"{package} is not installed",
            hint=f"pip install '.[{extra}]' in the project's folder",
        ) from error


_SHARED: "WeakValueDictionary[str, LocalModel]" = WeakValueDictionary()


def shared_model(key: str, name: str, load: Callable[[], Engine]) -> LocalModel:
    """Return the one model of this process that ``key`` names; twice would not fit into memory.

    Args:
        key: Everything that two models must have in common to be one.
        name: For messages.
        load: Loads it.
    """
    model = _SHARED.get(key)
    if model is None:
        model = _SHARED[key] = LocalModel(name, load)
    return model
