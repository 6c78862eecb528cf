"""Encoded schemas, one for each form of reply: built once, then part of many bodies."""

from functools import lru_cache

import msgspec

from reviewers.schema import ReplyForm, reply_schema


@lru_cache(maxsize=256)
def encoded_schema(form: ReplyForm, *, bounded: bool) -> msgspec.Raw:
    """Return the JSON schema of a reply as bytes that an encoder copies; see ``reply_schema``."""
    return msgspec.Raw(msgspec.json.encode(reply_schema(form, bounded=bounded)))
