"""From configuration to reviewers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dca.config import Config
from dca.config.reviewers import (
    AnthropicReviewer,
    AskedReviewer,
    CompatibleReviewer,
    HumanReviewer,
    ModelReviewer,
    OpenAIReviewer,
    ReplayReviewer,
    RulesReviewer,
    Table,
    TransformersReviewer,
    VllmReviewer,
)
from dca.domain.consensus import ConsensusParams
from dca.domain.errors import ConfigError
from dca.pipeline.pricing import price_of
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.human import Human
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.protocol import Reviewer
from reviewers.question import Asking, Style
from reviewers.replay import Replay, load_recording
from reviewers.rules import RULES
from reviewers.schema import ReplyProtocol
from reviewers.transformers_inprocess import transformers_reviewer
from reviewers.vllm_inprocess import vllm_reviewer


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


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a panel is too small ever to agree."""

    reason: str
    hint: str
    """What to do about it."""


def shortage(reviewers: Sequence[Reviewer], params: ConsensusParams) -> Shortage | None:
    """Return what a panel lacks to agree on anything, ``None`` when it can.

    With fewer reviewers or families than a vote needs all text would be thin.
    """
    families = sorted({reviewer.info.family for reviewer in reviewers})
    if len(reviewers) < params.min_reviewers:
        alone = "one reviewer can agree with nobody"
        return Shortage(
            f"consensus.min_reviewers is {params.min_reviewers}, but the panel's reviewers are"
            f" {len(reviewers)}: "
            + (alone if len(reviewers) == 1 else "it could never agree on anything"),
            "name more reviewers in the panel, or set [consensus] min_reviewers ="
            f" {len(reviewers)}",
        )
    if len(families) < params.min_families:
        return Shortage(
            f"consensus.min_families is {params.min_families}, but the panel's families are"
            f" {len(families)} ({', '.join(families)}): it could never agree on anything",
            "add a reviewer of another family, or set [consensus] min_families ="
            f" {len(families)}: agreement within one family is weaker evidence",
        )
    return None


def check_panel(reviewers: Sequence[Reviewer], params: ConsensusParams) -> None:
    """Refuse to let a panel vote that is too small ever to agree.

    Raises:
        ConfigError: It has fewer reviewers or families than a vote needs.
    """
    lacks = shortage(reviewers, params)
    if lacks is not None:
        raise ConfigError(lacks.reason, hint=lacks.hint)


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
    return _BUILDERS[type(settings)](name, settings, config)


def _rules(name: str, settings: RulesReviewer, config: Config) -> Reviewer:
    rule = RULES[settings.rule]
    return rule(config.label_set, title=name, success_at=config.project.success_at)


def _openai(name: str, settings: OpenAIReviewer | CompatibleReviewer, config: Config) -> Reviewer:
    return openai_reviewer(
        name,
        _endpoint(settings, settings.base_url, settings.api_key_env, settings.response_format),
        family=settings.family,
        asking=_asking(settings, config),
        calling=_calling(settings),
        price=price_of(settings),
        kind=settings.kind,
        api=settings.api,
    )


def _anthropic(name: str, settings: AnthropicReviewer, config: Config) -> Reviewer:
    return anthropic_reviewer(
        name,
        _endpoint(settings, settings.base_url, settings.api_key_env, settings.response_format),
        family=settings.family,
        asking=_asking(settings, config),
        calling=_calling(settings),
        price=price_of(settings),
    )


def _replay(name: str, settings: ReplayReviewer, config: Config) -> Reviewer:
    recording = load_recording(Path(settings.path))
    return Replay(name, recording, family=settings.family or name, labels=config.label_set)


def _vllm(name: str, settings: VllmReviewer, config: Config) -> Reviewer:
    said = settings.engine.model_dump(exclude_none=True, exclude={"more"})
    sampled = {"top_p": settings.top_p, "seed": settings.seed}
    return vllm_reviewer(
        name,
        settings.model,
        family=settings.family,
        asking=_asking(settings, config),
        calling=Calling(
            max_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            extra={key: value for key, value in sampled.items() if value is not None},
        ),
        engine={**said, **settings.engine.more},
        grammar=settings.grammar,
    )


def _transformers(name: str, settings: TransformersReviewer, config: Config) -> Reviewer:
    return transformers_reviewer(
        name,
        settings.model,
        family=settings.family,
        asking=_asking(settings, config),
        calling=Calling(max_tokens=settings.max_output_tokens, temperature=settings.temperature),
        engine=settings.engine.model_dump(exclude_none=True),
        batch=settings.batch,
    )


def _human(name: str, settings: HumanReviewer, config: Config) -> Reviewer:
    return Human(
        name,
        family=settings.family or name,
        labels=config.label_set,
        blind=settings.outcome == "blind",
        success_at=config.project.success_at,
    )


def _endpoint(
    settings: ModelReviewer, base_url: str | None, key: str | None, form: str
) -> Endpoint:
    """Return where a model answers."""
    return Endpoint(settings.model, base_url, key, ResponseFormat(form))


def _asking(settings: AskedReviewer, config: Config) -> Asking:
    """Return how a model is asked."""
    return Asking(
        protocol=ReplyProtocol(settings.protocol),
        blind=settings.outcome == "blind",
        success_at=config.project.success_at,
        labels=config.label_set,
        style=Style(settings.style),
        persona=settings.persona,
        examples=settings.examples,
        together=settings.rollouts_per_request,
        context_tokens=settings.context_tokens,
    )


def _calling(settings: ModelReviewer) -> Calling:
    """Return how a model is called."""
    return Calling(
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        effort=settings.effort,
        extra=settings.extra,
        timeout=settings.timeout,
        attempts=settings.retries + 1,
        concurrency=settings.concurrency,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
    )


_BUILDERS: Mapping[type[Table], Callable[[str, Any, Config], Reviewer]] = {
    RulesReviewer: _rules,
    OpenAIReviewer: _openai,
    CompatibleReviewer: _openai,
    AnthropicReviewer: _anthropic,
    VllmReviewer: _vllm,
    TransformersReviewer: _transformers,
    ReplayReviewer: _replay,
    HumanReviewer: _human,
}
"""Kind of settings to what builds the reviewer; each takes just its own kind."""
