"""Every assigner by name. To add one: a file beside this one, a line here, a hand-worked test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dca.domain.errors import CreditError
from training.credit.credit import Credit
from training.credit.deliberative import deliberative
from training.credit.group import Group
from training.credit.grpo import grpo
from training.credit.uniform import uniform


@dataclass(frozen=True, slots=True)
class Assigner:
    """A named function from a group to credit."""

    assign: Callable[..., Credit]
    """``assign(group, **settings)``; raises ``MissingInput`` when the group lacks an input."""
    needs: tuple[str, ...] = ()
    """Inputs beyond the rewards, as users name them."""
    source: str = ""
    """Where the formula comes from."""
    settings: tuple[str, ...] = field(default=())
    """Names of the keyword arguments that it takes."""


ASSIGNERS: Mapping[str, Assigner] = {
    "uniform": Assigner(uniform, source="REINFORCE with the group mean as baseline"),
    "grpo": Assigner(grpo, source="arXiv 2402.03300"),
    "deliberative": Assigner(
        deliberative,
        needs=("consensus",),
        source="this project",
        settings=("success", "failure", "veto", "confidence", "cap", "unagreed"),
    ),
}


def assign(method: str, group: Group, settings: Mapping[str, object]) -> Credit:
    """Return the credit of ``method``; settings that it does not take are ignored.

    Raises:
        CreditError: There is no such method.
        MissingInput: The group lacks an input that the method needs.
    """
    if method not in ASSIGNERS:
        known = ", ".join(ASSIGNERS)
        raise CreditError(f"no credit method {method!r}", hint=f"the methods are {known}")
    chosen = ASSIGNERS[method]
    taken = {name: value for name, value in settings.items() if name in chosen.settings}
    return chosen.assign(group, **taken)
