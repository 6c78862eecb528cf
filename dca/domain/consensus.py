"""Consensus: where a panel settled, with what support, and who said what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dca.domain.review import LinkKind, Soundness
from dca.domain.spans import Span


class Status(StrEnum):
    """How far the panel settled on one stretch."""

    AGREED = "agreed"
    DISPUTED = "disputed"
    """Votes enough, but no label reaches the quorum, or the top two tie."""
    THIN = "thin"
    """Too few reviewers, families or too little weight."""
    UNCOVERED = "uncovered"
    """No vote."""


@dataclass(frozen=True, slots=True)
class ConsensusParams:
    """Every setting of the vote; stored with the version."""

    quorum: float = 2 / 3
    """Smallest share of the winning label, in (0.5, 1]."""
    margin: float = 0.0
    """Smallest lead over the second label, in [0, 1]; a tie never agrees."""
    min_reviewers: int = 2
    """Fewer voting reviewers than this make a stretch thin."""
    min_families: int = 2
    """Fewer voting families than this make a stretch thin."""
    min_weight: float = 0.5
    """Smallest voting share of the panel's weight, in [0, 1]."""
    unmarked: str = "idle"
    """Label of an unmarked stretch inside a reviewer's covered range."""
    merge_support: float = 0.4
    """A boundary with at most this support among reviewers on both sides goes, in [0, 1]."""
    family_correlation: float = 0.5
    """Assumed error correlation inside a declared family, in [0, 1]."""
    link_overlap: float = 0.5
    """Overlap coefficient at which a step stands for a consensus span, in (0, 1]."""
    link_support: float = 0.5
    """Smallest support of a link, in (0, 1]."""
    link_reviewers: int = 2
    """Fewest reviewers behind a link."""


@dataclass(frozen=True, slots=True)
class AgreedSpan:
    """A stretch on which the vote came out the same throughout."""

    span: Span
    status: Status
    label: str | None
    """The winning label when agreed or thin; ``None`` when disputed or uncovered."""
    share: float
    """Weighted share of the leading label, averaged over characters, in [0, 1]."""
    shares: Mapping[str, float]
    """Weighted share per label that got a vote."""
    votes: Mapping[str, str]
    """Reviewer name to the label that it gave to most of the stretch."""
    left: float
    """Support in [0, 1] for the boundary at ``span.start``; 1 at the text's ends."""
    right: float
    """Support in [0, 1] for the boundary at ``span.stop``."""


@dataclass(frozen=True, slots=True)
class AgreedLink:
    """Consensus span ``source`` led to consensus span ``target``."""

    source: int
    """Position in ``Consensus.spans``."""
    target: int
    kind: LinkKind
    support: float
    """Weighted share of the reviewers that cover both ends, in [0, 1]."""
    reviewers: tuple[str, ...]
    dropped: str = ""
    """Why the link was refused although supported; ``""`` when it stands."""


@dataclass(frozen=True, slots=True)
class PanelBlame:
    """The panel's verdict on the first wrong step of a failed rollout."""

    status: Status
    span: Span | None
    """The blamed stretch; ``None`` when not agreed, or agreed that no step is wrong."""
    share: float
    """Weighted share behind the verdict, in [0, 1]."""
    votes: Mapping[str, Span | None]
    """Reviewer name to the stretch that it blamed, ``None`` for "none wrong"."""


@dataclass(frozen=True, slots=True)
class PanelSoundness:
    """The panel's verdict on whether the stated steps support the answer."""

    status: Status
    verdict: Soundness | None
    """``sound`` or ``unsound`` when agreed; ``None`` otherwise."""
    share: float
    """Weighted share behind the verdict, in [0, 1]."""
    votes: Mapping[str, Soundness]
    """Reviewer name to its verdict; ``unsure`` is listed but does not vote."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the panel settled for one rollout."""

    rollout_id: str
    spans: tuple[AgreedSpan, ...]
    """In text order, without gaps, from 0 to the length of the completion."""
    links: tuple[AgreedLink, ...] = ()
    blame: PanelBlame | None = None
    """``None`` when no reviewer gave a verdict."""
    soundness: PanelSoundness | None = None
    """``None`` when no reviewer gave a verdict."""

    def shares(self) -> dict[Status, float]:
        """Return the share of characters in each status; they sum to 1."""
        total = sum(len(item.span) for item in self.spans)
        counts = dict.fromkeys(Status, 0)
        for item in self.spans:
            counts[item.status] += len(item.span)
        return {status: count / total for status, count in counts.items()}


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number with its interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    n: int = 0
    """Units that the interval resamples."""
    reason: str = ""
    """Why ``value`` is ``None``."""


@dataclass(frozen=True, slots=True)
class ConsensusVersion:
    """One run of the vote over a selection: immutable."""

    method: str
    """``vote``."""
    params: ConsensusParams
    label_set: str
    panel: tuple[str, ...]
    """Reviewer names, sorted."""
    reviewers: Mapping[str, str]
    """Reviewer name to digest."""
    weights: Mapping[str, float]
    """Reviewer name to its vote's weight."""
    n_eff: float
    """Kish's effective number of independent reviewers, in [1, panel size]."""
    rollouts: int
    """Rollouts settled."""
    shares: Mapping[Status, float]
    """Share of all characters in each status."""
    agreement: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    dca_version: str = ""
    id: int = 0
    """Number given by the store; 0 before it is stored."""
    created: str = ""
    """UTC time, ISO 8601; given by the store."""
