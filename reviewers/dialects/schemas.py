"""What many bodies hold alike, encoded once: instructions, and the schemas of replies."""

from functools import lru_cache

import msgspec

from reviewers.schema import ReplyForm, reply_schema


@lru_cache(maxsize=64)
def encoded_text(text: str) -> msgspec.Raw:
    """Return instructions as bytes of JSON that an encoder copies."""
    return msgspec.Raw(msgspec.json.encode(text))


@lru_cache(maxsize=256)
def encoded_schema(form: ReplyForm, *, bounded: bool) -> msgspec.Raw:
    """Return the JSON schema of a reply as bytes that an encoder copies; see ``reply_schema``."""
    return msgspec.Raw(msgspec.json.encode(reply_schema(form, bounded=bounded)))
