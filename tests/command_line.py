"""The command line in this process, and a small store to read with it."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dca import cli
from dca.domain.consensus import (
    AgreedLink,
    AgreedSpan,
    Consensus,
    ConsensusParams,
    ConsensusVersion,
    PanelBlame,
    PanelSoundness,
    Status,
)
from dca.domain.review import (
    Abstention,
    AbstentionKind,
    LinkKind,
    Review,
    ReviewerInfo,
    ReviewKey,
    Soundness,
    Step,
)
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from store.consensus import add_consensus, add_version
from store.engine import open_store, transaction
from store.reviews import add_answers, add_reviewers
from store.rollouts import add_rollouts

SILENCED = (
    "DCA_STORE",
    "DCA_CONFIG",
    "DCA_DISPLAY",
    "DCA_YES",
    "DCA_SEED",
    "NO_COLOR",
    "COLUMNS",
    "XDG_CONFIG_HOME",
    "OPENAI_API_KEY",
)
"""Variables that would change what a command prints."""
PANEL = ("arithmetic", "dataflow", "novelty", "revision")
LABELS = "contribution-v1"
HOSTILE = "73 \x1b[31m[bold]red[/bold]\x07 \u202eevil\u2066"
"""Terminal controls, markup and bidirectional overrides, as a model may write them."""
TEXT = (
    "Natalia sold 48 clips in April.\n"
    "In May she sold half: 48 / 2 = 25.\n"
    f"So the total is 48 + 25 = {HOSTILE}.\n"
    "The answer is 73."
)
SHEET_ID = "abcdef0123456789abcd"
ROWS = [
    {"prompt": "2 + 2?", "completion": "2 + 2 = 4. So 4.", "reward": 1, "task": "sum"},
    {
        "prompt": "2 + 2?",
        "completion": "2 + 2 = 5.\nSo \x1b[31m5\x1b[0m.",
        "reward": 0,
        "task": "sum",
    },
    {"prompt": "3 + 3?", "completion": "3 + 3 = 6. " + "So 6. " * 60, "task": "sum"},
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command line printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        """The one JSON document on standard output."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


def clean_folder(folder: Path, monkeypatch) -> Path:
    """Make ``folder`` the working directory and the environment silent about DCA."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[2]))
    for name in SILENCED:
        monkeypatch.delenv(name, raising=False)
    return folder


def write_rows(file: Path, rows: list[dict]) -> None:
    """Write JSON Lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def unstyled(shown: str) -> list[str]:
    """Return the lines of a terminal without bold and dim."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()


def invoke(capsys, *arguments: str) -> Answer:
    """Run one command line in this process."""
    capsys.readouterr()
    code = cli.run(arguments)
    captured = capsys.readouterr()
    return Answer(code, captured.out, captured.err)


def spawn(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run one command line in a process of its own."""
    command = [sys.executable, "-m", "dca", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def on_terminal(
    *arguments: str,
    columns: int = 100,
    environment: dict[str, str] | None = None,
    interrupts: tuple[str, ...] = (),
) -> tuple[int, str]:
    """Run one command line on a pseudo-terminal; return its exit code and all that it showed.

    Args:
        arguments: The command line.
        columns: Width of the terminal.
        environment: Variables added to this process's own.
        interrupts: Texts after each of which Ctrl-C is pressed.
    """
    known = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS"}}
    known |= {"TERM": "xterm-256color", **(environment or {})}
    main, other = pty.openpty()
    os.set_blocking(main, False)
    _resize(other, columns)
    command = [sys.executable, "-m", "dca", *arguments]
    child = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=known, start_new_session=True
    )
    os.close(other)
    shown = b""
    waiting = list(interrupts)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([main], [], [], 0.1)
        try:
            piece = os.read(main, 65536) if ready else b""
        except OSError:
            break
        shown += piece
        if waiting and waiting[0].encode() in shown:
            waiting.pop(0)
            child.send_signal(signal.SIGINT)
        if ready and not piece:
            break
    os.close(main)
    return child.wait(timeout=60), shown.decode("utf-8", errors="replace")


def _resize(terminal: int, columns: int) -> None:
    import fcntl  # noqa: PLC0415 - POSIX only, as pseudo-terminals are
    import struct  # noqa: PLC0415 - with it
    import termios  # noqa: PLC0415 - with it

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def plain_rollouts(count: int) -> list[Rollout]:
    """Return rollouts of two groups with ids in their order."""
    return [
        Rollout(
            f"{number:020d}",
            f"g{number % 2}",
            "sums",
            (Message("user", f"What is {number} + 1?"),),
            f"{number} + 1 = {number + 1}. The answer is {number + 1}.",
            reward=float(number % 3 == 0),
            truth=str(number + 1),
            model="policy",
            step=number,
        )
        for number in range(count)
    ]


def fill(file: Path, rollouts: list[Rollout]) -> None:
    """Make a store that holds ``rollouts``."""
    engine = open_store(str(file))
    with transaction(engine) as session:
        add_rollouts(session, rollouts)
    engine.dispose()


def fill_sheet(file: Path) -> None:
    """Make a store with one rollout, three reviews, an abstention and a consensus."""
    prompt = (Message("user", "Natalia sold 48 clips and half as many. How many in all?"),)
    rollout = Rollout(
        SHEET_ID,
        "g1",
        "gsm8k",
        prompt,
        TEXT,
        reward=0.0,
        truth="72",
        model="policy-7b",
        step=120,
    )
    infos = [ReviewerInfo(name, "rules", f"rules-{name}", "1", {}) for name in PANEL]
    steps = _steps()
    labels = (
        (None, "harmful", "contributing", None),
        ("setup", "contributing", "contributing", "decisive"),
        ("setup", "harmful", "contributing", "idle"),
    )
    reasons = (
        ("", "48 / 2 is 24, not 25", "", ""),
        ("given", "25 is used by the sum", "", "final"),
        ("repeats the problem", "\x1b]0;owned\x07wrong", "", "repeats 73"),
    )
    reviews = [
        Review(
            _key(info),
            tuple(
                Step(span, label, 0.9, reason)
                for span, label, reason in zip(steps, given, why, strict=True)
                if label
            ),
        )
        for info, given, why in zip(infos[:3], labels, reasons, strict=True)
    ]
    silent = Abstention(_key(infos[3]), AbstentionKind.INVALID, "gave no \x1b[2J JSON")
    engine = open_store(str(file))
    with transaction(engine) as session:
        add_rollouts(session, [rollout])
        add_reviewers(session, infos)
        add_answers(session, [*reviews, silent])
        version = add_version(session, _version(infos))
        add_consensus(session, version.id, [_consensus()])
    engine.dispose()


def _key(info: ReviewerInfo) -> ReviewKey:
    return ReviewKey(SHEET_ID, info.digest, "rules", LABELS)


def _steps() -> list[Span]:
    """Return the four lines of the text, each with its line break."""
    lines = TEXT.splitlines(keepends=True)
    starts = [sum(len(line) for line in lines[:n]) for n in range(len(lines))]
    return [Span(at, at + len(line)) for at, line in zip(starts, lines, strict=True)]


def _version(infos: list[ReviewerInfo]) -> ConsensusVersion:
    return ConsensusVersion(
        "vote",
        ConsensusParams(),
        LABELS,
        PANEL,
        {info.name: info.digest for info in infos},
        dict.fromkeys(PANEL, 1.0),
        4.0,
        1,
        {Status.AGREED: 0.5, Status.DISPUTED: 0.25, Status.THIN: 0.25, Status.UNCOVERED: 0.0},
    )


def _consensus() -> Consensus:
    setup, wrong, total, end = _steps()
    votes = (
        {"dataflow": "setup", "novelty": "setup"},
        {"arithmetic": "harmful", "dataflow": "contributing", "novelty": "harmful"},
        dict.fromkeys(PANEL[:3], "contributing"),
        {"dataflow": "decisive", "novelty": "idle"},
    )
    return Consensus(
        SHEET_ID,
        (
            AgreedSpan(setup, Status.THIN, "setup", 1.0, {"setup": 1.0}, votes[0], 1.0, 0.9),
            AgreedSpan(
                wrong, Status.AGREED, "harmful", 0.67, {"harmful": 0.67}, votes[1], 0.9, 0.9
            ),
            AgreedSpan(total, Status.AGREED, "contributing", 1.0, {}, votes[2], 0.9, 0.9),
            AgreedSpan(end, Status.DISPUTED, None, 0.5, {"idle": 0.5}, votes[3], 0.9, 1.0),
        ),
        (
            AgreedLink(1, 2, LinkKind.USES, 0.8, ("arithmetic", "dataflow")),
            AgreedLink(2, 3, LinkKind.USES, 0.4, ("dataflow",), dropped="too little support"),
        ),
        PanelBlame(Status.AGREED, wrong, 0.75, {"arithmetic": wrong, "novelty": wrong}),
        PanelSoundness(Status.DISPUTED, None, 0.5, {"dataflow": Soundness.SOUND}),
    )
