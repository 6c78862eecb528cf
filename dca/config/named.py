"""Tables with names of the user's choice: reviewers, panels and label sets."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from dca.config.check import Faults, check_table, dotted, shown_value, table_in
from dca.config.lines import KeyPath
from dca.config.models import OFFLINE, LabelEntry, Panel
from dca.config.reviewers import (
    KINDS,
    OFFLINE_RULES,
    ReplayReviewer,
    ReviewerConfig,
    RulesReviewer,
    Table,
)
from dca.config.sources import Source
from dca.config.suggest import did_you_mean
from dca.domain.labels import CONTRIBUTION_V1, LabelSet

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of reviewers, panels and label sets."""

type Named[T] = dict[str, tuple[T, Source | None]]
"""Values by name with their source; ``None`` for what is built in."""
