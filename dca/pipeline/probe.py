"""Whether reviewers answer: each is asked about one tiny rollout, nothing is stored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from dca.domain.errors import DcaError
from dca.domain.review import Abstention, Answer, Usage
from dca.domain.rollout import Message, Rollout
from dca.pipeline.bridge import wait_for
from reviewers.panel import convene
from reviewers.protocol import Reviewer

TINY = Rollout(
    id="0" * 20,
    group_id="0" * 20,
    task="probe",
    prompt=(Message("user", "What is 2 + 2?"),),
    completion="2 + 2 = 4.",
    reward=1.0,
    truth="4",
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking one reviewer."""

    reviewer: str
    fault: str
    """Why it gave no review; ``""`` when it did."""
    usage: Usage = field(default_factory=Usage)


def probe(reviewers: Sequence[Reviewer]) -> list[Probe]:
    """Ask every reviewer once, all at the same time."""
    return wait_for(_probe_all(reviewers))


async def _probe_all(reviewers: Sequence[Reviewer]) -> list[Probe]:
    return list(await asyncio.gather(*(_probe(reviewer) for reviewer in reviewers)))


async def _probe(reviewer: Reviewer) -> Probe:
    answers: list[Answer] = []
    try:
        await convene([reviewer], [TINY], concurrency=1, on_answer=answers.append)
    except DcaError as error:
        return Probe(reviewer.info.name, str(error))
    answer = answers[0]
    fault = answer.reason if isinstance(answer, Abstention) else ""
    return Probe(reviewer.info.name, fault, answer.usage)
