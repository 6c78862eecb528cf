"""Neutral rows of the stored credit: what the exporter writes and a trainer reads.

Shapes: T = completion tokens.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
from sqlalchemy.orm import Session

from dca.domain.consensus import Consensus, ConsensusVersion
from dca.domain.errors import ConfigError, NothingSelected
from dca.domain.labels import LabelSet
from dca.domain.rollout import SUCCESS_AT, Rollout
from dca.pipeline.label_sets import check_labels
from dca.pipeline.signals import NO_LABEL, Signal, signal
from dca.pipeline.token_views import Reading, TokenView, choose_reading, spelled, view_tokens
from store.consensus import consensus_of, get_version, latest_version
from store.rollouts import iter_rollouts
from store.scores import CreditRun, latest_credit_run, scores_of
from store.selection import Selection
from training.rows import NeutralRow, Provenance
from training.tokens import Tokenizer, split_identity

PAGE = 200
"""Rollouts at a time."""


@dataclass(slots=True)
class RowCounts:
    """What went by while rows were made."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter[str])
    """Tokens by agreed label; ``""`` where nothing is agreed."""
    skipped: Counter[str] = field(default_factory=Counter[str])
    """Rollouts without a row, by reason."""
    inexact: int = 0
    """Rows whose ids were made by tokenizing the text again."""
    no_logprobs: int = 0
    """Rows without behaviour log-probabilities, good for SFT only."""
    no_prompt: int = 0
    """Rows whose prompt ids are not known, which no training takes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which consensus and which credit an export carries."""

    run: CreditRun | None
    """``None`` for an export without credit."""
    version: ConsensusVersion | None
    labels: LabelSet
    reading: Reading
    """Where the tokens come from: the same as when the credit was made."""
    success_at: float = SUCCESS_AT
    """Smallest reward of a success."""

    @property
    def method(self) -> str:
        """Name of the credit method, ``""`` without credit."""
        return self.run.method if self.run else ""

    @property
    def spelled(self) -> str:
        """``name@digest`` of the tokenizer, ``""`` when none was given."""
        return spelled(self.reading)


def recipe(
    session: Session, method: str | None, labels: LabelSet, tokenizer: Tokenizer | None
) -> Recipe:
    """Return the newest credit of a method, or the newest consensus when ``method`` is ``None``.

    Raises:
        NothingSelected: The method was never run, or nothing was ever settled.
        ConfigError: The credit was made with another tokenizer or with other labels.
    """
    if method is None:
        newest = latest_version(session, labels.name)
        if newest is None:
            raise NothingSelected("there is no consensus", hint="run dca consensus")
        check_labels(session, newest, labels)
        return Recipe(None, newest, labels, tokenizer)
    run = latest_credit_run(session, method)
    if run is None:
        raise NothingSelected(
            f"there is no credit of method {method!r}",
            hint=f"run dca credit --methods {method}; where rollouts bring token ids without "
            "offsets, with --tokenizer MODEL_DIR or --retokenize",
        )
    number = run.consensus_version
    found = get_version(session, number) if number is not None else None
    if found is not None:
        check_labels(session, found, labels)
    reading = choose_reading(tokenizer, retokenize=bool(run.params.get("retokenize")))
    made = Recipe(run, found, labels, reading)
    used = str(run.params["tokenizer"])
    if used != made.spelled:
        raise ConfigError(
            f"the credit was made with tokenizer {used or 'none'}, not {made.spelled or 'none'}",
            hint=f"give the same --tokenizer, or run dca credit --methods {method} again",
        )
    return made


def neutral_rows(
    session: Session, chosen: Recipe, selection: Selection, counts: RowCounts
) -> Iterator[NeutralRow]:
    """Yield one row per selected rollout that has credit; the others are counted by reason."""
    if chosen.run is None:
        return
    source, method = str(chosen.run.params["source"]), chosen.method
    for page in iter_rollouts(session, selection, page=PAGE):
        ids = [rollout.id for rollout in page]
        advantages = scores_of(session, ids, f"credit:{method}:advantage", source)
        weights = scores_of(session, ids, f"credit:{method}:weight", source)
        settled = consensus_of(session, chosen.version.id, ids) if chosen.version else {}
        for rollout in page:
            if rollout.id not in weights:
                counts.skipped["no credit"] += 1
                continue
            tokens = view_tokens(rollout, chosen.reading)
            marks = signal(rollout.completion, settled.get(rollout.id), tokens, chosen.labels)
            row = _row(
                rollout,
                tokens,
                marks,
                np.frombuffer(advantages[rollout.id].values, dtype=np.float32),
                np.frombuffer(weights[rollout.id].values, dtype=np.float32),
                chosen,
            )
            _count(counts, row, marks, chosen.labels)
            yield row


def settled_rollouts(
    session: Session, chosen: Recipe, selection: Selection
) -> Iterator[list[tuple[Rollout, Consensus]]]:
    """Yield pages of the selected rollouts that the recipe's consensus settled."""
    if chosen.version is None:
        return
    for page in iter_rollouts(session, selection, page=PAGE):
        settled = consensus_of(session, chosen.version.id, [rollout.id for rollout in page])
        yield [(rollout, settled[rollout.id]) for rollout in page if rollout.id in settled]


def _row(
    rollout: Rollout,
    tokens: TokenView,
    marks: Signal,
    advantage_T: np.ndarray,
    weight_T: np.ndarray,
    chosen: Recipe,
) -> NeutralRow:
    """Return the row of one rollout."""
    name, digest = split_identity(tokens.tokenizer)
    kept_T = ~np.isnan(weight_T)
    return NeutralRow(
        rollout_id=rollout.id,
        group_id=rollout.group_id,
        task=rollout.task,
        step=rollout.step,
        model=rollout.model,
        prompt_ids=tokens.prompt_ids,
        completion_ids=tokens.ids,
        completion_mask=np.ones(tokens.ids.size, dtype=np.bool_),
        offsets=tokens.offsets,
        logprobs=tokens.logprobs,
        ref_logprobs=None,
        sampling=rollout.sampling,
        reward=rollout.reward or 0.0,
        method=chosen.method,
        advantage=advantage_T,
        weight=np.where(kept_T, weight_T, np.float32(0)),
        credit_mask=kept_T,
        label=marks.label_T.astype(np.int8),
        span_id=marks.span_T.astype(np.int32),
        confidence=marks.confidence_T.astype(np.float32),
        completion=rollout.completion,
        provenance=Provenance(
            consensus=str(chosen.version.id) if chosen.version else "",
            label_set=chosen.version.label_set if chosen.version else "",
            panel=chosen.version.panel if chosen.version else (),
            tokenizer=name,
            tokenizer_sha=digest,
            ids_exact=tokens.exact,
            dca_version=version("deliberative-credit-assignment"),
        ),
    )


def _count(counts: RowCounts, row: NeutralRow, marks: Signal, labels: LabelSet) -> None:
    """Add one row to the counts."""
    counts.rows += 1
    counts.inexact += not row.provenance.ids_exact
    counts.no_logprobs += row.logprobs is None
    counts.no_prompt += row.prompt_ids.size == 0
    codes, numbers = np.unique(marks.label_T, return_counts=True)
    for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
        counts.labels["" if code == NO_LABEL else labels.keys[code]] += number
