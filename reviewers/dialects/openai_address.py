"""Where OpenAI's SDK would send a request."""

from reviewers.dialects.dialect import Address
from reviewers.endpoint import Endpoint

_SENT = ("Authorization", "OpenAI-Organization", "OpenAI-Project", "Content-Type")


def openai_address(endpoint: Endpoint, key: str, path: str, *, compatible: bool) -> Address:
    """Return the URL and the headers of ``path``, as the SDK's own configuration gives them.

    The SDK reads address, organization and project from the environment where the endpoint names
    none.

    Args:
        endpoint: Where the model answers.
        key: Sent as the bearer token; ``""``: none is sent.
        path: Path below the root of the API.
        compatible: True for servers other than OpenAI, which are sent nothing of OpenAI's.
    """
    import openai  # noqa: PLC0415 - a second to load, 60 MB to hold; many panels do without it

    # Without an explicit key the SDK would take OpenAI's and send it to whatever server this is.
    client = openai.AsyncOpenAI(api_key=key or "none", base_url=endpoint.base_url, max_retries=0)
    if compatible:
        client.organization = None
        client.project = None
    offered = {**client.default_headers, **client.auth_headers}
    headers = {name: value for name in _SENT if isinstance(value := offered.get(name), str)}
    if not key:
        headers.pop("Authorization", None)
    return Address(f"{str(client.base_url).rstrip('/')}/{path}", headers)
