"""OpenAI's batches: a file of requests goes up, files of results and errors come back."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import BinaryIO, Literal, cast

import openai
from openai.types import Batch

from dca.domain.errors import DcaError
from reviewers.batches.lines import PATHS
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

MARK = "dca_batch"
"""Key of our id in a batch's metadata."""
_ENDED = frozenset({"completed", "expired", "cancelled"})
_PART = 1 << 20
_Path = Literal["/v1/chat/completions", "/v1/responses"]


class OpenAIBatches:
    """The batch API for one model and key."""

    limits = Limits(50_000, 200_000_000)
    frame = Frame(b"", b"\n", b"\n")

    def __init__(self, name: str, endpoint: Endpoint, dialect: str, secret: str) -> None:
        """Prepare; nothing is sent.

        Args:
            name: Of the reviewer.
            endpoint: Where the API is.
            dialect: Name of the dialect of its requests.
            secret: The key.
        """
        self._name = name
        self._path: _Path = cast("_Path", PATHS[dialect])
        self._secret = secret
        # An explicit key keeps the SDK from looking for another.
        self._once = openai.OpenAI(
            api_key=secret or "none", base_url=endpoint.base_url, max_retries=0
        )
        self._client = self._once.with_options(max_retries=READS)

    def submit(self, batch: str, file: RequestFile) -> Sent:
        """Upload the file and create a batch."""
        with self._speaking():
            upload = (f"dca-{batch}.jsonl", file.whole(), "application/jsonl")
            stored = self._client.files.create(file=upload, purpose="batch")
        try:
            created = self._once.batches.create(
                input_file_id=stored.id,
                endpoint=self._path,
                completion_window="24h",
                metadata={MARK: batch},
            )
        except openai.APIError as error:
            sent = sent_or_none(_status(error), error.message, self._secret)
            if sent is None:
                raise self._refusal(error) from None
            return sent
        return Sent(created.id)

    def find(self, batch: str, since: datetime, requests: int, known: frozenset[str]) -> Found:
        """Look for the batch whose metadata holds our id."""
        del requests, known  # The metadata says it all.
        oldest = (since - SKEW).timestamp()
        with self._speaking():
            for each in self._client.batches.list(limit=100):
                if (each.metadata or {}).get(MARK) == batch:
                    return Found(each.id)
                if each.created_at < oldest:
                    break
        return Found()

    def look(self, remote: str) -> Look:
        """Return how far a batch is."""
        with self._speaking():
            try:
                batch = self._client.batches.retrieve(remote)
            except openai.NotFoundError:
                return Look(Stage.FAILED, message="the provider knows this batch no more")
        counts = batch.request_counts
        done = counts.completed + counts.failed if counts else 0
        if batch.status == "failed":
            return _failed(batch)
        if batch.status in _ENDED:
            return Look(Stage.ENDED, done, stopped=batch.status == "cancelled")
        return Look(Stage.OPEN, done)

    def results(self, remote: str, into: BinaryIO) -> None:
        """Write both files of results."""
        with self._speaking():
            batch = self._client.batches.retrieve(remote)
            for file in (batch.output_file_id, batch.error_file_id):
                # A file that is kept no more leaves its requests without a result.
                with suppress(openai.NotFoundError):
                    if file is not None:
                        self._copy(file, into)

    def _copy(self, file: str, into: BinaryIO) -> None:
        with self._client.files.with_streaming_response.content(file) as content:
            into.writelines(content.iter_bytes(_PART))

    def cancel(self, remote: str) -> None:
        """Ask for a batch to be stopped."""
        with self._speaking():
            try:
                self._client.batches.cancel(remote)
            except openai.APIStatusError as error:
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
        except openai.APIError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: openai.APIError) -> DcaError:
        return refusal(self._name, _status(error), error.message, self._secret)


def _status(error: openai.APIError) -> int | None:
    return error.status_code if isinstance(error, openai.APIStatusError) else None


def _failed(batch: Batch) -> Look:
    errors = (batch.errors.data if batch.errors else None) or []
    words = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])
    full = any(error.code == "token_limit_exceeded" for error in errors)
    return Look(Stage.FAILED, message=words or "the batch failed", full=full)
