"""Serve from the command line.

    python -m benchmarks.fault_server --port 0 --seed 1 --median-ms 50 --faults mixed --rpm 600

Prints one line of JSON with the port, serves until SIGINT or SIGTERM, then writes its ledger.
``--faults`` takes ``none``, ``mixed`` or terms like ``mixed,poison=0,html=0.01``; the names are
the values of ``Fault`` in ``plan.py``, and ``poison``, ``batch-failed`` and ``batch-expired``.
"""

import argparse
import asyncio
import gc
import json
import signal
from pathlib import Path

import msgspec

from benchmarks.fault_server.ledger import Ledger
from benchmarks.fault_server.limits import Limits
from benchmarks.fault_server.plan import Plan, Rates, parse_rates
from benchmarks.fault_server.running import serving
from benchmarks.fault_server.settings import Settings

try:
    from uvloop import new_event_loop
except ModuleNotFoundError:  # uvloop is an option: the server only costs more without it.
    new_event_loop = asyncio.new_event_loop


def main() -> None:
    """Read the options and serve."""
    options = _parser().parse_args()
    settings = Settings(
        plan=Plan(
            options.seed, options.faults, options.median_ms / 1000, options.sigma, options.tail
        ),
        limits=Limits(
            options.rpm, options.tpm, options.otpm, options.burst_s, options.charge == "reserve"
        ),
        key_requests=options.key_requests,
        retry_after_s=options.retry_after_s,
        drip_s=options.drip_s,
        huge_bytes=int(options.huge_mb * (1 << 20)),
        models=tuple(options.models.split(",")),
        batch_s=options.batch_s,
    )
    # A request leaves no cycles behind, and the books of a long run make each collection dear.
    gc.disable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        ledger = runner.run(_serve(settings, options.port))
    if options.ledger is not None:
        options.ledger.write_bytes(msgspec.json.encode(ledger.report()))


async def _serve(settings: Settings, port: int) -> Ledger:
    """Serve until a signal comes; return the ledger."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings, port) as served:
        print(json.dumps({"port": served.port}), flush=True)
        await stop.wait()
        return served.ledger


def _rates(text: str) -> Rates:
    try:
        return parse_rates(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks.fault_server", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any free one")
    add("--seed", type=int, default=1)
    add("--median-ms", type=float, default=50.0, help="median latency; 0: at once")
    add("--sigma", type=float, default=0.5, help="spread of the logarithm of the latency")
    add("--tail", type=float, default=0.0, help="spread of the logarithm of hidden reasoning")
    add("--faults", type=_rates, default=Rates(), help="none, mixed or NAME=RATE,...")
    add("--rpm", type=int, default=0, help="requests per minute of a key and model; 0: any")
    add("--tpm", type=int, default=0, help="tokens per minute, charged on arrival; 0: any")
    add("--otpm", type=int, default=0, help="output tokens per minute, Anthropic; 0: any")
    add("--burst-s", type=float, default=60.0, help="seconds' worth that may come at once")
    add("--charge", choices=("reserve", "input"), default="reserve", help="what --tpm counts")
    add("--key-requests", type=int, default=0, help="requests after which a key expires")
    add("--retry-after-s", type=float, default=1.0, help="Retry-After of a drawn 429")
    add("--drip-s", type=float, default=0.2, help="seconds between two bytes of a slow drip")
    add("--huge-mb", type=float, default=50.0, help="size of a huge body")
    add("--models", default="tiny", help="names shown, with commas")
    add("--batch-s", type=float, default=2.0, help="seconds that a batch takes")
    add("--ledger", type=Path, help="file that gets the ledger at the end")
    return parser


if __name__ == "__main__":
    main()
