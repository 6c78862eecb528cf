"""The clipped importance ratio with per-token advantages.

Shapes: B = sequences, T = positions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from training.objectives.loss import Columns, Loss, check_shapes, masked_sum

LOG_RATIO_BOUND = 20.0
"""Log-ratios are cut to [-20, 20], which only keeps the exponential finite."""


@dataclass(frozen=True, slots=True)
class Clip:
    """How far the policy may move away from the behaviour policy on one token."""

    low: float = 0.2
    """Ratios below ``1 - low`` give no gradient under a negative advantage; in (0, 1)."""
    high: float = 0.2
    """Ratios above ``1 + high`` give no gradient under a positive advantage; > 0."""
    dual: float | None = None
    """Under a negative advantage A the surrogate is at least ``dual * A``; > 1 + ``high``."""


def clipped(
    logp_BT: Float[Tensor, "B T"], columns: Columns, num_items: Tensor, *, clip: Clip
) -> Loss:
    """Return the clipped surrogate loss of PPO (arXiv 1707.06347, equation 7), token by token.

    With ``A`` the outcome advantage, ``w`` the panel's weight and ``r = exp(logp - old_logp)``
    against the *stored* behaviour log-probabilities::

        loss = -(1 / num_items) sum_t w_t min(r_t A_t, clip(r_t, 1 - low, 1 + high) A_t)

    over the positions in the loss. ``w`` scales the surrogate of a token and never turns its
    sign, so ``w A`` acts as that token's advantage. ``dual`` adds the lower bound of dual-clip PPO
    (arXiv 1912.09729) for negative advantages. The normaliser is the number of loss tokens of the
    whole accumulated batch (token mean, as in DAPO, arXiv 2503.14476): a token of weight 0 counts,
    a masked token does not. Log-ratios are bounded by ``LOG_RATIO_BOUND``.

    Args:
        logp_BT: log-probabilities of the policy at the temperature of the rollouts.
        columns: what the rows say.
        num_items: loss tokens of the global batch, at least 1.
        clip: the bounds.

    Returns:
        The loss, and the sums ``ratio``, ``clipped`` (positions without gradient because of the
        bounds), ``kl`` (``r - 1 - log r``, an estimate of KL(behaviour || policy) that is never
        negative: Schulman's k3, unbiased on the behaviour policy's samples) and ``credited``
        (positions where ``w A`` is not 0).
    """
    check_shapes(logp_BT, columns)
    mask_BT, advantage_BT = columns.mask_BT, columns.advantage_BT
    log_ratio_BT = torch.where(mask_BT, logp_BT - columns.old_logp_BT, 0)
    log_ratio_BT = log_ratio_BT.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    ratio_BT = log_ratio_BT.exp()
    free_BT = ratio_BT * advantage_BT
    bound_BT = ratio_BT.clamp(1 - clip.low, 1 + clip.high) * advantage_BT
    surrogate_BT = torch.minimum(free_BT, bound_BT)
    cut_BT = bound_BT < free_BT
    if clip.dual is not None:
        floor_BT = torch.where(advantage_BT < 0, clip.dual * advantage_BT, -torch.inf)
        cut_BT = cut_BT | (surrogate_BT < floor_BT)
        surrogate_BT = torch.maximum(surrogate_BT, floor_BT)
    credit_BT = torch.where(mask_BT, columns.weight_BT * surrogate_BT, 0)
    sums = {
        "ratio": masked_sum(ratio_BT, mask_BT),
        "clipped": masked_sum(cut_BT.to(ratio_BT.dtype), mask_BT),
        "kl": masked_sum(ratio_BT - 1 - log_ratio_BT, mask_BT),
        "credited": (mask_BT & (columns.weight_BT * advantage_BT != 0)).sum(),
    }
    return Loss(-credit_BT.sum() / num_items.clamp(min=1), sums)
