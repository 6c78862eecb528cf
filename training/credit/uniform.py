"""Uniform credit: REINFORCE with the group's mean reward as the baseline."""

from training.credit.baseline import centre
from training.credit.credit import Credit, spread
from training.credit.group import Group


def uniform(group: Group) -> Credit:
    """Return ``R_i - mean R`` on every token of rollout i.

    Williams 1992, with the mean of the group as the baseline. Without GRPO's division by the
    standard deviation (Dr.GRPO, arXiv 2503.20783), so prompts of any difficulty count alike.
    """
    return spread(centre(group.reward_G), group.sampled_GT)
