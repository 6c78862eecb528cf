"""A rollout's consensus on its tokens.

Shapes: G = rollouts, T = completion tokens, padded to the longest of the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int64

from dca.domain.consensus import Consensus, Status
from dca.domain.labels import LabelSet
from dca.domain.review import Soundness
from dca.domain.rollout import succeeded
from dca.domain.spans import Span
from dca.pipeline.token_views import TokenView
from training.credit.group import NO_SPAN, Group, PanelSignal
from training.spans import byte_edges, map_spans

NO_LABEL = -1


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """What the panel settled about each token of one rollout."""

    span_T: Int64[np.ndarray, " T"]
    """Position of the agreed span in the consensus, ``NO_SPAN`` where nothing is agreed."""
    label_T: Int64[np.ndarray, " T"]
    """Code of the agreed label, ``NO_LABEL`` where nothing is agreed."""
    value_T: Float[np.ndarray, " T"]
    """Value of the agreed label, 0 where nothing is agreed."""
    confidence_T: Float[np.ndarray, " T"]
    """Share behind the agreed label, 0 where nothing is agreed."""
    blamed_T: Bool[np.ndarray, " T"]
    """True on the step that the panel agreed to blame, see ``_blamed``."""
    unsound: bool
    """True when the panel agreed that the steps do not support the answer."""
    reviewed: bool
    """False without a consensus."""


def signal(
    completion: str, consensus: Consensus | None, tokens: TokenView, labels: LabelSet
) -> Signal:
    """Return the consensus on the tokens; all empty when there is none."""
    count = tokens.ids.size
    if consensus is None:
        none_T, zero_T = np.full(count, NO_SPAN), np.zeros(count)
        return Signal(none_T, none_T, zero_T, zero_T, zero_T > 0, unsound=False, reviewed=False)
    edges = byte_edges(completion)
    spans = consensus.spans
    held_T = map_spans([item.span for item in spans], edges, tokens.start_T, tokens.stop_T)
    codes = [labels.code(item.label) if item.label else NO_LABEL for item in spans]
    agreed_N = np.array([item.status is Status.AGREED for item in spans] + [False])
    # The last entry answers for tokens that no span holds, whose position is -1.
    label_N = np.where(agreed_N, np.array([*codes, NO_LABEL]), NO_LABEL)
    value_N = np.where(agreed_N, np.array([label.value for label in labels] + [0.0])[label_N], 0)
    share_N = np.where(agreed_N, np.array([item.share for item in spans] + [0.0]), 0.0)
    soundness = consensus.soundness
    return Signal(
        np.where(agreed_N[held_T], held_T, NO_SPAN),
        label_N[held_T],
        value_N[held_T],
        np.minimum(share_N[held_T], 1.0),
        _blamed(consensus, edges, tokens),
        unsound=soundness is not None and soundness.verdict is Soundness.UNSOUND,
        reviewed=True,
    )


def _blamed(
    consensus: Consensus, edges: Int64[np.ndarray, " P"], tokens: TokenView
) -> Bool[np.ndarray, " T"]:
    """Return True on the tokens of the step that the panel agreed to blame.

    By the rule of the labels: the consensus spans, cut where the step begins and ends, share out
    the tokens, and those of the pieces inside the step are blamed.
    """
    blame = consensus.blame
    if blame is None or blame.span is None or blame.status is not Status.AGREED:
        return np.zeros(tokens.ids.size, dtype=bool)
    step = blame.span
    ends = {end for item in consensus.spans for end in (item.span.start, item.span.stop)}
    pieces = [
        Span(start, stop) for start, stop in pairwise(sorted(ends | {step.start, step.stop}))
    ]
    inside = [step.start <= piece.start and piece.stop <= step.stop for piece in pieces]
    held_T = map_spans(pieces, edges, tokens.start_T, tokens.stop_T)
    # The last entry answers for tokens that no piece holds, whose position is -1.
    return np.array([*inside, False])[held_T]


def build_group(
    rewards: Sequence[float],
    lengths: Sequence[int],
    signals: Sequence[Signal] | None,
    *,
    success_at: float,
) -> Group:
    """Return the group of some rollouts; without signals it has no panel.

    ``success_at`` is the smallest reward of a success.
    """
    width = max(lengths)
    sampled_GT = np.arange(width)[None, :] < np.array(lengths)[:, None]
    reward_G = np.array(rewards, dtype=np.float64)
    success_G = np.array([succeeded(reward, success_at) for reward in rewards], dtype=bool)
    if signals is None:
        return Group(reward_G, success_G, sampled_GT)
    span_GT = _pad([item.span_T for item in signals], width, NO_SPAN)
    panel = PanelSignal(
        agreed_GT=span_GT != NO_SPAN,
        value_GT=_pad([item.value_T for item in signals], width, 0.0),
        confidence_GT=_pad([item.confidence_T for item in signals], width, 0.0),
        span_GT=span_GT,
        blamed_GT=_pad([item.blamed_T for item in signals], width, fill=False),
        unsound_G=np.array([item.unsound for item in signals]),
        reviewed_G=np.array([item.reviewed for item in signals]),
    )
    return Group(reward_G, success_G, sampled_GT, panel)


def _pad(rows: Sequence[np.ndarray], width: int, fill: int | float | bool) -> np.ndarray:
    """Return the rows as one array, filled up to ``width``."""
    padded = np.full((len(rows), width), fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        padded[number, : row.size] = row
    return padded
