"""Small groups for the tests of credit."""

import numpy as np

from training.credit.credit import Credit
from training.credit.group import NO_SPAN, Group, PanelSignal


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


def group_of(rewards, sampled_GT, signal: PanelSignal | None = None, *, at=0.5) -> Group:
    """Rollouts with these rewards, of which those of at least ``at`` are successes."""
    reward_G = np.array(rewards)
    return Group(reward_G, reward_G >= at, np.array(sampled_GT, dtype=bool), signal)


def pair(signal: PanelSignal, *, rewards=(1.0, 0.0), padding: int = 0) -> Group:
    """A winner and a loser."""
    sampled_GT = np.ones(signal.value_GT.shape, dtype=bool)
    if padding:
        sampled_GT[:, -padding:] = False
    return group_of(rewards, sampled_GT, signal)


def factors(credit: Credit, rollout: int) -> list[float]:
    return credit.weight_GT[rollout].round(6).tolist()
