"""Model reviewers by provider: which dialect, which kind, which family."""

from typing import Literal

from dca.domain.errors import ConfigError
from dca.domain.review import ReviewerInfo
from reviewers.calling import Calling
from reviewers.dialects.anthropic_messages import AnthropicMessages
from reviewers.dialects.openai_chat import OpenAIChat
from reviewers.dialects.openai_responses import OpenAIResponses
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.model_reviewer import ModelReviewer
from reviewers.prices import Price
from reviewers.question import Asking

OpenAIKind = Literal["openai", "openai-compatible"]


def openai_reviewer(
    name: str,
    endpoint: Endpoint,
    *,
    family: str = "",
    asking: Asking | None = None,
    calling: Calling | None = None,
    price: Price | None = None,
    kind: OpenAIKind | None = None,
    api: Literal["chat", "responses"] = "chat",
) -> ModelReviewer:
    """Return a model of OpenAI, or behind any server that speaks its protocol.

    Args:
        name: Name in the configuration, unique in a panel.
        endpoint: Model, address, variable of the key, way to ask for JSON.
        family: Base model or provider; by default the kind for OpenAI, else the model.
        asking: How the model is asked.
        calling: How the model is called.
        price: What a token costs; ``None``: not known.
        kind: ``None``: ``openai`` at OpenAI's own address, else ``openai-compatible``.
        api: ``chat`` completions, or ``responses``.
    """
    kind = kind or ("openai" if endpoint.base_url is None else "openai-compatible")
    compatible = kind != "openai"
    dialect = OpenAIChat(compatible) if api == "chat" else OpenAIResponses(compatible)
    settings = {} if api == "chat" else {"api": api}
    family = family or (endpoint.model if compatible else kind)
    info = ReviewerInfo(name, kind, family, endpoint.model, settings)
    return ModelReviewer(info, endpoint, dialect, asking=asking, calling=calling, price=price)


def anthropic_reviewer(
    name: str,
    endpoint: Endpoint,
    *,
    family: str = "anthropic",
    asking: Asking | None = None,
    calling: Calling | None = None,
    price: Price | None = None,
) -> ModelReviewer:
    """Return a model of Anthropic, or behind a server that speaks messages.

    Args:
        name: Name in the configuration, unique in a panel.
        endpoint: Model, address, variable of the key, way to ask for JSON.
        family: Base model or provider.
        asking: How the model is asked.
        calling: How the model is called.
        price: What a token costs; ``None``: not known.

    Raises:
        ConfigError: ``json_object`` is asked for, which messages do not know.
    """
    if endpoint.response_format is ResponseFormat.JSON_OBJECT:
        raise ConfigError(
            f"reviewer {name!r}: messages know no json_object",
            hint='Set response_format to "json_schema" or "none".',
        )
    info = ReviewerInfo(name, "anthropic", family, endpoint.model)
    return ModelReviewer(
        info, endpoint, AnthropicMessages(), asking=asking, calling=calling, price=price
    )
