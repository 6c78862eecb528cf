"""Reviewers behind OpenAI's chat completions: OpenAI itself and every compatible server.

The official SDK does authentication, connections and errors; it neither retries nor builds
response models here. The body is decoded once, by the few fields that are needed.
"""

from collections.abc import Mapping
from typing import Literal, cast

import msgspec
import openai
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

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
    "stop": Ended.COMPLETE,
    "length": Ended.TRUNCATED,
    "content_filter": Ended.REFUSED,
    None: Ended.COMPLETE,
}
"""Every other finish reason is no end of a reply in text."""


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Completion)


class OpenAIChat(SdkReviewer[openai.AsyncOpenAI]):
    """One model that speaks chat completions."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        family: str = "",
        asking: Asking | None = None,
        calling: Calling | None = None,
        kind: Literal["openai", "openai-compatible"] | None = None,
    ) -> None:
        """Describe the reviewer; see ``SdkReviewer``.

        Args:
            name: Name in the configuration, unique in a panel.
            endpoint: Model, address, variable of the key, way to ask for JSON.
            family: Base model or provider; by default the kind for OpenAI, else the model.
            asking: How the model is asked.
            calling: How the model is called.
            kind: ``None``: ``openai`` at OpenAI's own address, else ``openai-compatible``.
        """
        self._kind = kind or ("openai" if endpoint.base_url is None else "openai-compatible")
        default = self._kind if self._kind == "openai" else endpoint.model
        info = ReviewerInfo(name, self._kind, family or default, endpoint.model)
        super().__init__(info, endpoint, asking, calling)

    def _connect(self) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            # Without an explicit key the SDK would take OpenAI's from the environment and send it
            # to whatever server this is.
            api_key=self._key or "none",
            base_url=self.endpoint.base_url,
            timeout=self.calling.timeout,
            max_retries=0,
        )
        if self._kind != "openai":
            # Likewise OpenAI's organization and project, which the SDK has just read.
            client.organization = None
            client.project = None
        return client

    async def _send(self, client: openai.AsyncOpenAI, question: Question) -> Reply | Fault:
        try:
            response = await client.chat.completions.with_raw_response.create(
                **self._request(question), extra_body=dict(self.calling.extra) or None
            )
        except openai.APIStatusError as error:
            answer = error.response
            return status_fault(answer.status_code, answer.headers, answer.text, secret=self._key)
        except openai.APIError as error:
            return Fault(redact(str(error), self._key))
        answer = response.http_response
        try:
            return _reply(_DECODER.decode(answer.content))
        except msgspec.DecodeError:
            return strange_body(answer.status_code, answer.headers, answer.text, secret=self._key)

    def _request(self, question: Question) -> CompletionCreateParamsNonStreaming:
        """Return the body of the request."""
        messages = question.messages
        # Compatible servers know the older name of the limit; OpenAI's reasoning models only
        # the newer one.
        limit = "max_completion_tokens" if self._kind == "openai" else "max_tokens"
        body: dict[str, object] = {
            "model": self.endpoint.model,
            "messages": [
                {"role": "system", "content": messages.system},
                {"role": "user", "content": messages.user},
            ],
            limit: self.calling.max_tokens,
            "response_format": self._format(question),
            "temperature": self.calling.temperature,
            "reasoning_effort": self.calling.effort,
        }
        given = {key: value for key, value in body.items() if value is not None}
        return cast("CompletionCreateParamsNonStreaming", given)

    def _format(self, question: Question) -> Mapping[str, object] | None:
        """Return how JSON is asked for, ``None`` when it is not."""
        how = self.endpoint.response_format
        if how is ResponseFormat.NONE:
            return None
        if how is ResponseFormat.JSON_OBJECT:
            return {"type": "json_object"}
        schema = reply_schema(question.form, bounded=True)
        named = {"name": "review", "schema": schema, "strict": True}
        return {"type": "json_schema", "json_schema": named}


def _reply(completion: _Completion) -> Reply:
    """Return what a decoded body says; its usage counts even where there is no text."""
    usage = _usage(completion.usage or _Usage())
    if not completion.choices:
        return Reply("", Ended.OTHER, "no choices", usage)
    choice = completion.choices[0]
    text, refusal = choice.message.content or "", choice.message.refusal
    if refusal:
        return Reply(text or refusal, Ended.REFUSED, refusal, usage)
    reason = choice.finish_reason
    return Reply(text, _ENDED.get(reason, Ended.OTHER), reason or "no finish reason", usage)


def _usage(said: _Usage) -> Usage:
    """Return the usage in our words."""
    taken, given = said.prompt_tokens_details, said.completion_tokens_details
    return Usage(
        input_tokens=said.prompt_tokens,
        output_tokens=said.completion_tokens,
        reasoning_tokens=given.reasoning_tokens if given else None,
        cached_tokens=taken.cached_tokens if taken else None,
    )
