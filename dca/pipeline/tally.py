"""What a review has come to so far: counted as the answers come, shown while it runs."""

import re
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from dca.domain.errors import BudgetSpent, CredentialError
from dca.domain.review import Abstention, AbstentionKind, Answer, Usage
from dca.pipeline.progress import Progress, ReviewerFigures
from dca.pipeline.running_agreement import RunningAgreement
from reviewers.dialogue import add_usage
from reviewers.meter import Meter
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer
from reviewers.switchboard import Switchboard
from store.jobs import Outcome
from store.reviews import abstention_reasons
from store.selection import Selection

HOPELESS = 5
"""First answers of a model that must all be one fault of its endpoint to give it up."""
_IDENTIFIER = re.compile(r"\b(?=[\w-]*\d)[\w-]{6,}")
"""What differs between messages about one fault: identifiers of requests and of rollouts."""


def alike(reason: str) -> str:
    """Return a reason without what differs between requests."""
    return _IDENTIFIER.sub("#", reason)


def top_reasons(session: Session, reviewer: Reviewer, selection: Selection) -> dict[str, int]:
    """Return why a reviewer abstained on the selection: at most three messages and their counts.

    Messages that differ only in identifiers are one; the most frequent of them is shown.
    """
    key = reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reason, count in abstention_reasons(session, *key, selection).most_common():
        counts[alike(reason)] += count
        shown.setdefault(alike(reason), reason)
    return {shown[same]: count for same, count in counts.most_common(3)}


@dataclass(slots=True)
class Row:
    """One reviewer's figures."""

    name: str
    todo: int
    """Rollouts that it had to answer when the run began."""
    priced: bool
    """Whether it is known what its tokens cost."""
    watched: list[Answer] | None
    """The first answers of a model that may yet be given up."""
    reviews: int = 0
    abstentions: Counter[str] = field(default_factory=Counter[str])
    """By kind."""
    usage: Usage = field(default_factory=Usage)
    """Of all answers."""
    meter: Meter = field(default_factory=Meter)
    """Of its line; empty for whoever needs none."""
    stopped: str = ""
    """Why it is asked no more."""
    paused: bool = False

    @property
    def answers(self) -> int:
        """Reviews and abstentions of this run."""
        return self.reviews + self.abstentions.total()


class Tally:
    """Counts answers, and decides when a reviewer is asked no more."""

    def __init__(
        self, panel: Sequence[Reviewer], pending: Mapping[str, int], progress: Progress
    ) -> None:
        """Begin with nothing counted.

        Args:
            panel: Who is asked.
            pending: Name to the number of rollouts to be answered.
            progress: Listener.
        """
        self.progress = progress
        self.over = ""
        """The cap that ended the run."""
        self._begun = time.monotonic()
        self._agreement = RunningAgreement(panel[0].labels)
        self._names = {reviewer.info.digest: reviewer.info.name for reviewer in panel}
        self._rows = {
            reviewer.info.name: _row(reviewer, pending[reviewer.info.name]) for reviewer in panel
        }

    def row(self, name: str) -> Row:
        """Return the figures of one reviewer."""
        return self._rows[name]

    @property
    def done(self) -> int:
        """Answers so far."""
        return sum(row.answers for row in self._rows.values())

    @property
    def outcome(self) -> Outcome:
        """``partial`` when any reviewer abstained, was stopped, or a cap ended the run."""
        lacking = any(row.abstentions or row.stopped for row in self._rows.values())
        return "partial" if lacking or self.over else "done"

    def take(self, answer: Answer) -> None:
        """Count an answer."""
        row = self._rows[self._names[answer.key.reviewer]]
        self._watch(row, answer)
        row.usage = add_usage(row.usage, answer.usage)
        if isinstance(answer, Abstention):
            row.abstentions[answer.kind.value] += 1
            self.progress.advance(1, abstained=1)
        else:
            row.reviews += 1
            self._agreement.take(answer)
            self.progress.advance(1)

    def _watch(self, row: Row, answer: Answer) -> None:
        """Give a model up when its first answers are all the same fault of its endpoint."""
        if row.watched is None:
            return
        row.watched.append(answer)
        faults = [
            item.reason
            for item in row.watched
            if isinstance(item, Abstention) and item.kind is AbstentionKind.UNAVAILABLE
        ]
        if len(faults) < len(row.watched) or len({alike(reason) for reason in faults}) > 1:
            row.watched = None
        elif len(faults) == HOPELESS:
            row.watched = None
            reason = faults[0].removeprefix(f"{row.name}: ")
            self._stop(row, f"stopped after {HOPELESS} failures in a row: {reason}")

    def _stop(self, row: Row, why: str, said: str = "") -> None:
        """Ask a reviewer no more, and say so once, in other words where some are given."""
        if not row.stopped:
            row.stopped = why
            self.progress.note(f"{row.name}: {said or why}")

    def given_up(self, reviewer: Reviewer) -> bool:
        """Tell whether a reviewer is asked no more."""
        return bool(self._rows[reviewer.info.name].stopped)

    def is_paused(self, reviewer: Reviewer) -> bool:
        """Tell whether a reviewer is asked nothing for the time being."""
        return self._rows[reviewer.info.name].paused

    def pause(self, names: Collection[str]) -> None:
        """Pause the named reviewers and let the others go on; says what has changed."""
        for row in self._rows.values():
            wanted = row.name in names
            if wanted != row.paused:
                row.paused = wanted
                self.progress.note(f"{row.name}: {'paused' if wanted else 'goes on'}")

    def look(self, board: Switchboard) -> None:
        """Read the meters of all lines and show the figures."""
        for line in board.lines:
            row = self._rows[line.name]
            row.meter = line.meter
            if line.down is not None:
                why = str(line.down).removeprefix(f"{row.name}: ")
                # The command ends with a refused key's error: once is enough.
                refused = isinstance(line.down, CredentialError)
                self._stop(row, f"stopped: {why}", "its key was refused" if refused else "")
                if isinstance(line.down, BudgetSpent) and not self.over:
                    self.over = line.down.cap
        figures = [self._figures(row) for row in self._rows.values()]
        self.progress.show(figures, self._agreement.look())

    def raise_refused_key(self, board: Switchboard) -> None:
        """Raise the error of the first reviewer whose key was refused."""
        for line in board.lines:
            if isinstance(line.down, CredentialError):
                raise line.down

    def _figures(self, row: Row) -> ReviewerFigures:
        """Return what is shown of a reviewer while it works."""
        meter, seconds = row.meter, time.monotonic() - self._begun
        return ReviewerFigures(
            name=row.name,
            done=row.answers,
            total=row.todo,
            reviews=row.reviews,
            abstained=row.abstentions.total(),
            flying=meter.flying,
            resting=meter.resting,
            per_minute=60 * row.answers / seconds if seconds > 0 else 0.0,
            input_tokens=row.usage.input_tokens or 0,
            output_tokens=row.usage.output_tokens or 0,
            cached_tokens=row.usage.cached_tokens or 0,
            dollars=meter.spent.dollars if row.priced else None,
            p50=meter.latency(0.5),
            p95=meter.latency(0.95),
            state=row.stopped or ("paused" if row.paused else ""),
        )

    def counts(self) -> dict[str, object]:
        """Return the figures for the job's row in the store: reviewer name to figures."""
        return {row.name: self._figures(row).as_json() for row in self._rows.values()}


def _row(reviewer: Reviewer, todo: int) -> Row:
    """Return the row of a reviewer before it is asked anything."""
    if isinstance(reviewer, ModelReviewer):
        return Row(reviewer.info.name, todo, reviewer.price is not None, [])
    # To others an unavailable review is one of many.
    return Row(reviewer.info.name, todo, priced=False, watched=None)
