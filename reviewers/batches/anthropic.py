"""Anthropic's batches of messages: one request that holds all, one stream of results."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO

import anthropic
import msgspec
from anthropic.types.messages import MessageBatch

from dca.domain.errors import DcaError
from reviewers.batches.lines import read_id, read_result
from reviewers.batches.service import (
    READS,
    SKEW,
    Found,
    Frame,
    Limits,
    Look,
    RequestFile,
    Sent,
    Stage,
    refusal,
    sent_or_none,
)
from reviewers.endpoint import Endpoint

_PATH = "/v1/messages/batches"
_PART = 1 << 20


class AnthropicBatches:
    """The batch API for one model and key.

    A batch has no metadata there, and its requests are only seen when it has ended: that a batch
    is ours shows in the ``custom_id`` of its results.
    """

    limits = Limits(100_000, 256_000_000)
    frame = Frame(b'{"requests":[', b",", b"]}")

    def __init__(self, name: str, endpoint: Endpoint, dialect: str, secret: str) -> None:
        """Prepare; nothing is sent.

        Args:
            name: Of the reviewer.
            endpoint: Where the API is.
            dialect: Name of the dialect of its requests; there is only one.
            secret: The key.
        """
        del dialect
        self._name = name
        self._secret = secret
        # An explicit key keeps the SDK from looking for credentials of its own.
        self._once = anthropic.Anthropic(
            api_key=secret or "none", base_url=endpoint.base_url, max_retries=0
        )
        self._client = self._once.with_options(max_retries=READS)

    def submit(self, batch: str, file: RequestFile) -> Sent:
        """Create a batch."""
        del batch  # It stands in every custom_id.
        try:
            # As bytes from the disk: the SDK's own way would build all requests in memory again.
            created = self._once.post(
                _PATH,
                cast_to=MessageBatch,
                content=file.whole(),
                options={"headers": {"content-type": "application/json"}},
            )
        except anthropic.APIError as error:
            sent = sent_or_none(_status(error), error.message, self._secret)
            if sent is None:
                raise self._refusal(error) from None
            return sent
        return Sent(created.id)

    def find(self, batch: str, since: datetime, requests: int, known: frozenset[str]) -> Found:
        """Look through the results of unknown batches with as many requests."""
        perhaps = False
        with self._speaking():
            for each in self._client.messages.batches.list(limit=100):
                if each.created_at < since - SKEW:
                    break
                if each.id in known or _total(each) != requests:
                    continue
                if each.processing_status != "ended":
                    perhaps = True
                elif self._is_ours(each.id, batch):
                    return Found(each.id)
        return Found(perhaps=perhaps)

    def _is_ours(self, remote: str, batch: str) -> bool:
        """Tell whether the first result of a batch names our id."""
        head = b""
        with self._client.messages.batches.with_streaming_response.results(remote) as lines:
            for part in lines.iter_bytes(_PART):
                head += part
                if b"\n" in part:
                    break
        try:
            found = read_id(read_result(head.split(b"\n", 1)[0]).custom_id)
        except msgspec.MsgspecError:
            return False
        return found is not None and found.batch == batch

    def look(self, remote: str) -> Look:
        """Return how far a batch is; how many requests are done is only said at the end."""
        with self._speaking():
            try:
                batch = self._client.messages.batches.retrieve(remote)
            except anthropic.NotFoundError:
                return Look(Stage.FAILED, message="the provider knows this batch no more")
        if batch.processing_status != "ended":
            return Look(Stage.OPEN)
        if batch.results_url is None:
            return Look(Stage.FAILED, message="the provider keeps its results no more")
        stopped = batch.cancel_initiated_at is not None
        return Look(Stage.ENDED, _total(batch), stopped=stopped)

    def results(self, remote: str, into: BinaryIO) -> None:
        """Write the stream of results."""
        with (
            self._speaking(),
            self._client.messages.batches.with_streaming_response.results(remote) as lines,
        ):
            into.writelines(lines.iter_bytes(_PART))

    def cancel(self, remote: str) -> None:
        """Ask for a batch to be stopped."""
        with self._speaking():
            try:
                self._client.messages.batches.cancel(remote)
            except anthropic.APIStatusError as error:
                if error.status_code not in (400, 404, 409):
                    raise

    def close(self) -> None:
        """Close the connections, which both clients share."""
        self._once.close()

    @contextmanager
    def _speaking(self) -> Generator[None, None, None]:
        """Turn the SDK's errors into ours."""
        try:
            yield
        except anthropic.APIError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: anthropic.APIError) -> DcaError:
        return refusal(self._name, _status(error), error.message, self._secret)


def _status(error: anthropic.APIError) -> int | None:
    return error.status_code if isinstance(error, anthropic.APIStatusError) else None


def _total(batch: MessageBatch) -> int:
    counts = batch.request_counts
    done = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return done + counts.processing
