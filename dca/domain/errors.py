"""Every error that DCA raises on purpose, named after the boundary that failed.

    DcaError
    ├── UsageError               what was asked for cannot be done as asked             exit 2
    │   ├── ConfigError          dca.toml: unknown key, wrong value, missing table      exit 2
    │   ├── SelectionError       --where, --ids: a term that cannot be read             exit 2
    │   └── MissingExtra         a feature needs a package that is not installed        exit 2
    ├── NothingSelected          the selection matches no rollout                       exit 6
    ├── FormatError              a file whose format cannot be read or written          exit 2
    │   └── BadRecord            one record of a readable file; becomes a reject
    ├── StoreError               the database answered with a fault                     exit 1
    │   ├── StoreUnreachable     no connection                                          exit 7
    │   └── SchemaOutdated       the schema is not the one this version writes          exit 2
    ├── ReviewError              one reviewer could not answer; becomes an Abstention
    │   ├── ReviewerUnavailable  transport: refused, reset, timed out, 5xx, rate limit
    │   ├── ReviewerRefused      the model declined to answer
    │   ├── ReplyTruncated       the answer was cut by a length limit
    │   └── ReplyInvalid         the answer does not fit the schema
    ├── CredentialError          a key is missing or was refused                        exit 7
    ├── BudgetSpent              a cap of the run leaves no room for one more request     exit 4
    ├── PromptError              a prompt file with missing, unknown or unused slots    exit 2
    ├── TokenError               token ids that do not spell the completion             exit 2
    ├── CreditError              a group or a setting that an assigner cannot use       exit 2
    │   └── MissingInput         an assigner lacks an input that it needs; becomes n/a
    └── TrainingError            rows or a model that cannot be trained on              exit 2
        └── RowError             a neutral row that breaks its contract

Catch only what can be turned into data (``BadRecord``, ``ReviewError``, ``MissingInput``);
everything else ends the command with its ``exit_code`` and its ``hint``. An exception outside
this tree is a bug and exits 1.
"""

from typing import ClassVar

from dca.domain.review import Usage


class DcaError(Exception):
    """Base of all expected errors."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep ``message`` for the user and ``hint``, one sentence that says what to do next."""
        super().__init__(message)
        self.hint = hint


class UsageError(DcaError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class ConfigError(UsageError):
    """``dca.toml`` holds an unknown key, a wrong value or lacks a table."""


class SelectionError(UsageError):
    """A selection term cannot be read."""


class MissingExtra(UsageError):
    """A feature needs a package of an extra that is not installed."""


class NothingSelected(DcaError):
    """The selection matches nothing."""

    exit_code = 6


class FormatError(DcaError):
    """A file whose format cannot be read or written."""

    exit_code = 2


class BadRecord(FormatError):
    """One record of a readable file cannot be imported."""


class StoreError(DcaError):
    """The database answered with a fault."""


class StoreUnreachable(StoreError):
    """No connection to the database."""

    exit_code = 7


class SchemaOutdated(StoreError):
    """The database schema is not the one that this version writes."""

    exit_code = 2


class ReviewError(DcaError):
    """One reviewer could not answer for one rollout.

    Attributes:
        usage: What the call cost; kept because a useless reply is billed too.
        raw: The reply as it came, ``""`` when there was none.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, usage: Usage | None = None, raw: str = ""
    ) -> None:
        """Keep ``usage`` and ``raw`` for the abstention that the panel stores."""
        super().__init__(message, hint=hint)
        self.usage = usage or Usage()
        self.raw = raw


class ReviewerUnavailable(ReviewError):
    """Transport failed: refused, reset, timed out, 5xx or rate limited."""


class ReviewerRefused(ReviewError):
    """The model declined to answer."""


class ReplyTruncated(ReviewError):
    """The answer was cut by a length limit."""


class ReplyInvalid(ReviewError):
    """The answer does not fit the schema."""


class CredentialError(DcaError):
    """A key is missing or was refused."""

    exit_code = 7


class BudgetSpent(DcaError):
    """A cap of the run leaves no room for one more request.

    Attributes:
        cap: ``dollars`` or ``tokens``.
    """

    exit_code = 4

    def __init__(self, message: str, *, cap: str, hint: str | None = None) -> None:
        """Keep which cap it is."""
        super().__init__(message, hint=hint)
        self.cap = cap


class PromptError(DcaError):
    """A prompt file has missing, unknown or unused slots."""

    exit_code = 2


class TokenError(DcaError):
    """Token ids do not spell the completion."""

    exit_code = 2


class CreditError(DcaError):
    """A group or a setting that an assigner cannot use."""

    exit_code = 2


class MissingInput(CreditError):
    """An assigner lacks an input that it needs."""


class TrainingError(DcaError):
    """Rows or a model that cannot be trained on."""

    exit_code = 2


class RowError(TrainingError):
    """A neutral row breaks its contract."""
