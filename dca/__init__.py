"""Deliberative credit assignment for reasoning models.

``import dca`` gives the Python interface of ``dca.api``; start reading at ``dca.domain``.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dca.api import Project as Project
    from dca.api import open_project as open_project

__all__ = ["Project", "open_project"]

_SIBLINGS = ("prompts", "reviewers", "store", "training")


def _refuse_strangers() -> None:
    """Raise ImportError when a package of ours is shadowed by another one of the same name.

    The names are common: a folder ``store/`` beside a user's script would silently replace ours.
    Checked here, because any later import would already have taken the wrong one.
    """
    home = Path(__file__).resolve().parent.parent
    for name in _SIBLINGS:
        spec = find_spec(name)
        if spec is None:
            raise ImportError(f"dca: its package {name!r} is not installed beside {home / 'dca'}")
        # A package has places; a stray file such as training.py has its own path only.
        places = spec.submodule_search_locations or [spec.origin or "unknown"]
        found = {Path(place).resolve() for place in places}
        if home / name not in found:
            raise ImportError(
                f"dca: another module named {name!r} at {min(map(str, found))} hides ours at "
                f"{home / name}; run from another folder or rename it"
            )


_refuse_strangers()


def __getattr__(name: str) -> object:
    """Load the interface when it is first used: ``import dca.domain`` stays light."""
    if name in __all__:
        from dca import api  # noqa: PLC0415 - importing it here would load every layer at once

        return getattr(api, name)
    raise AttributeError(f"module 'dca' has no attribute {name!r}")
