"""A training run from files to files: load, prepare, train or go on, save."""

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging
from trl import SFTConfig  # pyright: ignore[reportPrivateImportUsage] - TRL's public path

from dca.domain.errors import TrainingError
from training.collate import Collator
from training.objectives.clipped import Clip, clipped
from training.objectives.loss import Objective
from training.objectives.weighted_nll import weighted_nll
from training.offline import TokenWeightedTrainer
from training.prepare import prepare
from training.progress import METRICS_FILE, MetricsLog, newest_checkpoint
from training.row_files import file_digest
from training.run import Metrics, Prepared, TrainConfig, TrainReport
from training.vocabulary import FastTokenizer

RUN_FILE = "run.json"
"""Settings and digests of the rows, so that a run goes on only as what it was."""


def fit(config: TrainConfig, on_metrics: Callable[[Metrics], None]) -> TrainReport:
    """Do the run that ``training.run.train`` describes."""
    logging.disable_progress_bar()  # the caller shows the progress
    if not (config.model / "config.json").is_file():
        raise TrainingError(f"{config.model}: no model", hint="give a Hugging Face model folder")
    processes = PartialState(cpu=not torch.accelerator.is_available())
    if processes.is_main_process:
        _claim(config)
    processes.wait_for_everyone()
    path, step = newest_checkpoint(config.output) or (None, 0)
    model = _load_model(config)
    examples = config.output / f"examples-{processes.process_index}.arrow"
    prepared = prepare(
        config,
        examples,
        tokenizer_sha=FastTokenizer.load(config.model).digest,
        vocabulary=int(model.get_input_embeddings().weight.shape[0]),
    )
    log = MetricsLog(config.output, step, on_metrics, write=processes.is_main_process)
    trainer = _trainer(config, prepared, model, Dataset.from_file(str(examples)), log)
    begin = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if path is None else str(path))
    seconds = time.perf_counter() - begin
    trainer.save_model(str(config.output))
    if processes.is_main_process:
        _keep_tokenizer(config)
    examples.unlink()
    weights = list(cast("torch.nn.Module", trainer.model).parameters())
    return TrainReport(
        output=config.output,
        prepared=prepared,
        steps=trainer.state.global_step,
        resumed_from=None if path is None else step,
        parameters=sum(weight.numel() for weight in weights),
        trained_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        seconds=seconds,
        final=log.last,
    )


def _keep_tokenizer(config: TrainConfig) -> None:
    """Put the model's own tokenizer files beside the weights, byte for byte."""
    for name in _TOKENIZER_FILES:
        if (config.model / name).is_file():
            shutil.copyfile(config.model / name, config.output / name)


_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


def _claim(config: TrainConfig) -> None:
    """Make the output folder this run's, or make sure that it is."""
    run: dict[str, Any] = {
        "settings": config.settings(),
        "rows": [file_digest(path) for path in config.rows],
    }
    file = config.output / RUN_FILE
    if not file.exists():
        if (config.output / METRICS_FILE).exists() or (config.output / "config.json").exists():
            raise TrainingError(
                f"{config.output} holds another model", hint="give another output folder"
            )
        config.output.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(run, indent=1))
        part.replace(file)
        return
    if not config.resume:
        raise TrainingError(
            f"{config.output} holds a run already", hint="--resume, or another output folder"
        )
    _refuse_another_run(config.output, json.loads(file.read_text()), run)


def _refuse_another_run(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before["rows"] != now["rows"]:
        raise TrainingError(f"{folder}: the run was started on other rows")
    for name, value in now["settings"].items():
        old = before["settings"].get(name)
        if old != value:
            raise TrainingError(
                f"{folder}: the run was started with {name} = {old}, not {value}",
                hint="resume with the same settings, or give another output folder",
            )


def _load_model(config: TrainConfig) -> Any:  # noqa: ANN401 - transformers gives no common type
    """Load weights in float32; in bfloat16 where they stay frozen and the device has it."""
    frozen = config.lora_rank is not None and _bf16(config)
    dtype = torch.bfloat16 if frozen else torch.float32
    return AutoModelForCausalLM.from_pretrained(
        str(config.model), dtype=dtype, local_files_only=True
    )


def _bf16(config: TrainConfig) -> bool:
    if config.bf16 is not None:
        return config.bf16
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _objective(config: TrainConfig) -> Objective:
    if config.objective == "sft":
        return weighted_nll
    return partial(clipped, clip=Clip(config.eps_low, config.eps_high, config.dual_clip))


def _trainer(
    config: TrainConfig,
    prepared: Prepared,
    model: Any,  # noqa: ANN401 - transformers gives no common type
    examples: Dataset,
    log: MetricsLog,
) -> TokenWeightedTrainer:
    # Not AutoTokenizer: it rebuilds some tokenizers from their class instead of reading the file.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(config.model), local_files_only=True)
    # Padded positions are masked everywhere, so any id serves where the model names none.
    pad = next(
        (i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if isinstance(i, int)), 0
    )
    trainer = TokenWeightedTrainer(
        model=model,
        args=_arguments(config),
        data_collator=Collator(pad, padding_free=config.padding_free),
        train_dataset=examples.with_format("numpy"),
        processing_class=tokenizer,
        peft_config=_adapters(config),
        callbacks=[log],
        objective=_objective(config),
        temperature=prepared.temperature,
        fused_head=config.fused_head,
    )
    # The caller shows the metrics.
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    return trainer


def _adapters(config: TrainConfig) -> LoraConfig | None:
    if config.lora_rank is None:
        return None
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(config: TrainConfig) -> SFTConfig:
    checkpointing: dict[str, Any] = {_CHECKPOINTING: config.gradient_checkpointing}
    return SFTConfig(
        output_dir=str(config.output),
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.schedule],
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        num_train_epochs=config.epochs,
        max_steps=config.steps or -1,
        seed=config.seed,
        bf16=_bf16(config),
        use_cpu=not torch.accelerator.is_available(),
        ddp_find_unused_parameters=False,
        logging_steps=config.log_every,
        # A loss that is not a number must be seen, not averaged away.
        logging_nan_inf_filter=False,
        save_steps=config.save_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        # Rows are truncated and their columns kept by training.prepare and the collator.
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        **checkpointing,
    )


_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in SFTConfig.__dataclass_fields__
)
"""What transformers calls the setting: the second name is the older one."""


_SCHEDULES = {
    "constant": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
}
