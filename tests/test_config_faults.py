"""What the configuration refuses and how it says so; lines, labels, secrets."""

import ast
import inspect
import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca import config as package
from dca.config import load, models, redact, reviewers
from dca.config.lines import line_of, locate
from dca.config.models import SETTINGS, ConsensusSettings, CreditSettings
from dca.config.reviewers import KINDS, server_url, variable_name
from dca.config.secret import secret_values
from dca.config.sources import read_toml
from dca.domain.consensus import ConsensusParams
from dca.domain.errors import ConfigError
from tests.config_files import FULL, refusal
from training.credit.assigners import ASSIGNERS


def test_without_any_file_there_are_defaults_and_the_offline_panel(here):
    loaded = load(start=here, environment={})

    assert loaded.file is None
    assert loaded.config.panels["offline"].reviewers == (
        "arithmetic",
        "dataflow",
        "revision",
        "novelty",
    )
    assert loaded.config.review.panel == "offline"
    assert loaded.config.project.store == str(here / "dca.db")
    assert loaded.config.label_set.name == "contribution-v1"
    assert {item.origin for item in loaded.settings()} == {"default"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[review]\nconcurency = 3\n",
            "dca.toml:2: unknown key review.concurency; did you mean concurrency?",
        ),
        ("[reviw]\n", "dca.toml:1: unknown table reviw; did you mean review?"),
        ("\nreview = 3\n", "dca.toml:2: review must be a table: [review]"),
        (
            "[consensus]\nquorum = 0.5\n",
            "dca.toml:2: consensus.quorum = 0.5: should be greater than 0.5",
        ),
        (
            '[review]\nconcurrency = "8"\n',
            "dca.toml:2: review.concurrency = '8': should be a valid integer",
        ),
        (
            "[credit]\nmethods = ['grpo', 'grpo']\n",
            "dca.toml:2: credit.methods = ['grpo', 'grpo']: must not name anything twice",
        ),
        (
            "[reviewers.a]\nmodel = 'x'\n",
            "dca.toml:1: reviewers.a lacks kind; there is rules, openai, anthropic, "
            "openai-compatible, vllm, transformers, replay, human",
        ),
        (
            "[reviewers.a]\nkind = 'opnai'\n",
            "dca.toml:2: reviewers.a.kind = 'opnai': unknown kind; did you mean openai?",
        ),
        ("[reviewers.a]\nkind = 'openai'\n", "dca.toml:1: reviewers.a lacks model"),
        (
            "[reviewers.a]\nkind = 'anthropic'\nmodel = 'm'\nrule = 'x'\n",
            "dca.toml:4: unknown key reviewers.a.rule; there is model, protocol, outcome, "
            "style, persona, examples, rollouts_per_request, temperature, max_output_tokens, "
            "context_tokens, effort, timeout, retries, concurrency, requests_per_minute, "
            "tokens_per_minute, extra, price, kind, family, "
            "api_key_env, base_url, response_format",
        ),
        (
            "[reviewers.a]\nkind = 'openai'\nmodel = 'm'\ncontext_tokens = 16000\n",
            "dca.toml:4: reviewers.a.context_tokens = 16000: leaves no room beside "
            "max_output_tokens = 16000",
        ),
        (
            "[reviewers.novelty]\nkind = 'replay'\n",
            "dca.toml:1: reviewers.novelty is built in; choose another name",
        ),
        (
            "[panels.'a b']\nreviewers = ['novelty']\n",
            "dca.toml:1: panels.a b: a name is letters, digits, _ and -",
        ),
        (
            "[panels.p]\nreviewers = ['noveltey']\n",
            "dca.toml:2: panels.p.reviewers: 'noveltey' is no reviewer; did you mean novelty?",
        ),
        (
            "[review]\npanel = 'ofline'\n",
            "dca.toml:2: review.panel: 'ofline' is no panel; did you mean offline?",
        ),
        (
            "[project]\nlabels = 'mine'\n",
            "dca.toml:2: project.labels: 'mine' is no label set; there is contribution-v1",
        ),
        ("labels = 3\n", "dca.toml:1: labels must be tables: [[labels]]"),
        ("[project\n", "dca.toml:1: expected ']' at the end of a table declaration"),
        (
            "[panels.p]\nreviewers = []\n",
            "dca.toml:2: panels.p.reviewers = []: Tuple should have "
            "at least 1 item after validation, not 0",
        ),
    ],
)
def test_a_fault_names_the_key_the_file_and_the_line(here, text, message):
    assert refusal(text, here) == [message]


def test_every_fault_is_shown_at_once(here):
    lines = refusal("[review]\nx = 1\n\n[credit]\ncap = 0.5\n", here)

    assert [line.split(":")[1] for line in lines] == ["2", "5"]


def test_a_label_set_without_the_unmarked_label_is_refused(here):
    lines = refusal(FULL.replace('unmarked = "padding"', ""), here)

    assert lines == [
        "dca.toml:3: consensus.unmarked: 'idle' is no label of math-v1; there is solves, padding"
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('letter = "F"', 'letter = "S"', "dca.toml:11: label set 'math-v1' repeats a key"),
        (
            'letter = "F"',
            'letter = "f"',
            "dca.toml:21: labels.1.letter = 'f': String should match",
        ),
        ("value = 0.0", "value = 2.0", "dca.toml:22: labels.1.value = 2.0: should be less than"),
        ("math-v1", "contribution-v1", "dca.toml:11: label set contribution-v1 is built in"),
    ],
)
def test_labels_are_checked(here, old, new, message):
    assert refusal(FULL.replace(old, new), here)[0].startswith(message)


def test_more_than_eight_labels_are_refused(here):
    label = (
        '[[labels]]\nset = "many"\nkey = "k{0}"\nletter = "{1}"\nvalue = 0\ndescription = "d"\n'
    )
    text = "".join(label.format(n, "ABCDEFGHI"[n]) for n in range(9))

    assert refusal(text, here) == ["dca.toml:1: label set 'many' needs 1 to 8 labels, has 9"]


@pytest.mark.parametrize("key", ["sk-abcdef123456", "AIzaSyA", "A" * 25, "A_" * 40, "", "9X"])
def test_what_looks_like_a_key_is_refused_and_never_repeated(here, key):
    text = f"[reviewers.a]\nkind = 'openai'\nmodel = 'm'\napi_key_env = '{key}'\n"

    (line,) = refusal(text, here)
    assert line == (
        "dca.toml:4: reviewers.a.api_key_env: "
        "must be the NAME of an environment variable in capitals, never a key itself"
    )


def test_names_of_variables_are_taken():
    for name in ("OPENAI_API_KEY", "KEY", "A1_B2", "LONG_NAME_OF_A_VARIABLE_OF_SOME_TEAM"):
        assert variable_name(name) == name


def test_an_address_of_a_server_is_taken():
    assert server_url("http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8000/v1", "must begin with http:// or https:// and name a server"),
        (
            "http://me:hunter22@h/v1",
            "must hold no user name or password; name the key with api_key_env",
        ),
    ],
)
def test_an_address_with_a_password_is_refused_and_never_repeated(here, url, message):
    text = f"[reviewers.a]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nbase_url='{url}'\n"

    assert refusal(text, here) == [f"dca.toml:5: reviewers.a.base_url: {message}"]


def test_an_unknown_variable_of_a_table_is_refused_and_others_are_left_alone(here):
    environment = {"DCA_HOME": "x", "DCA_CREDIT_CAPP": "2"}

    assert refusal("", here, environment) == [
        "environment: unknown setting DCA_CREDIT_CAPP; did you mean DCA_CREDIT_CAP?"
    ]


def test_dotenv_is_read_only_beside_the_file_and_never_changes_what_is_set(here):
    (here / ".env").write_text(
        "# comment\n\nexport A_KEY='one two'\nB_KEY = \"x\"\nSET=file\nDCA_CREDIT_CAP=2\n"
    )
    deep = here / "deep"
    deep.mkdir()
    assert load(start=deep, environment={}).dotenv is None
    (here / "dca.toml").write_text("")

    loaded = load(start=deep, environment={"SET": "shell"})

    assert loaded.dotenv == here / ".env"
    assert loaded.environment["A_KEY"] == "one two"
    assert loaded.environment["B_KEY"] == "x"
    assert loaded.environment["SET"] == "shell"
    assert loaded.config.credit.cap == 2.0
    assert loaded.origins["credit.cap"] == ".env DCA_CREDIT_CAP"

    (deep / "dca.toml").write_text("")
    assert load(start=deep, environment={}).dotenv is None


def test_a_broken_dotenv_names_the_line_and_not_its_content(here):
    (here / "dca.toml").write_text("")
    (here / ".env").write_text("A=1\nsk-secret\n")

    with pytest.raises(ConfigError, match=r"^\.env:2: is not NAME=value$"):
        load(start=here, environment={})


def test_a_file_that_is_not_there_or_cannot_be_read_is_refused(here):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        load(file=here / "none.toml", start=here, environment={})
    (here / "a").mkdir()
    with pytest.raises(ConfigError, match=r"^a: Is a directory$"):
        read_toml(here / "a")
    (here / "dca.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"^dca\.toml: is not UTF-8 text$"):
        load(start=here, environment={})


def test_secrets_are_keys_and_passwords_but_not_placeholders():
    environment = {"A": "long-enough", "B": "EMPTY", "OPENAI_API_KEY": "openai-key-1"}
    store = "postgresql://me:p%40ss@h/n"

    found = secret_values(environment, ["A", "B", "C"], store)

    plain = tuple(text for text in found if "-" in text or "@" in text)
    assert plain == ("openai-key-1", "long-enough", ":p%40ss@", ":p@ss@")
    assert "bG9uZy1lbm91Z2" in found  # The whole characters of its base64.
    assert all("EMPTY" not in text for text in found)
    assert redact(f"x long-enough y {store}", found) == "x *** y postgresql://me:***@h/n"
    assert secret_values({}, [], "postgresql://h/n") == ()
    assert secret_values({}, [], "postgresql://me@h/n") == ()


@given(st.text(min_size=8), st.text())
def test_no_redacted_text_holds_the_secret(secret, around):
    if secret not in around + "***":
        assert secret not in redact(around + secret + around, [secret]).replace("***", "")


def test_lines_are_found_through_comments_arrays_strings_and_dotted_keys():
    text = '# c\n\n[a]\nx = """\n[b]\n"""\ny.z = 1\n\n[[t]]\nk = 1\n'
    text += "[[t]]\nk = [\n1,\n]\n[t.u]\nv = 2\n"

    lines = locate(text)

    assert lines["a",] == 3
    assert lines["a", "x"] == 4
    assert lines["a", "y", "z"] == 7
    assert lines["t", 0, "k"] == 10
    assert lines["t", 1, "k"] == 12
    assert lines["t", 1, "u", "v"] == 16
    assert ("b",) not in lines
    assert line_of(lines, ("a", "unknown")) == 3
    assert line_of(lines, ("unknown",)) == 1


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,5}", fullmatch=True),
        st.dictionaries(
            st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.integers(0, 9), min_size=1, max_size=3
        ),
        max_size=4,
    ),
    st.integers(0, 3),
)
def test_every_key_of_a_generated_file_is_found_on_its_line(tables, gap):
    written = [
        f"{'#' * gap}\n[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for table, keys in tables.items()
    ]
    text = "".join(written)
    lines = locate(text)

    assert tomllib.loads(text) == tables
    for table, keys in tables.items():
        for key, value in keys.items():
            assert text.split("\n")[lines[table, key] - 1] == f"{key} = {value}"


def test_the_vote_has_the_keys_and_defaults_of_the_consensus():
    assert ConsensusSettings().params() == ConsensusParams()
    assert set(ConsensusSettings.model_fields) == {field.name for field in fields(ConsensusParams)}


def test_the_credit_has_the_methods_and_the_settings_of_the_assigners():
    settings = CreditSettings()

    assert set(settings.methods) == set(ASSIGNERS)
    assert set(CreditSettings.model_fields) - {"methods"} == set(
        ASSIGNERS["deliberative"].settings
    )


def test_every_key_is_documented_under_its_field():
    documented: dict[str, set[str]] = {}
    for module in (models, reviewers):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ClassDef):
                pairs = zip(node.body, node.body[1:], strict=False)
                documented[node.name] = {
                    one.target.id
                    for one, two in pairs
                    if isinstance(one, ast.AnnAssign)
                    and isinstance(one.target, ast.Name)
                    and isinstance(two, ast.Expr)
                }
    inherited = documented["AskedReviewer"] | documented["ModelReviewer"]
    engines = reviewers.VllmEngine, reviewers.TransformersEngine
    named = models.LabelEntry, models.Panel, *engines
    for model in (*SETTINGS.values(), *named, *KINDS.values()):
        known = documented[model.__name__] | inherited | {"kind"}
        assert set(model.model_fields) <= known, model.__name__


def test_the_public_names_exist_and_are_sorted():
    assert all(hasattr(package, name) for name in package.__all__)
