"""Everything known about one rollout, for people to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.consensus import AgreedSpan, Consensus, ConsensusVersion
from dca.domain.review import Abstention, Review, ReviewerInfo, Step
from dca.domain.rollout import Rollout
from store.consensus import consensus_of, get_version
from store.engine import transaction
from store.listing import list_rollouts
from store.reviews import abstentions_of, list_reviewers, reviews_of
from store.rollouts import find_rollout
from store.selection import Selection


@dataclass(frozen=True, slots=True)
class Opinion:
    """One reviewer's answer."""

    reviewer: ReviewerInfo
    answer: Review | Abstention

    @property
    def steps(self) -> tuple[Step, ...]:
        """The marked steps; none of an abstention."""
        return self.answer.steps if isinstance(self.answer, Review) else ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rollout with its reviews and its newest consensus."""

    rollout: Rollout
    version: ConsensusVersion | None
    """``None`` before any consensus holds the rollout; ``consensus`` too."""
    consensus: Consensus | None
    opinions: tuple[Opinion, ...]
    """Of the version's panel, else of everyone; by reviewer name."""

    def reasons(self, span: AgreedSpan) -> list[tuple[str, Step]]:
        """Return the reviewer and the step for every step with a reason that lies mostly here."""
        return [
            (opinion.reviewer.name, step)
            for opinion in self.opinions
            for step in opinion.steps
            if step.reason and self._holder(step) == span
        ]

    def _holder(self, step: Step) -> AgreedSpan | None:
        spans = self.consensus.spans if self.consensus else ()
        return max(spans, key=lambda item: item.span.overlap(step.span), default=None)


def read_sheet(
    engine: Engine, id_prefix: str, label_set: str, *, version_id: int | None = None
) -> Sheet:
    """Read one rollout with all that is known about it.

    Args:
        engine: The store.
        id_prefix: Start of the id.
        label_set: Whose reviews are read while there is no consensus.
        version_id: Consensus version; ``None`` is the newest that holds the rollout.

    Raises:
        NothingSelected: No such rollout, or no such version.
        SelectionError: Several ids start so.
    """
    with transaction(engine) as session:
        rollout = find_rollout(session, id_prefix)
        version, consensus = _consensus(session, rollout.id, version_id)
        names = version.label_set if version else label_set
        digests = list(version.reviewers.values()) if version else None
        opinions = _opinions(session, rollout.id, names, digests)
    return Sheet(rollout, version, consensus, opinions)


def _consensus(
    session: Session, rollout_id: str, version_id: int | None
) -> tuple[ConsensusVersion | None, Consensus | None]:
    if version_id is None:
        lines = list_rollouts(session, Selection(ids=(rollout_id,)), limit=1)
        version_id = lines[0].consensus if lines else None
    if version_id is None:
        return None, None
    version = get_version(session, version_id)
    return version, consensus_of(session, version.id, [rollout_id]).get(rollout_id)


def _opinions(
    session: Session, rollout_id: str, label_set: str, digests: Sequence[str] | None
) -> tuple[Opinion, ...]:
    infos = {info.digest: info for info in list_reviewers(session)}
    ids = [rollout_id]
    reviews = reviews_of(session, ids, label_set=label_set, reviewers=digests, raw=False)
    silent = abstentions_of(session, ids, label_set=label_set, reviewers=digests, raw=False)
    answers = [*reviews.get(rollout_id, ()), *silent.get(rollout_id, ())]
    found = [Opinion(infos[answer.key.reviewer], answer) for answer in answers]
    return tuple(sorted(found, key=lambda item: (item.reviewer.name, item.reviewer.digest)))
