"""A real ``dca review`` against the fault server, and what its store holds afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.fault_server.plan import Plan
from benchmarks.fault_server.running import Served
from benchmarks.fault_server.settings import Settings
from store.engine import open_store, transaction
from store.jobs import Job, list_jobs
from store.reviews import count_answers, list_reviewers
from store.tables import ClaimRow

KEY = "sk-test-0123456789abcdef"


def steady(seconds: float) -> Settings:
    """Return a server that takes ``seconds`` for every answer and never fails."""
    return Settings(Plan(median_s=seconds, sigma=0.0))


def write_config(server: Served, *names: str) -> None:
    """Write a ``dca.toml`` whose panel is ``names``, each a model behind ``server``."""
    tables = "".join(
        f"[reviewers.{name}]\nkind='openai-compatible'\nbase_url='{server.url}/v1'\n"
        f"model='tiny-{name}'\nfamily='{name}'\napi_key_env='A_KEY'\n"
        for name in names
    )
    Path("dca.toml").write_text(
        f"[review]\npanel='main'\n[panels.main]\nreviewers={list(names)}\n{tables}"
    )


def begin_review(*flags: str) -> subprocess.Popen[str]:
    """Start ``dca review`` in this folder."""
    command = [sys.executable, "-m", "dca", "review", "--json", "--display", "plain", *flags]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "A_KEY": KEY},
        start_new_session=True,
    )


def interrupt(child: subprocess.Popen[str]) -> None:
    """Press Ctrl-C."""
    child.send_signal(signal.SIGINT)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to this"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds."""

    reviews: int
    abstentions: int
    claims: int
    job: Job
    """The newest."""


def kept(url: str = "dca.db") -> Kept:
    """Return what the store in this folder holds."""
    engine = open_store(url)
    with transaction(engine) as session:
        answers = count_answers(session)
        claims = session.scalar(select(func.count()).select_from(ClaimRow)) or 0
        job = list_jobs(session)[0]
    engine.dispose()
    return Kept(
        sum(row.reviews for row in answers), sum(row.abstentions for row in answers), claims, job
    )


def reviews_by(name: str) -> int:
    """Return how many reviews of one reviewer the store in this folder holds."""
    engine = open_store("dca.db")
    with transaction(engine) as session:
        digests = {info.digest for info in list_reviewers(session) if info.name == name}
        found = sum(row.reviews for row in count_answers(session) if row.reviewer in digests)
    engine.dispose()
    return found


def document(out: str) -> dict:
    """Return the JSON document that a command printed."""
    return json.loads(out)
