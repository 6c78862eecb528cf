"""The panel's verdicts on a whole rollout: which step is to blame, is the answer supported."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dca.consensus.vote import TIE, Panel, is_thin
from dca.domain.consensus import ConsensusParams, PanelBlame, PanelSoundness, Status
from dca.domain.review import Review, Soundness
from dca.domain.spans import Span


def settle_blame(
    reviews: Mapping[str, Review], names: tuple[str, ...], panel: Panel, params: ConsensusParams
) -> PanelBlame | None:
    """Return the stretch that a quorum blames; ``None`` when no reviewer gave a verdict.

    Every reviewer with a verdict votes on every character: it is in the blamed step or not. The
    verdict is the first unbroken stretch that a quorum of them holds, or "no step is wrong" when a
    quorum says so. R = reviewers of the panel.

    Args:
        reviews: Reviewer name to review.
        names: The panel, in the order of ``panel``'s arrays.
        panel: Weights and families.
        params: The quorum and the rules for "thin".
    """
    votes = {name: _blamed(review) for name, review in reviews.items() if review.blame}
    if not votes:
        return None
    voted_R = np.array([name in votes for name in names])
    weight = dict(zip(names, panel.weight_R.tolist(), strict=True))
    total = sum(weight[name] for name in votes)
    none = sum(weight[name] for name, span in votes.items() if span is None) / total
    span, held = _first_stretch(votes, weight, params.quorum * total)
    if is_thin(voted_R[:, None], panel, params)[0]:
        return PanelBlame(Status.THIN, None, max(none, _most(votes, weight) / total), votes)
    if none >= params.quorum - TIE:
        return PanelBlame(Status.AGREED, None, none, votes)
    if span is not None:
        return PanelBlame(Status.AGREED, span, held / total, votes)
    return PanelBlame(Status.DISPUTED, None, max(none, _most(votes, weight) / total), votes)


def _blamed(review: Review) -> Span | None:
    """Return the stretch that a review blames, ``None`` for "none wrong"."""
    if review.blame is None or review.blame.step is None:
        return None
    return review.steps[review.blame.step].span


def _most(votes: Mapping[str, Span | None], weight: Mapping[str, float]) -> float:
    """Return the largest weight that any one character is blamed with."""
    starts = [span.start for span in votes.values() if span is not None]
    return max((_held(votes, weight, start) for start in starts), default=0.0)


def _held(votes: Mapping[str, Span | None], weight: Mapping[str, float], position: int) -> float:
    """Return the weight of the reviewers whose blamed stretch holds ``position``."""
    return sum(
        weight[name]
        for name, span in votes.items()
        if span is not None and span.start <= position < span.stop
    )


def _first_stretch(
    votes: Mapping[str, Span | None], weight: Mapping[str, float], needed: float
) -> tuple[Span | None, float]:
    """Return the first unbroken stretch that ``needed`` weight blames, and its mean weight."""
    spans = [span for span in votes.values() if span is not None]
    edges = sorted({edge for span in spans for edge in (span.start, span.stop)})
    pieces: list[tuple[Span, float]] = []
    for start, stop in pairwise(edges):
        held = _held(votes, weight, start)
        if held >= needed - TIE:
            if pieces and pieces[-1][0].stop != start:
                break
            pieces.append((Span(start, stop), held))
    if not pieces:
        return None, 0.0
    whole = Span(pieces[0][0].start, pieces[-1][0].stop)
    return whole, sum(len(span) * held for span, held in pieces) / len(whole)


def settle_soundness(
    reviews: Mapping[str, Review], names: tuple[str, ...], panel: Panel, params: ConsensusParams
) -> PanelSoundness | None:
    """Return a quorum's verdict; ``None`` when no reviewer gave one. ``unsure`` is no vote."""
    votes = {name: review.soundness for name, review in reviews.items() if review.soundness}
    if not votes:
        return None
    unsound_R = _said(votes, names, Soundness.UNSOUND)
    sound_R = _said(votes, names, Soundness.SOUND)
    voted_R = unsound_R | sound_R
    if not voted_R.any():
        return PanelSoundness(Status.UNCOVERED, None, 0.0, votes)
    unsound = float(panel.weight_R[unsound_R].sum() / panel.weight_R[voted_R].sum())
    verdict = Soundness.UNSOUND if unsound > 1 - unsound else Soundness.SOUND
    share = max(unsound, 1 - unsound)
    if is_thin(voted_R[:, None], panel, params)[0]:
        return PanelSoundness(Status.THIN, None, share, votes)
    if share < params.quorum - TIE:
        return PanelSoundness(Status.DISPUTED, None, share, votes)
    return PanelSoundness(Status.AGREED, verdict, share, votes)


def _said(
    votes: Mapping[str, Soundness], names: tuple[str, ...], verdict: Soundness
) -> NDArray[np.bool_]:
    """Return which reviewers of the panel gave this verdict."""
    return np.array([votes.get(name) is verdict for name in names], dtype=bool)
