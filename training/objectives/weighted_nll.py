"""Weighted imitation: supervised fine-tuning on what earned the reward.

Shapes: B = sequences, T = positions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from training.objectives.loss import Columns, Loss, check_shapes, masked_sum


def weighted_nll(logp_BT: Float[Tensor, "B T"], columns: Columns, num_items: Tensor) -> Loss:
    """Return the negative log-likelihood, each token times the panel's weight.

    ::

        loss = -(1 / num_items) sum_t w_t logp_t

    over the positions in the loss. The advantage decides which positions those are, not how much
    they count: ``training.prepare`` keeps tokens with a positive advantage only, because imitation
    has no counter-force for what went wrong. With rewards 0 and 1 and weights of 1 this is plain
    supervised fine-tuning on the successes of groups that are not of one outcome (rejection
    sampling, e.g. arXiv 2308.01825). The normaliser is the number of loss tokens of the whole
    accumulated batch, so a deliberative weight, whose mean
    over a rollout is 1, leaves the scale of the loss as it is.

    Args:
        logp_BT: log-probabilities of the model at temperature 1.
        columns: what the rows say; ``old_logp_BT`` is not used.
        num_items: loss tokens of the global batch, at least 1.

    Returns:
        The loss, and the sums ``nll`` (unweighted) and ``credited`` (positions of weight > 0).
    """
    check_shapes(logp_BT, columns)
    mask_BT = columns.mask_BT
    loss_BT = torch.where(mask_BT, -logp_BT * columns.weight_BT, 0)
    sums = {
        "nll": masked_sum(-logp_BT, mask_BT),
        "credited": (mask_BT & (columns.weight_BT > 0)).sum(),
    }
    return Loss(loss_BT.sum() / num_items.clamp(min=1), sums)
