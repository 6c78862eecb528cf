"""From configuration to reviewers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dca.config import Config
from dca.config.reviewers import (
    AnthropicReviewer,
    CompatibleReviewer,
    ModelReviewer,
    OpenAIReviewer,
    ReplayReviewer,
    RulesReviewer,
    Table,
)
from dca.domain.consensus import ConsensusParams
from dca.domain.errors import ConfigError
from dca.domain.labels import LabelSet
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.protocol import Reviewer
from reviewers.question import Asking
from reviewers.replay import Replay, load_recording
from reviewers.rules import RULES
from reviewers.schema import ReplyProtocol


def build_panel(config: Config, name: str) -> tuple[Reviewer, ...]:
    """Return the reviewers of a configured panel, ready but with nothing opened.

    Raises:
        ConfigError: There is no such panel or reviewer, or its settings do not fit together.
        FormatError: The recording of a replay reviewer cannot be read.
    """
    if name not in config.panels:
        raise ConfigError(
            f"there is no panel {name!r}",
            hint=f"the panels are {', '.join(sorted(config.panels))}",
        )
    return tuple(build_reviewer(config, member) for member in config.panels[name].reviewers)


def check_panel(reviewers: Sequence[Reviewer], params: ConsensusParams) -> None:
    """Refuse a panel that is too small ever to agree, before anybody is asked.

    Raises:
        ConfigError: It has fewer reviewers or families than a vote needs; all text would be thin.
    """
    families = sorted({reviewer.info.family for reviewer in reviewers})
    if len(reviewers) < params.min_reviewers:
        raise ConfigError(
            f"consensus.min_reviewers is {params.min_reviewers}, but the panel's reviewers are"
            f" {len(reviewers)}: it could never agree on anything",
            hint=f"name more reviewers in the panel, or set [consensus] min_reviewers ="
            f" {len(reviewers)}",
        )
    if len(families) < params.min_families:
        raise ConfigError(
            f"consensus.min_families is {params.min_families}, but the panel's families are"
            f" {len(families)} ({', '.join(families)}): it could never agree on anything",
            hint="add a reviewer of another family, or set [consensus] min_families ="
            f" {len(families)}: agreement within one family is weaker evidence",
        )


def build_reviewer(config: Config, name: str) -> Reviewer:
    """Return one configured reviewer.

    Raises:
        ConfigError: There is no such reviewer, or its settings do not fit together.
        FormatError: The recording of a replay reviewer cannot be read.
    """
    if name not in config.reviewers:
        raise ConfigError(
            f"there is no reviewer {name!r}",
            hint=f"the reviewers are {', '.join(sorted(config.reviewers))}",
        )
    settings = config.reviewers[name]
    return _BUILDERS[type(settings)](name, settings, config.label_set)


def _rules(name: str, settings: RulesReviewer, labels: LabelSet) -> Reviewer:
    return RULES[settings.rule](labels, title=name)


def _openai(
    name: str, settings: OpenAIReviewer | CompatibleReviewer, labels: LabelSet
) -> Reviewer:
    from reviewers.openai_chat import OpenAIChat  # noqa: PLC0415 - its SDK takes a second to load

    return OpenAIChat(
        name,
        _endpoint(settings, settings.base_url, settings.api_key_env, settings.response_format),
        family=settings.family,
        asking=_asking(settings, labels),
        calling=_calling(settings),
        kind=settings.kind,
    )


def _anthropic(name: str, settings: AnthropicReviewer, labels: LabelSet) -> Reviewer:
    from reviewers.anthropic_messages import AnthropicMessages  # noqa: PLC0415 - the same

    return AnthropicMessages(
        name,
        _endpoint(settings, settings.base_url, settings.api_key_env, settings.response_format),
        family=settings.family,
        asking=_asking(settings, labels),
        calling=_calling(settings),
    )


def _replay(name: str, settings: ReplayReviewer, labels: LabelSet) -> Reviewer:
    recording = load_recording(Path(settings.path))
    return Replay(name, recording, family=settings.family or name, labels=labels)


def _endpoint(
    settings: ModelReviewer, base_url: str | None, key: str | None, form: str
) -> Endpoint:
    """Return where a model answers."""
    return Endpoint(settings.model, base_url, key, ResponseFormat(form))


def _asking(settings: ModelReviewer, labels: LabelSet) -> Asking:
    """Return how a model is asked."""
    return Asking(
        protocol=ReplyProtocol(settings.protocol),
        blind=settings.outcome == "blind",
        labels=labels,
    )


def _calling(settings: ModelReviewer) -> Calling:
    """Return how a model is called."""
    return Calling(
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        effort=settings.effort,
        timeout=settings.timeout,
        attempts=settings.retries + 1,
    )


_BUILDERS: Mapping[type[Table], Callable[[str, Any, LabelSet], Reviewer]] = {
    RulesReviewer: _rules,
    OpenAIReviewer: _openai,
    CompatibleReviewer: _openai,
    AnthropicReviewer: _anthropic,
    ReplayReviewer: _replay,
}
"""Kind of settings to what builds the reviewer; each takes just its own kind."""
