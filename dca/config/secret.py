"""Which values are secret, and how they are kept out of every output. Pure."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

from reviewers.secrecy import MASK, forms

KNOWN_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "PGPASSWORD")
"""Masked even when no reviewer names them."""
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
"""Variables with ``name=value,...`` that a collector of spans is sent."""


def secret_values(
    environment: Mapping[str, str], variables: Iterable[str], store: str
) -> tuple[str, ...]:
    """Return the texts that no output may hold, longest first: each secret in all its forms.

    Args:
        environment: The process's environment with ``.env`` added.
        variables: Names that reviewers give in ``api_key_env``.
        store: The store's URL, which can hold a password.
    """
    names = {*variables, *KNOWN_VARIABLES}
    values = {environment.get(name, "").strip() for name in names}
    values |= {value for name in _HEADERS for value in _header_values(environment.get(name, ""))}
    found = {form for value in values for form in forms(value)}
    found |= _password_forms(store)
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret replaced; the mask keeps a URL's ``:`` and ``@``."""
    for secret in secrets:
        mask = f":{MASK}@" if secret.startswith(":") and secret.endswith("@") else MASK
        text = text.replace(secret, mask)
    return text


def _header_values(headers: str) -> set[str]:
    """Return the values of ``name=value,...``, which may be encoded as in a URL."""
    pairs = (header.partition("=")[2].strip() for header in headers.split(","))
    return {form for value in pairs for form in (value, unquote(value))}


def _password_forms(store: str) -> set[str]:
    if "://" not in store or "@" not in store:
        return set()
    raw = urlsplit(store).password
    return {f":{form}@" for form in (raw, unquote(raw))} if raw else set()
