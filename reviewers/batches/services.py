"""Which reviewers' questions can be put in batches, and by whom."""

from reviewers.batches.service import BatchService
from reviewers.line import Asked
from reviewers.switchboard import read_key

KINDS = frozenset({"openai", "anthropic"})
"""Kinds of reviewers whose provider has batches; compatible servers have none."""


def batch_service(reviewer: Asked) -> BatchService:
    """Return the batch API for a reviewer of one of these kinds.

    Raises:
        CredentialError: The key's variable is not set.
    """
    name, endpoint, dialect = reviewer.info.name, reviewer.endpoint, reviewer.dialect.name
    secret = read_key(name, endpoint.api_key_env)
    if reviewer.info.kind == "anthropic":
        from reviewers.batches.anthropic import AnthropicBatches  # noqa: PLC0415 - loads the SDK

        return AnthropicBatches(name, endpoint, dialect, secret)
    from reviewers.batches.openai import OpenAIBatches  # noqa: PLC0415 - loads the SDK

    return OpenAIBatches(name, endpoint, dialect, secret)
