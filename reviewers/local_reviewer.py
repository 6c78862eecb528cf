"""A language model in this process as a reviewer: who it is and how it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from dca.domain.errors import DcaError
from dca.domain.labels import LabelSet
from dca.domain.review import Abstention, Review, ReviewerInfo
from dca.domain.rollout import Rollout
from reviewers.calling import Calling
from reviewers.choose import dialogue_for
from reviewers.dialogue import ABSTENTION_ERRORS, Dialogue
from reviewers.exchange import Question, Reply
from reviewers.line import conduct
from reviewers.local_model import LocalModel
from reviewers.question import Asking


class LocalReviewer:
    """One model in this process; ``reviewers.vllm_inprocess`` and others make them.

    Whoever asks it enters it as an asynchronous context manager, so that the model is unloaded
    in the end; a panel does. Reviewers with the same model and engine share one loaded model.
    """

    def __init__(
        self,
        info: ReviewerInfo,
        model: LocalModel,
        *,
        asking: Asking,
        calling: Calling,
        settings: Mapping[str, object],
    ) -> None:
        """Describe the reviewer; nothing is loaded.

        Args:
            info: Name, kind, family and model; the settings are added here.
            model: Answers.
            asking: Protocol, outcome, labels and prompt.
            calling: Sampling and the longest reply; there are no timeouts and no retries.
            settings: What else changes answers.
        """
        self.asking = asking
        self.calling = calling
        self.info = replace(info, settings={**asking.settings, **calling.settings, **settings})
        self._model = model

    @property
    def prompt_digest(self) -> str:
        """Digest of the files of words that it is asked with."""
        return self.asking.prompt_digest

    @property
    def labels(self) -> LabelSet:
        """The labels that it may use."""
        return self.asking.labels

    @property
    def bundle(self) -> int:
        """Rollouts that are asked about together."""
        return self.asking.together

    @property
    def down(self) -> DcaError | None:
        """Why it answers nothing more; ``None`` while it works."""
        return self._model.down

    def dialogue(self, rollouts: Sequence[Rollout]) -> Dialogue:
        """Return what is to be said about ``rollouts``, at most ``bundle`` of them."""
        return dialogue_for(self, rollouts)

    async def __aenter__(self) -> Self:
        """Keep the model loaded from the first question on."""
        self._model.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the model go; the last one unloads it."""
        await self._model.close()

    async def ask(self, question: Question, *, begun: bool = False) -> Reply:
        """Put one question to the model.

        Args:
            question: What is asked.
            begun: Whether an earlier question of the same dialogue was answered; the same here.

        Raises:
            DcaError: As ``LocalModel.ask``.
        """
        del begun
        return await self._model.ask(question, self.calling)

    async def review(self, rollout: Rollout) -> Review:
        """Ask about ``rollout`` alone.

        Raises:
            ReviewError: No usable reply.
            ConfigError: The model cannot be loaded.
            MissingExtra: Its library is not installed.
        """
        async with self:
            (answer,) = await conduct(self.dialogue((rollout,)), self.ask)
        if isinstance(answer, Abstention):
            kind = ABSTENTION_ERRORS[answer.kind]
            raise kind(answer.reason, usage=answer.usage, raw=answer.raw)
        return answer
