"""Credit by hand: two to four rollouts, a few tokens, every factor worked out on the line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dca.domain.errors import CreditError, MissingInput
from tests.credit_groups import factors, group_of, pair, panel
from training.credit.assigners import ASSIGNERS, assign
from training.credit.deliberative import NOT_CONSERVED, deliberative
from training.credit.grpo import group_advantage, grpo
from training.credit.uniform import uniform

ROOT = Path(__file__).resolve().parent.parent
WON = 0.5 / (np.sqrt(0.5) + 1e-4)
"""GRPO's advantage of the winner of two: std of (1, 0) with divisor 1 is sqrt(1/2)."""


def test_uniform_subtracts_the_mean() -> None:
    group = group_of([1.0, 0.0, 0.0, 1.0], [[1, 1], [1, 0]] * 2)

    credit = uniform(group)

    np.testing.assert_array_equal(
        credit.advantage_GT, [[0.5, 0.5], [-0.5, 0.0], [-0.5, -0.5], [0.5, 0.0]]
    )
    np.testing.assert_array_equal(credit.mask_GT, group.sampled_GT)
    np.testing.assert_array_equal(credit.weight_GT, group.sampled_GT)


def test_grpo_divides_by_the_unbiased_deviation() -> None:
    # mean 0.5; squares 4 * 0.25 = 1; / 3 -> std 0.577350; 0.5 / 0.577450 = 0.865876.
    advantage_G = group_advantage(np.array([1.0, 0.0, 0.0, 1.0]))

    np.testing.assert_allclose(advantage_G, [0.865876, -0.865876, -0.865876, 0.865876], atol=1e-6)


@pytest.mark.parametrize("rewards", [[1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_a_group_that_tells_nothing_gives_no_credit(rewards: list[float]) -> None:
    group = group_of(rewards, np.ones((len(rewards), 3)))

    assert grpo(group).total_G.tolist() == [0.0] * len(rewards)
    assert uniform(group).total_G.tolist() == [0.0] * len(rewards)


def test_a_success_pays_the_positive_spans_and_keeps_the_total() -> None:
    #                     C    C    S    R    X    I        loser: nothing blamed
    group = pair(panel([[1.0, 1.0, 0.0, 0.0, -1.0, 0.5], [0.0] * 6]))

    credit = deliberative(group)

    # sum p = 2.5, T = 6: factors 6 / 2.5 = 2.4 for C and 1.2 for I.
    assert factors(credit, 0) == [2.4, 2.4, 0.0, 0.0, 0.0, 1.2]
    assert credit.total_G[0] == pytest.approx(6 * WON)
    assert credit.mask_GT[0].tolist() == [True] * 6


def test_the_cap_cuts_a_lucky_guess_and_says_so() -> None:
    group = pair(panel([[0.0] * 9 + [1.0], [0.0] * 10]))

    credit = deliberative(group)

    assert factors(credit, 0) == [0.0] * 9 + [4.0]  # 10 without the cap
    assert credit.events["capped"].tolist() == [True, False]
    assert deliberative(group, cap=10.0).events["capped"].tolist() == [False, False]
    assert factors(deliberative(group, cap=10.0), 0)[-1] == 10.0


def test_mask_pays_label_values_without_making_up_for_the_rest() -> None:
    group = pair(panel([[1.0, 0.5, 0.0, -1.0], [0.0] * 4]))

    credit = deliberative(group, success="mask")

    assert factors(credit, 0) == [1.0, 0.5, 0.0, 0.0]
    assert credit.events["masked"].tolist() == [True, False]


def test_confidence_scales_the_share_of_a_span() -> None:
    signal = panel([[1.0, 1.0], [0.0, 0.0]], confidence=[[1.0, 0.5], [1.0, 1.0]])

    # p = 1 and 0.5, T = 2: 4/3 and 2/3.
    assert factors(deliberative(pair(signal), confidence=True), 0) == [1.333333, 0.666667]
    assert factors(deliberative(pair(signal)), 0) == [1.0, 1.0]


def test_text_that_is_not_agreed_is_left_out_or_keeps_its_share() -> None:
    signal = panel([[1.0, 0.0, 0.0, 0.0], [0.0] * 4], agreed=[[1, 1, 0, 0], [1, 1, 1, 1]])

    masked = deliberative(pair(signal))
    kept = deliberative(pair(signal), unagreed="uniform")

    assert factors(masked, 0) == [4.0, 0.0, 0.0, 0.0]
    assert masked.mask_GT[0].tolist() == [True, True, False, False]
    # Two tokens keep 1 each, the other two tokens' share goes to the first.
    assert factors(kept, 0) == [2.0, 0.0, 1.0, 1.0]
    assert kept.mask_GT[0].tolist() == [True] * 4
    assert masked.total_G[0] == pytest.approx(4 * WON)
    assert kept.total_G[0] == pytest.approx(4 * WON)


def test_mask_and_unagreed_uniform_pay_both() -> None:
    signal = panel([[1.0, 0.0, 0.0], [0.0] * 3], agreed=[[1, 1, 0], [1, 1, 1]])

    credit = deliberative(pair(signal), success="mask", unagreed="uniform")

    assert factors(credit, 0) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("rule", ["conserve", "mask"])
@pytest.mark.parametrize(
    ("values", "agreed", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], [1.0, 1.0, 1.0, 1.0]),
        ([0.0, 0.0, 0.0, 0.0], [1, 0, 0, 1], [1.0, 1.0, 1.0, 1.0]),
        # Nothing on the two harmful tokens: 4 / 2 on each of the others.
        ([0.0, -1.0, -0.5, 0.0], [1, 1, 1, 1], [2.0, 0.0, 0.0, 2.0]),
        ([0.0, -1.0, -1.0, -1.0], [0, 1, 1, 1], [4.0, 0.0, 0.0, 0.0]),
    ],
)
def test_a_success_with_nothing_positive_agreed_falls_back_to_all_but_the_harmful(
    values, agreed, expected, rule
) -> None:
    group = pair(panel([values, [0.0] * 4], agreed=[agreed, [1] * 4]))

    for unagreed in ("mask", "uniform"):
        credit = deliberative(group, success=rule, unagreed=unagreed)

        assert factors(credit, 0) == expected
        assert credit.mask_GT[0].all()
        assert credit.events["fallback"].tolist() == [True, False]
        assert credit.total_G[0] == pytest.approx(4 * WON)
        assert not any(credit.events[name][0] for name in NOT_CONSERVED if name in credit.events)


@pytest.mark.parametrize("rule", ["conserve", "mask"])
def test_the_fallback_is_capped_like_everything_else(rule) -> None:
    group = pair(panel([[0.0, -1.0, -1.0], [0.0] * 3]))

    credit = deliberative(group, success=rule, cap=2.0)

    assert factors(credit, 0) == [2.0, 0.0, 0.0]  # 3 without the cap
    assert credit.events["capped"].tolist() == [True, False]
    assert credit.events["fallback"].tolist() == [True, False]


@pytest.mark.parametrize("rule", ["conserve", "mask"])
def test_a_success_that_is_harmful_throughout_is_left_out_and_counted(rule) -> None:
    group = pair(panel([[-1.0, -0.5], [0.0, 0.0]]))

    credit = deliberative(group, success=rule)

    assert factors(credit, 0) == [0.0, 0.0]
    assert not credit.mask_GT[0].any()
    assert credit.events["unearned"].tolist() == [True, False]
    assert not credit.events["fallback"].any()
    assert not credit.events["capped"].any()


def test_a_failure_is_paid_by_the_blamed_step() -> None:
    group = pair(panel([[1.0] * 6] * 2, blamed=[[0] * 6, [0, 0, 1, 1, 0, 0]]))

    credit = deliberative(group)

    assert factors(credit, 1) == [0.0, 0.0, 3.0, 3.0, 0.0, 0.0]  # 6 / 2
    assert credit.total_G[1] == pytest.approx(-6 * WON)
    assert credit.mask_GT[1].all()


def test_a_failure_without_blame_teaches_nothing() -> None:
    credit = deliberative(pair(panel([[1.0, 1.0], [1.0, 1.0]])))

    assert credit.total_G[1] == 0.0
    assert not credit.mask_GT[1].any()
    assert credit.events["unblamed"].tolist() == [False, True]


def test_a_failure_can_be_uniform_or_dropped() -> None:
    group = pair(panel([[1.0, 1.0], [1.0, 1.0]], blamed=[[0, 0], [1, 0]]))

    spread = deliberative(group, failure="uniform")
    dropped = deliberative(group, failure="drop")

    assert factors(spread, 1) == [1.0, 1.0]
    assert spread.total_G[1] == pytest.approx(-2 * WON)
    assert not dropped.mask_GT[1].any()
    assert dropped.events["dropped"].tolist() == [False, True]


@pytest.mark.parametrize("rewards", [[1.0, 1.0], [1.0]])
def test_an_unsound_success_is_left_out_where_every_attempt_succeeded(rewards) -> None:
    count = len(rewards)
    signal = panel([[1.0, 0.0]] * count, unsound=[True] * count)
    group = group_of(rewards, np.ones((count, 2)), signal)

    credit = deliberative(group)

    assert not credit.mask_GT.any()
    assert credit.events["vetoed"].tolist() == [True] * count


@pytest.mark.parametrize(("reward", "count"), [(0.1, 3), (0.1, 6), (0.7, 6), (0.3, 10), (0.0, 4)])
def test_equal_rewards_are_no_advantage_whatever_their_mean_rounds_to(reward, count) -> None:
    group = group_of([reward] * count, np.ones((count, 2)))

    assert grpo(group).advantage_GT.tolist() == [[0.0, 0.0]] * count
    assert uniform(group).advantage_GT.tolist() == [[0.0, 0.0]] * count


def test_an_unsound_success_is_left_out_unless_the_veto_is_off() -> None:
    group = pair(panel([[1.0, 0.0], [0.0, 0.0]], unsound=[True, True]))

    vetoed = deliberative(group)
    paid = deliberative(group, veto=False)

    assert vetoed.total_G[0] == 0.0
    assert not vetoed.mask_GT[0].any()
    assert vetoed.events["vetoed"].tolist() == [True, False]
    assert not vetoed.events["capped"].any()
    assert factors(paid, 0) == [2.0, 0.0]
    assert not paid.events["vetoed"].any()


def test_the_veto_goes_by_success_and_not_by_the_sign_of_the_advantage() -> None:
    # Mean 0.5: 0.7 is above it and no success from 0.8 on, 0.3 below it and a success from 0.2 on.
    signal = panel([[1.0, 0.0], [0.0, 0.0]], unsound=[True, True])

    def vetoed(at: float) -> list[bool]:
        group = group_of([0.7, 0.3], np.ones((2, 2)), signal, at=at)
        return deliberative(group).events["vetoed"].tolist()

    assert vetoed(0.8) == [False, False]
    assert vetoed(0.5) == [True, False]
    assert vetoed(0.2) == [True, True]


def test_a_vetoed_success_below_the_mean_is_counted_as_vetoed_only() -> None:
    group = pair(panel([[1.0], [1.0]], unsound=[False, True]), rewards=(1.0, 0.6))

    credit = deliberative(group)

    assert credit.events["vetoed"].tolist() == [False, True]
    assert credit.events["unblamed"].tolist() == [False, False]
    assert not credit.mask_GT[1].any()


def test_a_success_below_the_mean_has_no_blame_and_teaches_nothing() -> None:
    group = pair(panel([[1.0, 1.0], [1.0, -1.0]]), rewards=(1.0, 0.6))

    credit = deliberative(group)

    assert credit.advantage_GT[1, 0] < 0
    assert credit.events["unblamed"].tolist() == [False, True]
    assert not credit.mask_GT[1].any()


def test_a_failure_above_the_mean_is_paid_on_its_positive_spans_but_not_in_the_blamed_step() -> (
    None
):
    blamed = [[0, 0, 1, 0], [1, 1, 0, 0]]
    group = pair(panel([[1.0, 0.0, 1.0, 0.0], [1.0] * 4], blamed=blamed), rewards=(0.4, 0.0))

    credit = deliberative(group)

    assert factors(credit, 0) == [4.0, 0.0, 0.0, 0.0]
    assert factors(credit, 1) == [2.0, 2.0, 0.0, 0.0]
    assert not credit.events["vetoed"].any()


@pytest.mark.parametrize("unagreed", ["mask", "uniform"])
def test_the_blamed_step_of_a_failure_above_the_mean_gets_no_fallback(unagreed) -> None:
    signal = panel([[0.0] * 2] * 2, agreed=[[0, 0], [1, 1]], blamed=[[0, 1], [1, 0]])

    credit = deliberative(pair(signal, rewards=(0.4, 0.0)), unagreed=unagreed)

    assert factors(credit, 0) == [2.0, 0.0]
    assert credit.mask_GT[0].all()
    assert credit.events["fallback"].tolist() == [True, False]


def test_open_text_of_a_failure_above_the_mean_keeps_its_share_except_in_the_blamed_step() -> None:
    signal = panel(
        [[1.0, 0.0, 0.0], [0.0] * 3], agreed=[[1, 0, 0], [1] * 3], blamed=[[0, 0, 1], [1, 0, 0]]
    )

    credit = deliberative(pair(signal, rewards=(0.4, 0.0)), unagreed="uniform")

    assert factors(credit, 0) == [2.0, 1.0, 0.0]
    assert credit.mask_GT[0].tolist() == [True, True, False]


def test_a_rollout_without_consensus_keeps_the_uniform_credit() -> None:
    group = pair(panel([[1.0, 0.0], [0.0, 0.0]], reviewed=[False, False], unsound=[True, False]))

    credit = deliberative(group)

    np.testing.assert_allclose(credit.total_G, grpo(group).total_G)
    assert credit.events["unreviewed"].tolist() == [True, True]
    assert not credit.events["unblamed"].any()


def test_success_uniform_ignores_the_labels() -> None:
    group = pair(panel([[1.0, 0.0], [0.0, 0.0]], blamed=[[0, 0], [0, 1]]))

    assert factors(deliberative(group, success="uniform"), 0) == [1.0, 1.0]


def test_padding_gets_nothing_and_counts_for_nothing() -> None:
    short = pair(panel([[1.0, 0.0], [0.0, 0.0]], blamed=[[0, 0], [1, 0]]))
    wide = pair(
        panel(
            [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
            blamed=[[0, 0, 0], [1, 0, 1]],
        ),
        padding=1,
    )

    one, two = deliberative(short), deliberative(wide)

    np.testing.assert_array_equal(two.weight_GT[:, :2], one.weight_GT)
    np.testing.assert_array_equal(two.mask_GT[:, :2], one.mask_GT)
    assert not two.weight_GT[:, 2].any()
    assert not two.mask_GT[:, 2].any()
    assert not two.advantage_GT[:, 2].any()


def test_missing_and_wrong_inputs_are_named() -> None:
    bare = group_of([1.0, 0.0], np.ones((2, 3)))

    with pytest.raises(MissingInput, match="needs consensus"):
        assign("deliberative", bare, {})
    with pytest.raises(CreditError, match="no credit method 'gae'"):
        assign("gae", bare, {})
    with pytest.raises(CreditError, match=r"cap 0\.5 is below 1"):
        deliberative(pair(panel([[1.0], [0.0]])), cap=0.5)
    with pytest.raises(CreditError, match="not finite"):
        group_of([np.nan, 0.0], np.ones((2, 3)))


def test_arrays_of_other_shapes_are_refused_by_name() -> None:
    """In a process of its own: in the tests, jaxtyping refuses them before our own check does."""
    code = """
import numpy as np
from dca.domain.errors import CreditError
from training.credit.group import Group, PanelSignal
flat = np.zeros((2, 1))
small = PanelSignal(flat > 0, flat, flat, flat.astype(int), flat > 0, *np.zeros((2, 2), bool))
sampled = np.ones((2, 3), dtype=bool)
none = np.zeros(2, dtype=bool)
for arguments in ((np.zeros(3), none, sampled), (np.zeros(2), none[:1], sampled),
                  (np.zeros(2), none, sampled, small)):
    try:
        Group(*arguments)
    except CreditError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.splitlines() == [
        "reward_G has shape (3,), the group's is (2,)",
        "success_G has shape (1,), the group's is (2,)",
        "agreed_GT has shape (2, 1), the group's is (2, 3)",
    ]


def test_every_assigner_takes_just_its_own_settings() -> None:
    group = pair(panel([[1.0, 0.0], [0.0, 0.0]]))
    settings = {"success": "mask", "cap": 2.0}

    assert set(ASSIGNERS) == {"uniform", "grpo", "deliberative"}
    np.testing.assert_array_equal(assign("grpo", group, settings).weight_GT, np.ones((2, 2)))
    assert factors(assign("deliberative", group, settings), 0) == [1.0, 0.0]
