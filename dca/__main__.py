"""``python -m dca`` is the command ``dca``."""

from dca.cli import main

main()
