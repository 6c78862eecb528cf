"""One dialogue on its way, carried by whatever brings a reply some day: pure.

Dialogues are deterministic: told the same replies, one asks the same questions. So a dialogue
needs no memory between two runs but the replies that it has got, see ``reviewers.dialogue``.
"""

from collections.abc import Callable

from dca.domain.errors import ReplyInvalid, ReviewError, ReviewerUnavailable
from dca.domain.review import Answer
from reviewers.dialogue import Dialogue
from reviewers.exchange import Question, Reply


class Course:
    """Where a dialogue stands: at a question, or at its answers."""

    def __init__(self, dialogue: Dialogue) -> None:
        """Go to the first question; some dialogues have none."""
        self.turn = 0
        """Number of the question that it stands at, from 1."""
        self.answers: tuple[Answer, ...] | None = None
        """Its answers, once it is at its end."""
        self._dialogue = dialogue
        self._question: Question | None = None
        self._go(lambda: next(dialogue))

    @property
    def ended(self) -> bool:
        """Whether it has come to its answers."""
        return self.answers is not None

    @property
    def question(self) -> Question:
        """The question that it stands at; it must not have ended."""
        if self._question is None:
            raise AssertionError("a dialogue that has ended asks nothing")
        return self._question

    def hear(self, reply: Reply) -> None:
        """Go on with a reply."""
        self._go(lambda: self._dialogue.send(reply))

    def fail(self, error: ReviewError) -> None:
        """Go on without a reply."""
        self._go(lambda: self._dialogue.throw(error))

    def end(self, why: str) -> tuple[Answer, ...]:
        """Ask nothing more and return the answers.

        A dialogue that stands at a repair turn ends with what was wrong with the reply.

        Args:
            why: Why no reply will come.
        """
        while self.answers is None:
            flaw = self.question.flaw
            self.fail(ReplyInvalid(flaw) if flaw else ReviewerUnavailable(why))
        return self.answers

    def _go(self, step: Callable[[], Question]) -> None:
        self.turn += 1
        try:
            self._question = step()
        except StopIteration as end:
            self._question = None
            self.answers = end.value
