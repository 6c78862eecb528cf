"""The offline panel: four reviewers that follow written rules and need nothing installed.

A new rule is one file with a pure ``read`` function and a class, one line in ``RULES``, and tests
with spans written out by hand.
"""

from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.rollout import SUCCESS_AT
from reviewers.protocol import Reviewer
from reviewers.rules.arithmetic import Arithmetic
from reviewers.rules.dataflow import Dataflow
from reviewers.rules.novelty import Novelty
from reviewers.rules.reading import RuleReviewer
from reviewers.rules.revision import Revision

RULES: dict[str, type[RuleReviewer]] = {
    "arithmetic": Arithmetic,
    "dataflow": Dataflow,
    "revision": Revision,
    "novelty": Novelty,
}
"""Every rule by its name."""


def offline_panel(
    labels: LabelSet = CONTRIBUTION_V1, *, success_at: float = SUCCESS_AT
) -> tuple[Reviewer, ...]:
    """Return one reviewer of each rule; raise ``ConfigError`` when a label is missing."""
    return tuple(rule(labels, success_at=success_at) for rule in RULES.values())
