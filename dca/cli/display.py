"""Progress on standard error: a live panel, plain lines, one JSON object per line, or nothing."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from dca.cli.amounts import duration
from dca.cli.flags import Display, Flags
from dca.cli.review_panel import Frame, reviewer_line
from dca.cli.terminal import is_dumb, one_line
from dca.pipeline.progress import Agreement, Progress, ReviewerFigures, Silent

PLAIN_SECONDS = 30.0
"""Seconds between two plain lines of one stage."""
JSON_SECONDS = 1.0
"""Seconds between two JSON events of one stage."""
FRAMES_PER_SECOND = 4
"""How often a terminal is drawn anew."""
RATE_AFTER = 20
"""Units done before a rate and an end are foretold."""


@dataclass(slots=True)
class Stage:
    """Where one stage stands."""

    name: str
    total: int | None
    """Units to do; ``None`` when not known."""
    began: float
    """Seconds of the clock at its beginning."""
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    reviewers: Sequence[ReviewerFigures] = ()
    """The reviewers at work; empty in other stages."""
    agreement: Agreement | None = None

    def rate(self, now: float) -> float | None:
        """Return units per second, ``None`` while too few are done."""
        seconds = now - self.began
        return self.done / seconds if self.done >= RATE_AFTER and seconds > 0 else None

    def remaining(self, now: float) -> float | None:
        """Return the seconds left at this rate, ``None`` when not known."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate and self.total is not None else None


Write = Callable[[str, Stage, float, str], str]
"""(event, stage, now, note) to text without a newline at its end."""


class Lines:
    """Progress as lines: on every change of state, and while a stage lasts every few seconds."""

    def __init__(
        self,
        write: Write,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write a line every ``seconds`` of a stage, as ``write`` words it."""
        self._write = write
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._ended = threading.Event()

    def start(self, total: int | None, name: str) -> None:
        """Begin a stage, and a thread that speaks even when the stage is stuck."""
        self.finish()
        with self._lock:
            self._stage = Stage(name, total, self._clock())
            self._ended = threading.Event()
            self._say("start")
        threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()

    def advance(self, n: int = 1, **counts: int) -> None:
        """Count units."""
        with self._lock:
            if self._stage is not None:
                self._stage.done += n
                self._stage.counts.update(counts)

    def show(
        self, reviewers: Sequence[ReviewerFigures], agreement: Agreement | None = None
    ) -> None:
        """Keep the latest figures for the next line."""
        with self._lock:
            if self._stage is not None:
                self._stage.reviewers, self._stage.agreement = tuple(reviewers), agreement

    def note(self, text: str) -> None:
        """Say a sentence at once."""
        with self._lock:
            self._say("note", text)

    def finish(self) -> None:
        """End the stage, if there is one."""
        with self._lock:
            self._ended.set()
            if self._stage is not None:
                self._say("finish")
            self._stage = None

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._seconds):
            with self._lock:
                if not ended.is_set():
                    self._say("progress")

    def _say(self, event: str, note: str = "") -> None:
        stage = self._stage or Stage("", None, self._clock())
        sys.stderr.write(self._write(event, stage, self._clock(), note) + "\n")
        sys.stderr.flush()


def plain_line(event: str, stage: Stage, now: float, note: str) -> str:
    """Word one event for people."""
    if event == "note":
        return one_line(note)
    if event == "start":
        return f"{stage.name}: {'started' if stage.total is None else f'0/{stage.total:,}'}"
    done = f"{stage.done:,}" if stage.total is None else f"{stage.done:,}/{stage.total:,}"
    parts = [f"{stage.name}: {done}", *(f"{name} {n:,}" for name, n in stage.counts.items())]
    rate, left = stage.rate(now), stage.remaining(now)
    if rate is not None:
        parts.append(f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s")
    if event == "progress" and left is not None:
        parts.append(f"about {duration(left)} left")
    if event == "finish":
        parts.append(f"{duration(now - stage.began)}")
    if stage.agreement is not None:
        parts.append(f"alpha {stage.agreement.alpha:.2f} on {stage.agreement.rollouts:,}")
    lines = [" · ".join(parts)]
    if event == "progress":
        lines += (f"  {reviewer_line(row)}" for row in stage.reviewers)
    return "\n".join(lines)


def json_line(event: str, stage: Stage, now: float, note: str) -> str:
    """Word one event for programs; unknown numbers are ``null``."""
    if event == "note":
        return json.dumps({"event": "note", "stage": stage.name or None, "text": note})
    fields: dict[str, object] = {
        "event": event,
        "stage": stage.name,
        "done": stage.done,
        "total": stage.total,
        "counts": dict(stage.counts),
        "seconds": round(now - stage.began, 3),
        "per_second": stage.rate(now),
        "seconds_left": stage.remaining(now),
    }
    if stage.reviewers:
        fields["reviewers"] = [
            {**row.as_json(), "projected_dollars": row.projected_dollars}
            for row in stage.reviewers
        ]
        agreed = stage.agreement
        fields["agreement"] = None if agreed is None else asdict(agreed)
    return json.dumps(fields)


class _Bars(Bars):
    """A bar, or in its place the reviewers at work."""

    frame: Frame | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn."""
        return [self.make_tasks_table(self.tasks) if self.frame is None else self.frame]


class Live:
    """Progress that redraws itself, for terminals: a line, or a row for each reviewer."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Draw on ``console``."""
        self._console = console
        self._clock = clock
        self._bars: _Bars | None = None
        self._task = TaskID(0)
        self._began = 0.0
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def start(self, total: int | None, name: str) -> None:
        """Begin a stage on a line of its own."""
        self.finish()
        self._counts = Counter()
        self._began = self._clock()
        self._bars = _Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
        )
        self._task = self._bars.add_task(one_line(name), total=total, counts="")
        self._bars.start()

    def advance(self, n: int = 1, **counts: int) -> None:
        """Count units."""
        with self._lock:
            self._counts.update(counts)
            shown = " · ".join(f"{name} {count:,}" for name, count in self._counts.items())
        if self._bars is not None:
            self._bars.update(self._task, advance=n, counts=shown)

    def show(
        self, reviewers: Sequence[ReviewerFigures], agreement: Agreement | None = None
    ) -> None:
        """Take the latest figures; they are drawn with the next frame."""
        if self._bars is not None:
            seconds = self._clock() - self._began
            self._bars.frame = Frame(tuple(reviewers), agreement, seconds)

    def note(self, text: str) -> None:
        """Say a sentence above what is drawn."""
        self._console.print(Text(one_line(text)))

    def finish(self) -> None:
        """End the stage, if there is one; its last frame stays."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def choose_display(flags: Flags, *, is_terminal: bool, environment: Mapping[str, str]) -> Display:
    """Return how to show progress: as asked, else live on a terminal that can, else plain."""
    if flags.quiet:
        return Display.NONE
    if flags.display is not None:
        return flags.display
    return Display.RICH if is_terminal and not is_dumb(environment) else Display.PLAIN


def make_progress(display: Display) -> Progress:
    """Return the listener for ``display``; it writes to ``sys.stderr``."""
    if display is Display.RICH:
        return Live(Console(stderr=True, highlight=False, markup=False, emoji=False))
    if display is Display.PLAIN:
        return Lines(plain_line, seconds=PLAIN_SECONDS)
    if display is Display.JSON:
        return Lines(json_line, seconds=JSON_SECONDS)
    return Silent()
