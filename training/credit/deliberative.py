"""Deliberative credit: the outcome's advantage goes where the panel agrees that it was earned.

Shapes: G = rollouts of one prompt, T = completion tokens.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from dca.domain.errors import CreditError, MissingInput
from training.credit.credit import Credit
from training.credit.group import Group, PanelSignal
from training.credit.grpo import group_advantage

SuccessRule = Literal["conserve", "mask", "uniform"]
FailureRule = Literal["blame", "uniform", "drop"]
UnagreedRule = Literal["mask", "uniform"]

NOT_CONSERVED = ("capped", "vetoed", "unblamed", "unearned", "masked", "dropped")
"""The events after which a rollout's total differs from the uniform one."""


def deliberative(
    group: Group,
    *,
    success: SuccessRule = "conserve",
    failure: FailureRule = "blame",
    veto: bool = True,
    confidence: bool = False,
    cap: float = 4.0,
    unagreed: UnagreedRule = "mask",
) -> Credit:
    """Return GRPO's advantage, redistributed by the panel's consensus.

    Where the credit of a rollout goes follows the sign of its advantage, which is that of the
    training signal: a positive one is paid by rule ``success``, a negative one by ``failure``.

    ``success``, with p_t = max(label value, 0), times the consensus share when ``confidence``:
    ``conserve`` gives token t the factor ``T p_t / sum p``, at most ``cap``; ``mask`` gives it
    p_t; ``uniform`` gives every token 1. Where the panel agreed on nothing positive, the whole
    advantage goes evenly to all text but the wrong (factor ``T / |rest|``, at most ``cap``:
    "fallback"): the panel moves reward, it does not remove it. Wrong is what it agreed to be of
    negative value, and the blamed step of a failure. With nothing but wrong text there is nowhere
    to move it, and the rollout is left out ("unearned").

    ``failure``: ``blame`` puts the whole advantage on the blamed step (factor ``T / |step|``, at
    most ``cap``) and nothing elsewhere, nothing at all when no step is blamed ("unblamed");
    ``uniform`` gives every token 1; ``drop`` leaves the rollout out.

    ``veto`` leaves an unsound success out, whatever the sign of its advantage: ``success_G`` says
    what a success is, as it did to the reviewers, who judge soundness in successes and look for
    blame in failures. With rewards 0 and 1 sign and success are the same. With partial rewards, a
    success below its group's mean has no blame and is "unblamed", since nothing in it is known to
    be wrong; a failure above the mean is paid on its positive spans, except in the blamed step.

    A rollout without a consensus keeps the uniform credit ("unreviewed"). Text that is not agreed
    is left out of the loss (``unagreed = "mask"``) or keeps the factor 1 (``"uniform"``: the rest
    of the total then goes to the agreed text).

    Except for the events in ``NOT_CONSERVED``, a rollout's total is that of the uniform credit.

    Source: the method this project is about; the defaults are what a controlled experiment found
    best. No weight is negative: signs are those of the advantage.

    Raises:
        MissingInput: The group was never settled.
        CreditError: ``cap`` is below 1, so that even a uniform credit would be cut.
    """
    if group.panel is None:
        raise MissingInput("needs consensus")
    if cap < 1:
        raise CreditError(f"cap {cap} is below 1: even uniform credit would be cut")
    panel = group.panel
    advantage_G = group_advantage(group.reward_G)
    won_G = panel.reviewed_G & (advantage_G > 0)
    lost_G = panel.reviewed_G & (advantage_G < 0)
    # Also where the whole group succeeded and the advantage is 0: imitation would take it.
    vetoed_G = panel.reviewed_G & panel.unsound_G & group.success_G & veto
    win_GT, win_mask_GT, events = _succeed(group, panel, success, unagreed, confidence, cap)
    lose_GT, lose_mask_GT, more = _fail(group, panel, failure, cap)
    events = {name: rows_G & won_G for name, rows_G in events.items()}
    for name, rows_G in more.items():
        events[name] = events.get(name, np.zeros_like(won_G)) | (rows_G & lost_G)
    events = {name: rows_G & ~vetoed_G for name, rows_G in events.items()}
    events["vetoed"] = vetoed_G
    events["unreviewed"] = ~panel.reviewed_G
    rows = {"won": won_G[:, None], "lost": lost_G[:, None]}
    weight_GT = np.where(rows["won"], win_GT, np.where(rows["lost"], lose_GT, 1.0))
    mask_GT = np.where(rows["won"], win_mask_GT, np.where(rows["lost"], lose_mask_GT, True))
    kept_GT = group.sampled_GT & ~vetoed_G[:, None]
    return Credit(
        advantage_G[:, None] * group.sampled_GT, weight_GT * kept_GT, mask_GT & kept_GT, events
    )


def _succeed(
    group: Group,
    panel: PanelSignal,
    rule: SuccessRule,
    unagreed: UnagreedRule,
    confidence: bool,
    cap: float,
) -> tuple[Float[np.ndarray, "G T"], Bool[np.ndarray, "G T"], dict[str, Bool[np.ndarray, " G"]]]:
    """Return weight, mask and events as if every advantage were positive."""
    sampled_GT = group.sampled_GT
    if rule == "uniform":
        return sampled_GT.astype(np.float64), sampled_GT, {}
    agreed_GT = panel.agreed_GT & sampled_GT
    rest_GT = sampled_GT & ~_wrong(group, panel)
    share_GT = np.maximum(panel.value_GT, 0.0) * (agreed_GT & rest_GT)
    if confidence:
        share_GT = share_GT * panel.confidence_GT
    even_G = np.asarray(share_GT.sum(axis=1) == 0)
    unearned_G = even_G & ~rest_GT.any(axis=1)
    open_GT = rest_GT & ~agreed_GT & ~even_G[:, None] & (unagreed == "uniform")
    # What the open text keeps is not there to be moved.
    purse_G = group.tokens_G - open_GT.sum(axis=1)
    weight_GT, capped_G = _concentrate(np.where(even_G[:, None], rest_GT, share_GT), purse_G, cap)
    events = {"capped": capped_G, "fallback": even_G & ~unearned_G, "unearned": unearned_G}
    if rule == "mask":
        weight_GT = np.where(even_G[:, None], weight_GT, share_GT)
        events |= {"capped": capped_G & even_G, "masked": ~even_G}
    mask_GT = np.where(even_G[:, None], sampled_GT & ~unearned_G[:, None], agreed_GT | open_GT)
    return weight_GT + open_GT, mask_GT, events


def _wrong(group: Group, panel: PanelSignal) -> Bool[np.ndarray, "G T"]:
    """Return True on text that earns nothing: agreed to be harmful, or blamed for a failure."""
    harmful_GT = panel.agreed_GT & (panel.value_GT < 0)
    return harmful_GT | (panel.blamed_GT & ~group.success_G[:, None])


def _fail(
    group: Group, panel: PanelSignal, rule: FailureRule, cap: float
) -> tuple[Float[np.ndarray, "G T"], Bool[np.ndarray, "G T"], dict[str, Bool[np.ndarray, " G"]]]:
    """Return weight, mask and events as if every advantage were negative."""
    sampled_GT = group.sampled_GT
    everyone_G = np.ones(len(sampled_GT), dtype=bool)
    if rule == "uniform":
        return sampled_GT.astype(np.float64), sampled_GT, {}
    if rule == "drop":
        none_GT = np.zeros_like(sampled_GT)
        return none_GT.astype(np.float64), none_GT, {"dropped": everyone_G}
    blamed_GT = panel.blamed_GT & sampled_GT
    weight_GT, capped_G = _concentrate(blamed_GT.astype(np.float64), group.tokens_G, cap)
    unblamed_G = np.asarray(blamed_GT.sum(axis=1) == 0)
    mask_GT = sampled_GT & ~unblamed_G[:, None]
    return weight_GT, mask_GT, {"capped": capped_G, "unblamed": unblamed_G}


def _concentrate(
    share_GT: Float[np.ndarray, "G T"], purse_G: np.ndarray, cap: float
) -> tuple[Float[np.ndarray, "G T"], Bool[np.ndarray, " G"]]:
    """Return factors in proportion to ``share_GT`` that sum to ``purse_G``, and where ``cap`` cut.

    Rows without any share are 0.
    """
    sum_G = share_GT.sum(axis=1)
    scale_G = np.divide(purse_G, sum_G, out=np.zeros_like(sum_G), where=sum_G > 0)
    factor_GT = share_GT * scale_G[:, None]
    return np.minimum(factor_GT, cap), np.greater(factor_GT.max(axis=1, initial=0.0), cap)
