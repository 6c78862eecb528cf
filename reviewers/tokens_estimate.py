"""How many tokens a request will use, guessed from those before it."""

START_BYTES_PER_TOKEN = 3.5
"""English and code in UTF-8, the body's JSON included; most tokenizers lie at 3 to 4.5."""
START_OUTPUT = 0.25
"""Share of the output limit that is expected before anything is known."""
_PRIOR_TOKENS = 2_000.0
"""Input tokens that the first guess is worth: the first two or three requests outweigh it."""
_PRIOR_ANSWERS = 1.0
"""Answers that the first guess of an answer's length is worth."""
_MEMORY = 0.99
"""Weight that an observation keeps with each later one: about 100 requests count."""


class TokensEstimate:
    """Running estimate for one model.

    Args:
        max_tokens: Most output tokens of an answer, > 0.
    """

    __slots__ = ("_answers", "_bytes", "_max_tokens", "_output", "_tokens")

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._bytes = _PRIOR_TOKENS * START_BYTES_PER_TOKEN
        self._tokens = _PRIOR_TOKENS
        self._answers = _PRIOR_ANSWERS
        self._output = _PRIOR_ANSWERS * START_OUTPUT * max_tokens

    def input_tokens(self, body_bytes: int) -> float:
        """Return the input tokens expected of a request's body."""
        return body_bytes * self._tokens / self._bytes

    def output_tokens(self) -> float:
        """Return the output tokens expected of an answer, at most the limit."""
        return min(self._output / self._answers, float(self._max_tokens))

    def learn(self, body_bytes: int, input_tokens: int | None, output_tokens: int | None) -> None:
        """Take what a request used into account; ``None`` or 0 where it is not known."""
        if input_tokens and body_bytes > 0:
            self._bytes = _MEMORY * self._bytes + body_bytes
            self._tokens = _MEMORY * self._tokens + input_tokens
        if output_tokens:
            self._answers = _MEMORY * self._answers + 1
            self._output = _MEMORY * self._output + output_tokens
