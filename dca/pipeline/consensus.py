"""Consensus of the stored reviews: a new immutable version, in one transaction.

Shapes: D = rollouts, K = labels, P = pairs of reviewers.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.consensus.agreement import alpha, bootstrap, pairwise
from dca.consensus.settle import Bench, Document, seat, settle
from dca.domain.consensus import Consensus, ConsensusParams, ConsensusVersion, Figure, Status
from dca.domain.errors import ConfigError, NothingSelected
from dca.domain.labels import LabelSet
from dca.domain.review import Review
from dca.domain.rollout import Rollout
from dca.pipeline.label_sets import keep_label_sets
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.review import top_reasons
from reviewers.protocol import Reviewer
from store.consensus import (
    add_consensus,
    add_version,
    find_version,
    latest_version,
    seal_version,
)
from store.engine import transaction
from store.reviews import add_reviewers, answers_digest, count_answers, reviews_of
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import Selection

METHOD = "vote"
PAGE = 1000
"""Rollouts settled at a time: bounds memory, changes nothing."""


@dataclass(frozen=True, slots=True)
class ConsensusResult:
    """What one run of the vote did."""

    version: ConsensusVersion
    previous: ConsensusVersion | None
    """The newest version before this one, of the same label set."""
    reused: bool
    """True when a stored version had the same settings and the same reviews."""
    abstentions: dict[str, int]
    """Reviewer name to rollouts on which it abstained, over the whole store."""


def settle_store(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    *,
    params: ConsensusParams | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> ConsensusResult:
    """Vote on the selected rollouts with the panel's round-1 reviews and store the version.

    The same reviews and settings again give the version that is stored already.

    Raises:
        NothingSelected: No rollout is selected, or none of them has a review of this panel.
        ConfigError: The reviewers use different label sets, ``unmarked`` is not a label, or the
            store uses the name of the set for another one.
    """
    params, progress = params or ConsensusParams(), progress or Silent()
    labels = _one_label_set(panel, params)
    with transaction(engine) as session:
        total = count_rollouts(session, selection)
        if not total:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        keep_label_sets(session, (reviewer.labels for reviewer in panel))
        add_reviewers(session, [reviewer.info for reviewer in panel])
        bench = seat([reviewer.info for reviewer in panel], params)
        draft = _draft(panel, bench, labels, params)
        inputs = _inputs(session, panel, selection, labels)
        previous = latest_version(session, labels.name)
        known = find_version(session, draft, inputs=inputs)
        abstentions = _abstentions(session, panel, labels)
        if known is not None:
            return ConsensusResult(known, previous, reused=True, abstentions=abstentions)
        progress.start(total, "consensus")
        stored = add_version(session, draft, inputs=inputs)
        tally = _Tally(bench.names)
        for page in iter_rollouts(session, selection, page=PAGE):
            documents = _documents(session, panel, page, labels)
            settled = settle(documents, bench, labels, params)
            add_consensus(session, stored.id, settled.consensus)
            tally.add(documents, settled.consensus)
            tally.coincidences.append(settled.coincidence_DKK)
            tally.pairs.append(settled.pair_counts_DPX)
            progress.advance(len(page))
        if not tally.reviews:
            raise _nothing_to_vote(session, panel, selection)
        sealed = replace(
            stored, rollouts=total, shares=tally.shares(), agreement=tally.agreement(seed)
        )
        seal_version(session, sealed)
        progress.finish()
    return ConsensusResult(sealed, previous, reused=False, abstentions=abstentions)


def _one_label_set(panel: Sequence[Reviewer], params: ConsensusParams) -> LabelSet:
    """Return the panel's label set."""
    names = {reviewer.labels.name for reviewer in panel}
    if len(names) != 1:
        raise ConfigError(
            f"a panel votes in one label set, not in {len(names)}: {', '.join(sorted(names))}"
        )
    labels = panel[0].labels
    if params.unmarked not in labels:
        raise ConfigError(
            f"consensus.unmarked: {params.unmarked!r} is not a label of {labels.name!r}",
            hint=f"the labels are {', '.join(labels.keys)}",
        )
    return labels


def _nothing_to_vote(
    session: Session, panel: Sequence[Reviewer], selection: Selection
) -> NothingSelected:
    """Return the error that says why there is no review to vote with."""
    reasons: Counter[str] = Counter()
    for reviewer in panel:
        reasons.update(top_reasons(session, reviewer, selection))
    if not reasons:
        return NothingSelected(
            "none of the selected rollouts has a review of this panel",
            hint="run dca review first",
        )
    (reason, count), *_ = reasons.most_common(1)
    return NothingSelected(
        f"every review of this panel is an abstention; {count:,} of them: {reason}",
        hint="dca review --retry-failed asks again",
    )


def _draft(
    panel: Sequence[Reviewer], bench: Bench, labels: LabelSet, params: ConsensusParams
) -> ConsensusVersion:
    """Return the version as far as it is known before the vote."""
    return ConsensusVersion(
        METHOD,
        params,
        labels.name,
        bench.names,
        {reviewer.info.name: reviewer.info.digest for reviewer in panel},
        bench.weights,
        bench.n_eff,
        rollouts=0,
        shares={},
        dca_version=version("deliberative-credit-assignment"),
    )


def _inputs(
    session: Session, panel: Sequence[Reviewer], selection: Selection, labels: LabelSet
) -> str:
    """Return the digest of the reviews that the vote will read."""
    digests = [reviewer.info.digest for reviewer in panel]
    return answers_digest(session, selection, label_set=labels.name, reviewers=digests)


def _abstentions(session: Session, panel: Sequence[Reviewer], labels: LabelSet) -> dict[str, int]:
    """Return how often each reviewer of the panel abstained."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in count_answers(session, label_set=labels.name, round_=1):
        counts[row.reviewer, row.prompt] += row.abstentions
    return {
        reviewer.info.name: counts[reviewer.info.digest, reviewer.prompt_digest]
        for reviewer in panel
    }


def _documents(
    session: Session, panel: Sequence[Reviewer], page: Sequence[Rollout], labels: LabelSet
) -> list[Document]:
    """Return the rollouts with the panel's reviews, one query for the page."""
    names = {(r.info.digest, r.prompt_digest): r.info.name for r in panel}
    found = reviews_of(
        session,
        [rollout.id for rollout in page],
        label_set=labels.name,
        reviewers=[digest for digest, _ in names],
        raw=False,
    )
    return [
        Document(rollout.id, rollout.completion, _by_name(found.get(rollout.id, ()), names))
        for rollout in page
    ]


def _by_name(reviews: Iterable[Review], names: dict[tuple[str, str], str]) -> dict[str, Review]:
    """Return the panel's reviews by name; answers to another prompt are not the panel's."""
    return {
        names[review.key.reviewer, review.key.prompt]: review
        for review in reviews
        if (review.key.reviewer, review.key.prompt) in names
    }


class _Tally:
    """What agreement figures add up, page by page."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.reviews = 0
        self.coincidences: list[np.ndarray] = []
        self.pairs: list[np.ndarray] = []
        self.chars: list[list[float]] = []

    def add(self, documents: Sequence[Document], settled: Sequence[Consensus]) -> None:
        """Count one page."""
        self.reviews += sum(len(document.reviews) for document in documents)
        for document, consensus in zip(documents, settled, strict=True):
            shares = consensus.shares()
            self.chars.append([len(document.text) * shares[status] for status in Status])

    def shares(self) -> dict[Status, float]:
        """Return the share of characters in each status."""
        sums = np.array(self.chars).sum(axis=0)
        return dict(zip(Status, (sums / sums.sum()).tolist(), strict=True))

    def agreement(self, seed: int) -> dict[str, Figure]:
        """Return alpha, pairwise agreement and the statuses' shares, with intervals."""
        coincidence_DKK, pair_DPX = np.concatenate(self.coincidences), np.concatenate(self.pairs)
        figures = {"alpha": alpha(coincidence_DKK, seed=seed)}
        for pair, figure in pairwise(pair_DPX, self.names, seed=seed).items():
            figures[f"pair:{pair}"] = figure
        chars_DS = np.array(self.chars)
        for column, status in enumerate(Status):
            parts_DX = np.stack([chars_DS[:, column], chars_DS.sum(axis=1)], axis=1)
            figures[f"share:{status}"] = bootstrap(
                parts_DX, lambda sums: sums[:, 0] / sums[:, 1], undefined="no text", seed=seed
            )
        return figures
