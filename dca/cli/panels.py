"""The configured panel, built when a command runs and not when its help is read."""

from dca.config import Config
from reviewers.protocol import Reviewer


def panel_of(config: Config, name: str) -> tuple[Reviewer, ...]:
    """Return the reviewers of a panel; see ``dca.pipeline.panels.build_panel``."""
    from dca.pipeline.panels import build_panel  # noqa: PLC0415 - loads the providers' clients

    return build_panel(config, name)
