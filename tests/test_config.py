"""The configuration: where settings come from and which source wins."""

import pytest

from dca.config import load
from tests.config_files import FULL, read, refusal


def test_a_full_file_is_read(here):
    loaded = read(FULL, here)

    assert loaded.config.project.store == str(here / "runs/x.db")
    assert loaded.config.label_set.keys == ("solves", "padding")
    assert loaded.config.label_set["solves"].value == 1.0
    assert loaded.config.panels["main"].reviewers == ("a", "arithmetic")
    assert loaded.key_variables == {"a": "A_KEY"}


def test_every_value_says_where_it_comes_from(here):
    loaded = read(
        FULL,
        here,
        {"DCA_CONSENSUS_QUORUM": "0.75"},
        {("review", "concurrency"): ("--concurrency", 3), ("credit", "cap"): ("--cap", None)},
    )

    origins = {item.key: (item.value, item.origin) for item in loaded.settings()}
    assert origins["project.store"][1] == "dca.toml:2"
    assert origins["review.panel"] == ("main", "dca.toml:6")
    assert origins["review.concurrency"] == (3, "flag --concurrency")
    assert origins["consensus.quorum"] == (0.75, "environment DCA_CONSENSUS_QUORUM")
    assert origins["credit.cap"] == (4.0, "default")
    assert origins["panels.main.reviewers"][1] == "dca.toml:26"
    assert origins["reviewers.a.api_key_env"] == ("A_KEY", "dca.toml:34")
    assert origins["reviewers.a.retries"] == (7, "default")
    assert origins["labels.math-v1.padding"][1] == "dca.toml:11"


def test_a_flag_beats_the_environment_beats_the_project_beats_the_user(here, monkeypatch):
    user = here / "home" / "dca" / "dca.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[review]\nconcurrency = 1\n[credit]\ncap = 2.0\nveto = false\n")
    project = here / "project"
    project.mkdir()
    (project / "dca.toml").write_text("[review]\nconcurrency = 2\n[credit]\ncap = 3.0\n")
    environment = {"XDG_CONFIG_HOME": str(here / "home"), "DCA_REVIEW_CONCURRENCY": "4"}
    flags = {("review", "concurrency"): ("--concurrency", 8)}

    def concurrency(flags, environment):
        return load(flags, start=project, environment=environment).config.review.concurrency

    assert concurrency(flags, environment) == 8
    assert concurrency(None, environment) == 4
    del environment["DCA_REVIEW_CONCURRENCY"]
    assert concurrency(None, environment) == 2
    loaded = load(start=project, environment=environment)
    assert (loaded.config.credit.cap, loaded.config.credit.veto) == (3.0, False)
    assert loaded.user_file == user


def test_the_nearest_file_upward_is_taken_and_the_store_lies_beside_it(here):
    (here / "dca.toml").write_text('[project]\nstore = "outer.db"\n')
    deep = here / "a" / "b"
    deep.mkdir(parents=True)
    assert load(start=deep, environment={}).config.project.store == str(here / "outer.db")

    (here / "a" / "dca.toml").write_text("")
    assert load(start=deep, environment={}).config.project.store == str(here / "a" / "dca.db")


def test_a_store_from_a_flag_is_relative_to_the_working_directory(here):
    (here / "dca.toml").write_text("")
    deep = here / "deep"
    deep.mkdir()
    flags = {("project", "store"): ("--store", "mine.db")}

    assert load(flags, start=deep, environment={}).config.project.store == str(deep / "mine.db")


@pytest.mark.parametrize(
    ("given_url", "read_url"),
    [
        ("sqlite:///x.db", "sqlite:///{here}/x.db"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://h/n", "postgresql://h/n"),
        ("/data/x.db", "/data/x.db"),
    ],
)
def test_store_urls_are_kept_and_relative_files_lie_beside_the_file(here, given_url, read_url):
    loaded = read(f'[project]\nstore = "{given_url}"\n', here)

    assert loaded.config.project.store == read_url.format(here=here)


def test_a_file_that_ends_in_the_middle_says_so(here):
    (line,) = refusal("x = [1,\n", here)

    assert line.startswith("dca.toml: ")
    assert line.endswith("(at end of document)")


def test_names_from_the_project_hide_those_of_the_user(here):
    user = here / "home" / "dca" / "dca.toml"
    user.parent.mkdir(parents=True)
    user.write_text(
        FULL.replace('"solves it"', '"of the user"')
        + '\n[reviewers.b]\nkind = "replay"\npath = "r"\n'
    )
    (here / "dca.toml").write_text(FULL)

    loaded = load(start=here, environment={"XDG_CONFIG_HOME": str(here / "home")})

    assert loaded.config.label_set["solves"].description == "solves it"
    assert loaded.config.reviewers["b"].path == str(user.parent / "r")


def test_variables_are_numbers_booleans_lists_or_text(here):
    environment = {
        "DCA_STORE": "env.db",
        "DCA_TOKENIZER": "123",
        "DCA_CREDIT_METHODS": "grpo, uniform",
        "DCA_CREDIT_VETO": "false",
        "DCA_CREDIT_CAP": "2",
    }

    config = read("", here, environment).config

    assert config.project.store == str(here / "env.db")
    assert config.project.tokenizer == "123"
    assert config.credit.methods == ("grpo", "uniform")
    assert (config.credit.veto, config.credit.cap) == (False, 2.0)
    assert refusal("", here, {"DCA_CREDIT_CAP": "two"}) == [
        "environment DCA_CREDIT_CAP: credit.cap = 'two': should be a valid number"
    ]


def test_a_file_for_people_with_a_mark_and_carriage_returns_is_read(here):
    (here / "dca.toml").write_bytes(b"\xef\xbb\xbf[review]\r\nconcurrency = 3\r\n")

    loaded = load(start=here, environment={})

    assert loaded.config.review.concurrency == 3
    assert loaded.origins["review.concurrency"] == "dca.toml:2"


def test_a_user_file_that_is_the_project_file_is_read_once(here):
    folder = here / "home" / "dca"
    folder.mkdir(parents=True)
    (folder / "dca.toml").write_text("")

    loaded = load(start=folder, environment={"XDG_CONFIG_HOME": str(here / "home")})

    assert loaded.user_file is None
    assert load(start=here, environment={"HOME": str(here)}).user_file is None


def test_nothing_that_is_shown_of_the_configuration_holds_a_secret(here):
    loaded = read(FULL, here, {"A_KEY": "sk-1234567890"})

    assert "sk-1234567890" not in repr(loaded)
    assert "sk-1234567890" in loaded.secrets
