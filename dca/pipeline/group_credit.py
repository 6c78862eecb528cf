"""Credit of one group: rollouts and consensus in, per-token scores out.

Shapes: G = rollouts of one prompt, T = completion tokens.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dca.domain.consensus import Consensus, ConsensusVersion
from dca.domain.errors import MissingInput, TokenError
from dca.domain.labels import LabelSet
from dca.domain.rollout import Rollout
from dca.pipeline.signals import build_group, signal
from dca.pipeline.token_views import Reading, TokenView, view_tokens
from store.scores import TokenScores
from training.credit.assigners import ASSIGNERS, assign
from training.credit.credit import Credit

NOT_SPELLED = "its token ids do not spell its text"
"""Why a rollout is left out whose stored ids belong to another text or tokenizer."""


@dataclass(slots=True)
class Count:
    """A method's running figures."""

    rollouts: int = 0
    tokens: int = 0
    in_loss: int = 0
    events: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, slots=True)
class Task:
    """What stays the same over the groups."""

    methods: tuple[str, ...]
    settings: Mapping[str, object]
    """Settings of the assigners; each takes its own."""
    success_at: float
    """Smallest reward of a success."""
    labels: LabelSet
    version: ConsensusVersion | None
    reading: Reading
    """Where the tokens come from."""
    sources: Mapping[str, str]
    """Method to the source under which its scores are stored."""


def reads_panel(method: str) -> bool:
    """Tell whether a method reads what the panel settled."""
    return "consensus" in ASSIGNERS[method].needs


def credit_group(
    group: Sequence[Rollout],
    settled: Mapping[str, Consensus] | None,
    task: Task,
    counts: Mapping[str, Count],
) -> list[TokenScores]:
    """Return the scores of one group and count them."""
    kept, skipped = _placed(group, task.reading)
    for count in counts.values():
        count.skipped.update(skipped)
    if not kept:
        return []
    scores: list[TokenScores] = []
    for method in task.methods:
        try:
            credit = _assign(method, kept, settled, task)
        except MissingInput as missing:
            counts[method].skipped[str(missing)] += len(kept)
            continue
        scores += _scores(method, kept, credit, task.sources[method])
        _tally(counts[method], kept, credit)
    return scores


def _placed(
    group: Sequence[Rollout], reading: Reading
) -> tuple[list[tuple[Rollout, TokenView]], Counter[str]]:
    """Return the rollouts that can be credited, with their tokens, and why others cannot."""
    kept: list[tuple[Rollout, TokenView]] = []
    skipped: Counter[str] = Counter()
    for rollout in group:
        if rollout.reward is None:
            skipped["no reward"] += 1
            continue
        try:
            kept.append((rollout, view_tokens(rollout, reading)))
        except MissingInput as missing:
            skipped[str(missing)] += 1
        except TokenError:
            skipped[NOT_SPELLED] += 1
    return kept, skipped


def _assign(
    method: str,
    kept: Sequence[tuple[Rollout, TokenView]],
    settled: Mapping[str, Consensus] | None,
    task: Task,
) -> Credit:
    """Return one method's credit of one group."""
    signals = None
    if settled is not None and reads_panel(method):
        signals = [
            signal(rollout.completion, settled.get(rollout.id), tokens, task.labels)
            for rollout, tokens in kept
        ]
    rewards = [rollout.reward or 0.0 for rollout, _ in kept]
    lengths = [tokens.ids.size for _, tokens in kept]
    group = build_group(rewards, lengths, signals, success_at=task.success_at)
    return assign(method, group, task.settings)


def _scores(
    method: str, kept: Sequence[tuple[Rollout, TokenView]], credit: Credit, source: str
) -> list[TokenScores]:
    """Return advantage and weight of every rollout; a weight of ``nan`` is out of the loss."""
    weight_GT = np.where(credit.mask_GT, credit.weight_GT, np.nan)
    scores: list[TokenScores] = []
    for row, (rollout, tokens) in enumerate(kept):
        count = tokens.ids.size
        for name, values_GT in (("advantage", credit.advantage_GT), ("weight", weight_GT)):
            values = array("f", values_GT[row, :count].astype(np.float32).tobytes())
            scores.append(TokenScores(rollout.id, f"credit:{method}:{name}", source, values))
    return scores


def _tally(count: Count, kept: Sequence[tuple[Rollout, TokenView]], credit: Credit) -> None:
    """Add one group's credit to the figures."""
    count.rollouts += len(kept)
    count.tokens += sum(tokens.ids.size for _, tokens in kept)
    count.in_loss += int(credit.mask_GT.sum())
    for name, rows_G in credit.events.items():
        count.events[name] += int(rows_G.sum())
