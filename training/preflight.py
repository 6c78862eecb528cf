"""What can be said against a run within a second, before torch is loaded.

``training.prepare`` checks every row; here only the first row of each file is looked at.
"""

from dca.domain.errors import TrainingError
from training.prepare import check_tokenizer, read_for
from training.run import TrainConfig
from training.run_folder import check_folder
from training.vocabulary import FastTokenizer


def preflight(config: TrainConfig) -> None:
    """Look at rows, model and output folder; write nothing.

    Raises:
        FormatError: a file of rows is missing or is not one.
        RowError: the first row of a file does not fit the objective or the model's tokenizer.
        UsageError: the model has no ``tokenizer.json``.
        TrainingError: there is no model, or the output folder is taken.
    """
    firsts = [next(read_for(config, file), None) for file in config.rows]
    if not (config.model / "config.json").is_file():
        raise TrainingError(f"{config.model}: no model", hint="give a Hugging Face model folder")
    tokenizer_sha = FastTokenizer.load(config.model).digest
    for row in firsts:
        if row is not None:
            check_tokenizer(row, 1, tokenizer_sha, config.model)
    check_folder(config)
