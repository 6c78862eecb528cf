"""Three attempts at one sum for the tests of the pipeline: right, wrong, and right by luck."""

from dca.domain.rollout import Message, Rollout
from store.engine import transaction
from store.rollouts import add_rollouts

RIGHT = "3 bags hold 3 * 4 = 12 apples.\nTwo are eaten: 12 - 2 = 10.\nAnswer: 10"
WRONG = "3 bags hold 3 * 4 = 14 apples.\nTwo are eaten: 14 - 2 = 12.\nAnswer: 12"
LUCKY = "3 bags hold 3 * 4 = 13 apples.\nTwo are eaten: 13 - 2 = 10.\nAnswer: 10"
PROMPT = (Message("user", "3 bags hold 4 apples each. Two are eaten. How many are left?"),)


def rollout(name: str, text: str, reward: float | None, **rest) -> Rollout:
    return Rollout(name * 20, "apples", "sums", PROMPT, text, reward, model="m", **rest)


def fill(engine, *more: Rollout) -> None:
    rollouts = [rollout("a", RIGHT, 1.0), rollout("b", WRONG, 0.0), rollout("c", LUCKY, 1.0)]
    with transaction(engine) as session:
        add_rollouts(session, [*rollouts, *more])
