"""Caps: whatever the order of events, what is spent and set aside never exceeds one."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from reviewers.budget import NANO, Budget, Caps, Cost, Verdict

COSTS = st.builds(Cost, st.integers(0, 3 * NANO), st.integers(0, 4_000))


def test_a_cap_is_met_to_the_nanodollar_and_never_exceeded() -> None:
    budget = Budget(Caps(dollars=0.1))

    assert budget.reserve(Cost(NANO // 10 + 1)) is Verdict.NEVER
    assert budget.reserve(Cost(NANO // 10)) is Verdict.GRANTED
    assert budget.reserve(Cost(1)) is Verdict.LATER
    budget.settle(Cost(NANO // 10), Cost(7))
    assert budget.reserve(Cost(NANO // 10 - 7)) is Verdict.GRANTED
    budget.keep(Cost(NANO // 10 - 7))

    assert budget.spent.nanodollars == NANO // 10
    assert budget.doubtful.nanodollars == NANO // 10 - 7
    assert budget.reserve(Cost(1)) is Verdict.NEVER
    assert budget.reserve(Cost(0, 10**9)) is Verdict.GRANTED  # Tokens have no cap here.


def test_which_cap_is_crossed_is_named() -> None:
    caps = Caps(dollars=1.0, tokens=10)

    assert caps.crossed(Cost(NANO + 1, 99)) == "dollars"
    assert caps.crossed(Cost(NANO, 11)) == "tokens"
    assert caps.crossed(Cost(NANO, 10)) == ""
    assert Caps().crossed(Cost(10**30, 10**30)) == ""
    assert (Cost(5, 3) - Cost(2, 1)) == Cost(3, 2)
    assert Cost(NANO // 4).dollars == 0.25


class Run(RuleBasedStateMachine):
    """Requests that are reserved, sent, settled, lost or never sent, in any order."""

    flying = Bundle("flying")

    def __init__(self) -> None:
        super().__init__()
        self.caps = Caps(dollars=5.0, tokens=9_000)
        self.budget = Budget(self.caps)
        self.open: list[Cost] = []
        self.charged = Cost()

    @rule(target=flying, worst=COSTS)
    def reserve(self, worst: Cost):
        fits_alone = not self.caps.crossed(self.budget.spent + worst)
        fits = not self.caps.crossed(self.budget.spent + self.budget.reserved + worst)

        verdict = self.budget.reserve(worst)

        assert (verdict is Verdict.NEVER) == (not fits_alone)
        assert (verdict is Verdict.GRANTED) == fits
        if verdict is Verdict.GRANTED:
            self.open.append(worst)
            return worst
        return None

    @rule(worst=consumes(flying), share=st.floats(0, 1))
    def answered(self, worst: Cost | None, share: float) -> None:
        if worst is not None:
            actual = Cost(int(worst.nanodollars * share), int(worst.tokens * share))
            self.budget.settle(worst, actual)
            self.open.remove(worst)
            self.charged = self.charged + actual

    @rule(worst=consumes(flying))
    def lost(self, worst: Cost | None) -> None:
        if worst is not None:
            self.budget.keep(worst)
            self.open.remove(worst)
            self.charged = self.charged + worst

    @rule(worst=consumes(flying))
    def never_sent(self, worst: Cost | None) -> None:
        if worst is not None:
            self.budget.settle(worst, Cost())
            self.open.remove(worst)

    @invariant()
    def within_the_caps(self) -> None:
        assert not self.caps.crossed(self.budget.spent + self.budget.reserved)

    @invariant()
    def the_books_agree(self) -> None:
        assert self.budget.reserved == sum(self.open, Cost())
        assert self.budget.spent == self.charged


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
