"""A training run from files to files: load, prepare, train or go on, save."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging
from trl import SFTConfig  # pyright: ignore[reportPrivateImportUsage] - TRL's public path

from dca.domain.errors import TrainingError
from training.card import model_card
from training.collate import Collator
from training.objectives.clipped import Clip, clipped
from training.objectives.loss import Objective
from training.objectives.weighted_nll import weighted_nll
from training.offline import TokenWeightedTrainer
from training.prepare import prepare
from training.progress import MetricsLog
from training.run import Metrics, Prepared, TrainConfig, TrainReport
from training.run_folder import RUN_FILE, begun, examples_file, newest_checkpoint
from training.vocabulary import FastTokenizer

__all__ = ["RUN_FILE", "fit"]


def fit(config: TrainConfig, on_metrics: Callable[[Metrics], None]) -> TrainReport:
    """Do the run that ``training.run.train`` describes, after its preflight."""
    logging.disable_progress_bar()  # the caller shows the progress
    processes = PartialState(cpu=not torch.accelerator.is_available())
    with examples_file(config.output, processes.process_index) as examples:
        model = _load_model(config)
        prepared = prepare(
            config,
            examples,
            tokenizer_sha=FastTokenizer.load(config.model).digest,
            vocabulary=int(model.get_input_embeddings().weight.shape[0]),
        )
        trainer = _trainer(config, prepared, model, Dataset.from_file(str(examples)))
        processes.wait_for_everyone()  # every process has looked at the folder
        with begun(config, write=processes.is_main_process):
            return _run(config, prepared, trainer, on_metrics)


def _run(
    config: TrainConfig,
    prepared: Prepared,
    trainer: TokenWeightedTrainer,
    on_metrics: Callable[[Metrics], None],
) -> TrainReport:
    """Train from the newest checkpoint on, or from the start, and save."""
    path, step = newest_checkpoint(config.output) or (None, 0)
    is_main = trainer.is_world_process_zero()
    log = MetricsLog(config.output, step, on_metrics, write=is_main)
    trainer.add_callback(log)
    begin = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if path is None else str(path))
    seconds = time.perf_counter() - begin
    trainer.save_model(str(config.output))
    weights = list(cast("torch.nn.Module", trainer.model).parameters())
    report = TrainReport(
        output=config.output,
        prepared=prepared,
        steps=trainer.state.global_step,
        resumed_from=None if path is None else step,
        parameters=sum(weight.numel() for weight in weights),
        trained_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        seconds=seconds,
        final=log.last,
        warnings=log.warnings,
    )
    if is_main:
        _keep_tokenizer(config)
        (config.output / "README.md").write_text(model_card(config, report), encoding="utf-8")
    return report


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


def _load_model(config: TrainConfig) -> Any:  # noqa: ANN401 - transformers gives no common type
    """Load weights in float32; in bfloat16 where they stay frozen and the device has it."""
    frozen = config.lora_rank is not None and _bf16(config)
    dtype = torch.bfloat16 if frozen else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(config.model), dtype=dtype, local_files_only=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainingError(
            f"{config.model}: the model cannot be loaded: {error}",
            hint="give the folder of a whole causal language model",
        ) from error


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
        # At step 1 the model is still the given one: the check on its ratio needs that line.
        logging_first_step=True,
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
