"""Where a model is reached, and how it is asked for JSON."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from dca.domain.errors import ConfigError


class ResponseFormat(StrEnum):
    """How the provider is told to answer in JSON. The question shows the form in every case."""

    JSON_SCHEMA = "json_schema"
    """The schema is enforced by the provider."""
    JSON_OBJECT = "json_object"
    """Some JSON object is enforced; OpenAI-compatible servers only."""
    NONE = "none"
    """Nothing is sent: for servers that refuse or ignore the other two."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model behind one address. Holds the name of the key's variable, never the key."""

    model: str
    """Model name as the provider spells it."""
    base_url: str | None = None
    """Root of the API; ``None``: the provider's own."""
    api_key_env: str | None = None
    """Environment variable that holds the key; ``None``: the server needs no key."""
    response_format: ResponseFormat = ResponseFormat.JSON_SCHEMA
    """How JSON is asked for."""

    def __post_init__(self) -> None:
        """Refuse an endpoint that would send no key to the provider's own address."""
        if self.base_url is None and self.api_key_env is None:
            raise ConfigError(
                f"model {self.model!r} needs api_key_env, the name of the variable with the key",
                hint="A server of your own needs base_url instead.",
            )

    @property
    def address(self) -> str:
        """``base_url`` without user, password and query, so that it may be shown; else ``""``."""
        if self.base_url is None:
            return ""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
