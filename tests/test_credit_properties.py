"""What holds of deliberative credit whatever the group and the settings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.credit_groups import group_of, panel
from training.credit.deliberative import NOT_CONSERVED, deliberative
from training.credit.group import Group
from training.credit.grpo import grpo

GROUPS = st.integers(1, 5).flatmap(
    lambda g: st.integers(1, 12).flatmap(
        lambda t: st.tuples(
            st.lists(st.sampled_from([0.0, 1.0, 0.3, 0.6]), min_size=g, max_size=g),
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
    return group_of(rewards, sampled_GT, signal)


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


@given(GROUPS, SETTINGS)
def test_text_agreed_to_be_harmful_is_never_paid(drawn, settings) -> None:
    group = build(drawn)
    credit = deliberative(group, **{**settings, "success": "conserve"})

    assert group.panel is not None
    harmful_GT = group.panel.agreed_GT & (group.panel.value_GT < 0)
    assert not (credit.weight_GT * harmful_GT * (credit.advantage_GT > 0)).any()


@given(GROUPS, SETTINGS)
def test_only_successes_are_vetoed_and_unsound_ones_always(drawn, settings) -> None:
    group = build(drawn)
    credit = deliberative(group, **{**settings, "veto": True})

    assert group.panel is not None
    vetoed_G = group.panel.unsound_G & group.success_G
    assert credit.events["vetoed"].tolist() == vetoed_G.tolist()
    assert not credit.mask_GT[vetoed_G].any()
