"""A key, and every form in which a server could send it back: kept out of all that is kept.

Whoever repeats a request, in an error, in a log, in a page of a gateway, may repeat the key as it
is, escaped in JSON, encoded for a URL, or inside a longer text in base64. Pure.
"""

import base64
import json
from functools import lru_cache
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 8
"""Shorter keys are placeholders such as ``EMPTY``; masking them would destroy plain words."""


@lru_cache(maxsize=64)
def forms(secret: str) -> tuple[str, ...]:
    """Return the texts that give ``secret`` away, longest first; none for a placeholder."""
    if len(secret) < SHORTEST:
        return ()
    escaped = {json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False)}
    found = {secret, *escaped, *(form.replace("/", "\\/") for form in escaped)}
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        found |= {encoded, _small_hex(encoded)}
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        core = _base64_core(raw, before)
        found |= {core, core.translate(_URL_SAFE)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def hide(text: str, secret: str) -> str:
    """Return ``text`` with every form of ``secret`` masked."""
    for form in forms(secret):
        if form in text:
            text = text.replace(form, MASK)
    return text


_URL_SAFE = str.maketrans("+/", "-_")


def _base64_core(raw: bytes, before: int) -> str:
    """Return what base64 makes of ``raw`` alone when ``before`` bytes go before it.

    The characters at both ends hold bits of the neighbours too and are left out.
    """
    encoded = base64.b64encode(b"\x00" * before + raw).decode()
    return encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]


def _small_hex(encoded: str) -> str:
    """Return a URL-encoded text with its ``%2B`` as ``%2b``."""
    head, *parts = encoded.split("%")
    return "%".join((head, *(part[:2].lower() + part[2:] for part in parts)))
