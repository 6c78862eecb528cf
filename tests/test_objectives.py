"""The objectives of training, every surrogate and gradient worked out on the line."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from torch import Tensor

from training.objectives.clipped import LOG_RATIO_BOUND, Clip, clipped
from training.objectives.loss import Columns
from training.objectives.weighted_nll import weighted_nll

CLIP = Clip(low=0.2, high=0.3)
PPO = partial(clipped, clip=CLIP)


def columns(advantage, *, weight=None, old=None, mask=None) -> Columns:
    def tensor(values, default):
        chosen = [default] * len(advantage) if values is None else values
        return torch.tensor([chosen], dtype=torch.float64)

    return Columns(
        mask_BT=tensor(mask, 1).bool(),
        advantage_BT=tensor(advantage, 0),
        weight_BT=tensor(weight, 1),
        old_logp_BT=tensor(old, -1),
    )


def logp(*ratios: float) -> Tensor:
    """Log-probabilities that stand at these ratios to a behaviour log-probability of -1."""
    return (torch.tensor([ratios], dtype=torch.float64).log() - 1).requires_grad_()


def test_the_clipped_surrogate_by_hand() -> None:
    # ratio          1.0   1.5   1.5   0.5   0.5
    # advantage       +2    +2    -2    +2    -2     bounds 0.8 and 1.3
    # r A              2     3    -3     1    -1
    # clip(r) A        2   2.6  -2.6   1.6  -1.6
    # smaller          2   2.6    -3     1  -1.6     sum 1.0
    given = columns([2, 2, -2, 2, -2])
    logp_BT = logp(1.0, 1.5, 1.5, 0.5, 0.5)

    loss = clipped(logp_BT, given, torch.tensor(5), clip=CLIP)
    loss.value.backward()

    assert loss.value.item() == pytest.approx(-1.0 / 5, abs=1e-12)
    # the gradient of -r A / 5 is -r A / 5, and 0 where the bound is the smaller
    assert logp_BT.grad is not None
    expected = [-2 / 5, 0.0, 3 / 5, -1 / 5, 0.0]
    torch.testing.assert_close(logp_BT.grad[0].tolist(), expected, atol=1e-12, rtol=0)
    assert loss.sums["clipped"] == 2
    assert loss.sums["ratio"].item() == pytest.approx(5.0)
    # r - 1 - log r: 0, 0.5 - log 1.5 twice, -0.5 + log 2 twice
    assert loss.sums["kl"].item() == pytest.approx(2 * 0.0945349 + 2 * 0.1931472, abs=1e-6)


def test_the_weight_scales_a_token_and_zero_weights_still_count() -> None:
    given = columns([1, 1, -1], weight=[3, 0, 0.5])

    loss = clipped(logp(1.0, 1.0, 1.0), given, torch.tensor(3), clip=CLIP)

    assert loss.value.item() == pytest.approx(-(3 + 0 - 0.5) / 3)
    assert loss.sums["credited"] == 2


def test_masked_tokens_are_not_in_the_loss_whatever_they_hold() -> None:
    given = columns([1, 5, 1], weight=[1, 9, 1], mask=[1, 0, 1])
    logp_BT = torch.tensor([[-1.0, -torch.inf, -1.0]], dtype=torch.float64, requires_grad=True)

    loss = clipped(logp_BT, given, torch.tensor(2), clip=CLIP)
    loss.value.backward()

    assert loss.value.item() == pytest.approx(-1.0)
    assert logp_BT.grad is not None
    assert logp_BT.grad[0].tolist() == [-0.5, 0.0, -0.5]
    assert loss.sums["ratio"] == 2


def test_the_dual_clip_bounds_negative_advantages_only() -> None:
    # ratio 5: r A = -10, clip(r) A = -2.6, smaller -10; the floor is 3 * -2 = -6
    # ratio 5 with A = +2: smaller is 2.6, and there is no floor
    logp_BT = logp(5.0, 5.0)

    loss = clipped(logp_BT, columns([-2, 2]), torch.tensor(1), clip=Clip(0.2, 0.3, dual=3.0))
    loss.value.backward()

    assert loss.value.item() == pytest.approx(6 - 2.6)
    assert logp_BT.grad is not None
    assert logp_BT.grad[0].tolist() == [0.0, 0.0]
    assert loss.sums["clipped"] == 2


def test_absurd_log_ratios_stay_finite() -> None:
    logp_BT = torch.tensor([[-0.0, -500.0]], dtype=torch.float64, requires_grad=True)

    loss = clipped(logp_BT, columns([-1, -1], old=[-900, -1]), torch.tensor(2), clip=CLIP)
    loss.value.backward()

    assert torch.isfinite(loss.value)
    assert logp_BT.grad is not None
    assert torch.isfinite(logp_BT.grad).all()


def test_log_ratios_are_cut_at_twenty() -> None:
    # Log-ratios 25 and -25 count as 20 and -20, 19 as 19; nothing bounds r A below without a dual.
    logp_BT = torch.tensor([[24.0, -26.0, 18.0]], dtype=torch.float64, requires_grad=True)

    loss = clipped(logp_BT, columns([-1, 1, -1]), torch.tensor(1), clip=CLIP)
    loss.value.backward()

    assert LOG_RATIO_BOUND == 20
    expected = math.exp(20) - math.exp(-20) + math.exp(19)
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)
    assert logp_BT.grad is not None
    assert logp_BT.grad[0].tolist() == pytest.approx([0.0, 0.0, math.exp(19)], rel=1e-12)


def test_weighted_imitation_by_hand() -> None:
    logp_BT = torch.tensor([[-1.0, -2.0, -4.0]], requires_grad=True)
    given = columns([1, 1, 1], weight=[0.5, 2, 7], mask=[1, 1, 0])
    given = dataclasses.replace(given, weight_BT=given.weight_BT.float())

    loss = weighted_nll(logp_BT, given, torch.tensor(2))
    loss.value.backward()

    assert loss.value.item() == (0.5 * 1 + 2 * 2) / 2
    assert logp_BT.grad is not None
    assert logp_BT.grad[0].tolist() == [-0.25, -1.0, 0.0]
    assert loss.sums["nll"] == 3
    assert loss.sums["credited"] == 2


@pytest.mark.parametrize("objective", [PPO, weighted_nll])
def test_inputs_of_different_shapes_are_refused(objective) -> None:
    with pytest.raises(ValueError, match=r"mask_BT is \(1, 2\), logp_BT is \(1, 3\)"):
        objective(torch.zeros(1, 3), columns([1, 1]), torch.tensor(1))
    flat = Columns(*[torch.zeros(3) for _ in range(4)])
    with pytest.raises(ValueError, match="mask_BT"):
        objective(torch.zeros(3), flat, torch.tensor(1))
