"""The verbs: one literal table. A verb's module is imported only when the verb is run.

So ``dca --help`` loads neither the database nor any provider's client.
"""

from collections.abc import Sequence

from dca.cli.grammar import Entry, Verbs

START, WORK, READ, KEEP = "Start here", "The work, in order", "Read", "Keep"

VERBS = {
    "demo": Entry(
        "demo:demo", "The whole job on bundled rollouts or your own: no key, no network.", START
    ),
    "init": Entry("initialise:init", "Write dca.toml and .env.example.", START),
    "doctor": Entry(
        "doctor:doctor", "What is installed, which keys are set, what answers.", START
    ),
    "import": Entry(
        "importing:import_", "Bring rollouts into the store; the format is detected.", WORK
    ),
    "review": Entry("review:review", "Ask the panel; running again resumes.", WORK),
    "consensus": Entry(
        "consensus:consensus", "Settle what the panel agrees on; calls no model.", WORK
    ),
    "credit": Entry(
        "credit:credit", "Put each outcome's reward where the panel says it was earned.", WORK
    ),
    "export": Entry(
        "export:export", "Write tokens, spans or SFT rows for training and analysis.", WORK
    ),
    "train": Entry("train:train", "Train a model on exported rows.", WORK),
    "ls": Entry("ls:ls", "List rollouts.", READ),
    "show": Entry("show:show", "Read one rollout as a score sheet.", READ),
}

PANEL = {
    "list": Entry("panel:list_", "List the reviewers and their panels."),
    "test": Entry("panel_trial:trial", "Try one reviewer on one rollout; nothing is stored."),
    "pause": Entry("panel:pause", "Ask a reviewer of the running review nothing more for now."),
    "resume": Entry("panel:resume", "Ask a paused reviewer again."),
    "cost": Entry("panel_cost:cost", "Print what stored reviews have cost, by reviewer."),
    "sheet": Entry("panel_sheet:sheet", "Write what a person is to fill in."),
    "take": Entry("panel_sheet:take", "Store the reviews of sheets that are filled in."),
}

CONFIG = {
    "show": Entry(
        "configuration:show", "Print every setting, and with --origin where it comes from."
    ),
    "path": Entry("configuration:path", "Print which files are read."),
    "check": Entry("configuration:check", "Read the configuration and say what is wrong with it."),
}

DATABASE = {
    "upgrade": Entry("database:upgrade", "Bring the store's schema to this version."),
    "backup": Entry("database:backup", "Copy the store into a new SQLite file."),
    "stats": Entry("database:stats", "Count what the store holds."),
}


def root() -> Verbs:
    """Return the whole command line."""
    groups = (
        Verbs("panel", PANEL, help="Look after the reviewers.", rich_help_panel=KEEP),
        Verbs("config", CONFIG, help="Look at the configuration.", rich_help_panel=KEEP),
        Verbs("db", DATABASE, help="Look after the store.", rich_help_panel=KEEP),
    )
    text = (
        "Deliberative credit assignment: a panel of reviewers says which thoughts did the work; "
        "where they agree, that is where the reward goes."
    )
    return Verbs("dca", VERBS, groups, help=text)


def named_verb(arguments: Sequence[str]) -> str:
    """Return the verb that the arguments name, for errors found before it is run."""
    words = [word for word in arguments if not word.startswith("-")]
    for position, word in enumerate(words):
        if word in VERBS:
            return word
        nested = {"panel": PANEL, "config": CONFIG, "db": DATABASE}.get(word)
        if nested is not None:
            following = words[position + 1 : position + 2]
            return " ".join([word, *(item for item in following if item in nested)])
    return ""


def asked_for_json(arguments: Sequence[str]) -> bool:
    """Tell whether ``--json`` is among the flags, for errors found before they are read."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in flags
