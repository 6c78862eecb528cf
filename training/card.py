"""The model card that is laid beside a trained model."""

from training.run import TrainConfig, TrainReport


def model_card(config: TrainConfig, report: TrainReport) -> str:
    """Return a ``README.md`` that says what was trained, on what and how long."""
    adapters = config.lora_rank is not None
    base = config.model.resolve().name
    kind = f"LoRA adapters of rank {config.lora_rank}" if adapters else "All weights"
    prepared = report.prepared
    lines = [
        "---",
        f"library_name: {'peft' if adapters else 'transformers'}",
        "---",
        "",
        f"# {config.output.resolve().name}",
        "",
        f"{kind} of the model `{base}`, trained with `dca train`.",
        "",
        f"- Objective: {config.objective}",
        f"- Rows: {prepared.kept} of {prepared.rows}, {prepared.loss_tokens} tokens in the loss",
        f"- Optimizer steps: {report.steps}",
        f"- Learning rate: {config.learning_rate:g}, {config.schedule}",
    ]
    return "\n".join([*lines, *(f"- Warning: {text}" for text in report.warnings)]) + "\n"
