"""Credit by hand: two to four rollouts, a few tokens, every factor worked out on the line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import CreditError, MissingInput
from training.credit.assigners import ASSIGNERS, assign
from training.credit.credit import Credit
from training.credit.deliberative import NOT_CONSERVED, deliberative
from training.credit.group import NO_SPAN, Group, PanelSignal
from training.credit.grpo import group_advantage, grpo
from training.credit.uniform import uniform

ROOT = Path(__file__).resolve().parent.parent
WON = 0.5 / (np.sqrt(0.5) + 1e-4)
"""GRPO's advantage of the winner of two: std of (1, 0) with divisor 1 is sqrt(1/2)."""


def panel(values, *, agreed=None, confidence=None, blamed=None, unsound=None, reviewed=None):
    value_GT = np.array(values, dtype=float)
    rollouts, tokens = value_GT.shape
    flat = np.zeros((rollouts, tokens), dtype=bool)
    return PanelSignal(
        agreed_GT=~flat if agreed is None else np.array(agreed, dtype=bool),
        value_GT=value_GT,
        confidence_GT=np.ones_like(value_GT) if confidence is None else np.array(confidence),
        span_GT=np.full((rollouts, tokens), NO_SPAN),
        blamed_GT=flat if blamed is None else np.array(blamed, dtype=bool),
        unsound_G=np.zeros(rollouts, bool) if unsound is None else np.array(unsound, dtype=bool),
        reviewed_G=np.ones(rollouts, bool) if reviewed is None else np.array(reviewed, dtype=bool),
    )


def pair(signal: PanelSignal, *, padding: int = 0) -> Group:
    """A winner and a loser."""
    sampled_GT = np.ones(signal.value_GT.shape, dtype=bool)
    if padding:
        sampled_GT[:, -padding:] = False
    return Group(np.array([1.0, 0.0]), sampled_GT, signal)


def factors(credit: Credit, rollout: int) -> list[float]:
    return credit.weight_GT[rollout].round(6).tolist()


def test_uniform_subtracts_the_mean() -> None:
    group = Group(np.array([1.0, 0.0, 0.0, 1.0]), np.array([[True, True], [True, False]] * 2))

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
    group = Group(np.array(rewards), np.ones((len(rewards), 3), dtype=bool))

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


def test_a_success_with_nothing_positive_agreed_falls_back_to_uniform() -> None:
    group = pair(panel([[0.0, -1.0], [0.0, 0.0]]))

    for rule in ("conserve", "mask"):
        credit = deliberative(group, success=rule)
        assert factors(credit, 0) == [1.0, 1.0]
        assert credit.mask_GT[0].all()
        assert credit.events["fallback"].tolist() == [True, False]
        assert credit.total_G[0] == pytest.approx(2 * WON)


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
    group = Group(np.array(rewards), np.ones((count, 2), dtype=bool), signal)

    credit = deliberative(group)

    assert not credit.mask_GT.any()
    assert credit.events["vetoed"].tolist() == [True] * count


@pytest.mark.parametrize(("reward", "count"), [(0.1, 3), (0.1, 6), (0.7, 6), (0.3, 10), (0.0, 4)])
def test_equal_rewards_are_no_advantage_whatever_their_mean_rounds_to(reward, count) -> None:
    group = Group(np.full(count, reward), np.ones((count, 2), dtype=bool))

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
    bare = Group(np.array([1.0, 0.0]), np.ones((2, 3), dtype=bool))

    with pytest.raises(MissingInput, match="needs consensus"):
        assign("deliberative", bare, {})
    with pytest.raises(CreditError, match="no credit method 'gae'"):
        assign("gae", bare, {})
    with pytest.raises(CreditError, match=r"cap 0\.5 is below 1"):
        deliberative(pair(panel([[1.0], [0.0]])), cap=0.5)
    with pytest.raises(CreditError, match="not finite"):
        Group(np.array([np.nan, 0.0]), np.ones((2, 3), dtype=bool))


def test_arrays_of_other_shapes_are_refused_by_name() -> None:
    """In a process of its own: in the tests, jaxtyping refuses them before our own check does."""
    code = """
import numpy as np
from dca.domain.errors import CreditError
from training.credit.group import Group, PanelSignal
flat = np.zeros((2, 1))
small = PanelSignal(flat > 0, flat, flat, flat.astype(int), flat > 0, *np.zeros((2, 2), bool))
sampled = np.ones((2, 3), dtype=bool)
for arguments in ((np.zeros(3), sampled), (np.zeros(2), sampled, small)):
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
        "agreed_GT has shape (2, 1), the group's is (2, 3)",
    ]


def test_every_assigner_takes_just_its_own_settings() -> None:
    group = pair(panel([[1.0, 0.0], [0.0, 0.0]]))
    settings = {"success": "mask", "cap": 2.0}

    assert set(ASSIGNERS) == {"uniform", "grpo", "deliberative"}
    np.testing.assert_array_equal(assign("grpo", group, settings).weight_GT, np.ones((2, 2)))
    assert factors(assign("deliberative", group, settings), 0) == [1.0, 0.0]


GROUPS = st.integers(1, 5).flatmap(
    lambda g: st.integers(1, 12).flatmap(
        lambda t: st.tuples(
            st.lists(st.sampled_from([0.0, 1.0, 0.3]), min_size=g, max_size=g),
            st.lists(
                st.lists(st.sampled_from([1.0, 0.5, 0.0, -1.0]), min_size=t, max_size=t),
                min_size=g,
                max_size=g,
            ),
            st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=g, max_size=g),
            st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=g, max_size=g),
            st.lists(st.booleans(), min_size=g, max_size=g),
            st.lists(st.integers(0, t), min_size=g, max_size=g),
        )
    )
)
SETTINGS = st.fixed_dictionaries(
    {
        "success": st.sampled_from(["conserve", "mask", "uniform"]),
        "failure": st.sampled_from(["blame", "uniform", "drop"]),
        "veto": st.booleans(),
        "confidence": st.booleans(),
        "unagreed": st.sampled_from(["mask", "uniform"]),
        "cap": st.sampled_from([1.0, 4.0, 100.0]),
    }
)


def build(drawn) -> Group:
    rewards, values, agreed, blamed, unsound, lengths = drawn
    sampled_GT = np.arange(len(values[0]))[None, :] < np.array(lengths)[:, None]
    signal = panel(values, agreed=agreed, blamed=blamed, unsound=unsound)
    return Group(np.array(rewards), sampled_GT, signal)


@given(GROUPS, SETTINGS)
def test_totals_are_conserved_except_where_an_event_says_so(drawn, settings) -> None:
    group = build(drawn)
    credit = deliberative(group, **settings)

    excused_G = np.zeros(len(group.reward_G), dtype=bool)
    for name in NOT_CONSERVED:
        excused_G |= credit.events.get(name, excused_G)
    np.testing.assert_allclose(
        credit.total_G[~excused_G], grpo(group).total_G[~excused_G], atol=1e-9
    )


@given(GROUPS, SETTINGS)
def test_no_factor_is_negative_or_above_the_cap_and_no_sign_turns(drawn, settings) -> None:
    group = build(drawn)
    credit = deliberative(group, **settings)

    assert (credit.weight_GT >= 0).all()
    assert (credit.weight_GT <= settings["cap"] + 1e-12).all()
    assert not (credit.mask_GT & ~group.sampled_GT).any()
    assert (np.sign(credit.total_G) * np.sign(grpo(group).total_G) >= 0).all()


@given(GROUPS, SETTINGS, st.randoms())
def test_the_order_of_rollouts_does_not_matter(drawn, settings, random) -> None:
    order = list(range(len(drawn[0])))
    random.shuffle(order)
    shuffled = tuple([column[i] for i in order] for column in drawn)

    one = deliberative(build(drawn), **settings)
    two = deliberative(build(shuffled), **settings)

    np.testing.assert_allclose(two.weight_GT, one.weight_GT[order], atol=1e-12)
    np.testing.assert_allclose(two.advantage_GT, one.advantage_GT[order], atol=1e-9)
    np.testing.assert_array_equal(two.mask_GT, one.mask_GT[order])
