"""Reviewers behind Anthropic's messages, or a server that speaks them.

The official SDK does authentication, connections and errors; it neither retries nor builds
response models here. The body is decoded once, by the few fields that are needed.
"""

from typing import cast

import anthropic
import msgspec
from anthropic.types import OutputConfigParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from dca.domain.errors import ConfigError
from dca.domain.review import ReviewerInfo, Usage
from reviewers.calling import (
    Calling,
    Ended,
    Fault,
    Reply,
    redact,
    status_fault,
    strange_body,
)
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.question import Asking, Question
from reviewers.schema import reply_schema
from reviewers.sdk_reviewer import SdkReviewer

_ENDED = {
    "end_turn": Ended.COMPLETE,
    "stop_sequence": Ended.COMPLETE,
    "max_tokens": Ended.TRUNCATED,
    "model_context_window_exceeded": Ended.TRUNCATED,
    "refusal": Ended.REFUSED,
    None: Ended.COMPLETE,
}
"""Every other stop reason is no end of a reply in text."""


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _StopDetails(msgspec.Struct):
    explanation: str | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Message)


class AnthropicMessages(SdkReviewer[anthropic.AsyncAnthropic]):
    """One model that speaks messages."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        family: str = "anthropic",
        asking: Asking | None = None,
        calling: Calling | None = None,
    ) -> None:
        """Describe the reviewer; see ``SdkReviewer``.

        Args:
            name: Name in the configuration, unique in a panel.
            endpoint: Model, address, variable of the key, way to ask for JSON.
            family: Base model or provider.
            asking: How the model is asked.
            calling: How the model is called.

        Raises:
            ConfigError: ``json_object`` is asked for, which messages do not know.
        """
        if endpoint.response_format is ResponseFormat.JSON_OBJECT:
            raise ConfigError(
                f"reviewer {name!r}: messages know no json_object",
                hint='Set response_format to "json_schema" or "none".',
            )
        info = ReviewerInfo(name, "anthropic", family, endpoint.model)
        super().__init__(info, endpoint, asking, calling)

    def _connect(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            # An explicit key keeps the SDK from looking for credentials of its own.
            api_key=self._key or "none",
            base_url=self.endpoint.base_url,
            timeout=self.calling.timeout,
            max_retries=0,
        )

    async def _send(self, client: anthropic.AsyncAnthropic, question: Question) -> Reply | Fault:
        # The SDK has no parameter for the temperature any more; the API still reads the field.
        extra = {**self._sampling(), **self.calling.extra}
        try:
            response = await client.messages.with_raw_response.create(
                **self._request(question), extra_body=extra or None
            )
        except anthropic.APIStatusError as error:
            answer = error.response
            return status_fault(answer.status_code, answer.headers, answer.text, secret=self._key)
        except anthropic.APIError as error:
            return Fault(redact(str(error), self._key))
        answer = response.http_response
        try:
            return _reply(_DECODER.decode(answer.content))
        except msgspec.DecodeError:
            return strange_body(answer.status_code, answer.headers, answer.text, secret=self._key)

    def _sampling(self) -> dict[str, object]:
        """Return the sampling parameters that are set."""
        heat = self.calling.temperature
        return {} if heat is None else {"temperature": heat}

    def _request(self, question: Question) -> MessageCreateParamsNonStreaming:
        """Return the body of the request."""
        output: dict[str, object] = {}
        if self.calling.effort is not None:
            output["effort"] = self.calling.effort
        if self.endpoint.response_format is ResponseFormat.JSON_SCHEMA:
            schema = reply_schema(question.form, bounded=False)
            output["format"] = {"type": "json_schema", "schema": schema}
        request: MessageCreateParamsNonStreaming = {
            "model": self.endpoint.model,
            "max_tokens": self.calling.max_tokens,
            "system": question.messages.system,
            "messages": [{"role": "user", "content": question.messages.user}],
        }
        if output:
            request["output_config"] = cast("OutputConfigParam", output)
        return request


def _reply(message: _Message) -> Reply:
    """Return what a decoded body says; hidden thinking is no part of the text."""
    text = "".join(block.text for block in message.content if block.type == "text")
    reason = message.stop_reason
    ended = _ENDED.get(reason, Ended.OTHER)
    details = message.stop_details
    detail = (details.explanation if details else None) or reason or "no stop reason"
    return Reply(text, ended, detail, _usage(message.usage or _Usage()))


def _usage(said: _Usage) -> Usage:
    """Return the usage in our words: the input counts what was cached and what was not."""
    parts = (said.input_tokens, said.cache_creation_input_tokens, said.cache_read_input_tokens)
    known = [part for part in parts if part is not None]
    details = said.output_tokens_details
    return Usage(
        input_tokens=sum(known) if known else None,
        output_tokens=said.output_tokens,
        reasoning_tokens=details.thinking_tokens if details else None,
        cached_tokens=said.cache_read_input_tokens,
    )
