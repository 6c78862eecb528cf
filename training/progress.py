"""Metrics of a run: one JSON line per logging step."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dca.domain.errors import TrainingError
from training.run import Metrics, behaviour_mismatch

METRICS_FILE = "metrics.jsonl"


class MetricsLog(TrainerCallback):
    """Writes each line of metrics to a file and hands it on; stops a run whose loss is lost."""

    def __init__(
        self, folder: Path, after_step: int, hand_on: Callable[[Metrics], None], *, write: bool
    ) -> None:
        """Keep the lines of ``folder`` up to ``after_step``; a resumed run repeats the others.

        Of several processes only one is to ``write``.
        """
        self._path = folder / METRICS_FILE
        self._hand_on = hand_on
        lines = self._lines() if after_step else []
        kept = [line for line in lines if json.loads(line)["step"] <= after_step]
        self.last: Metrics = {}
        self.warnings: tuple[str, ...] = ()
        for line in kept:
            self._take(json.loads(line))
        if write:
            part = self._path.with_suffix(".part")
            part.write_text("".join(f"{line}\n" for line in kept))
            part.replace(self._path)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - the callback's signature is the library's
    ) -> None:
        """Write one line; the summary that ends a run has no loss of its own and is left out."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        self._take({"step": state.global_step, **logs})
        with self._path.open("a") as file:
            file.write(json.dumps(self.last) + "\n")
        self._hand_on(self.last)
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs.get("grad_norm", 0.0)):
            raise TrainingError(
                f"loss {logs['loss']}, gradient norm {logs.get('grad_norm')} "
                f"at step {state.global_step}",
                hint="lower the learning rate, or look for log-probabilities of another model",
            )

    def _take(self, line: Metrics) -> None:
        self.last = line
        mismatch = behaviour_mismatch(line)
        if mismatch is not None:
            self.warnings = (*self.warnings, mismatch)

    def _lines(self) -> list[str]:
        """Return the complete lines; a run that was killed may have left half of one."""
        if not self._path.exists():
            return []
        return [line for line in self._path.read_text().splitlines() if line.endswith("}")]
