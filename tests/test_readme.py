"""What the README shows, run."""

import re
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_ten_lines_of_python_run_and_print_a_figure(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    with as_file(files("dca.demo") / "rollouts.jsonl") as bundled:
        shutil.copyfile(bundled, tmp_path / "rollouts.jsonl")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Figure(value=0." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("85 (")
    assert (tmp_path / "out" / "tokens.parquet").is_file()


def test_every_command_of_the_readme_is_one_that_exists() -> None:
    verbs = set(re.findall(r"\bdca ([a-z]+)\b", README))
    help_ = subprocess.run(
        [sys.executable, "-m", "dca", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert {"demo", "import", "review", "consensus", "credit", "export", "train"} <= verbs
    assert [verb for verb in verbs if not re.search(rf"^  {verb}\b", help_, re.MULTILINE)] == []


def test_no_figure_is_left_open() -> None:
    assert re.findall(r"@[A-Z]+@", README) == []


def test_every_file_that_the_readme_names_is_there() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"python (benchmarks/[\w.]+)", README
    )

    assert [name for name in linked if not (ROOT / name).is_file()] == []
