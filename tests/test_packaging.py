"""What is shipped: the wheel in an empty environment, decoys on the path, nothing heavy loaded."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "trl", "datasets")


def run(*command: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        pytest.fail(f"{command}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=ROOT)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that holds our wheel and what it needs, nothing else."""
    home = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", home, cwd=ROOT)
    constraints = ROOT / "constraints.txt"
    run(home / "bin" / "pip", "install", "-q", "-c", constraints, wheel, cwd=home)
    return home / "bin"


def test_the_wheel_holds_five_packages_and_their_data_files(wheel: Path) -> None:
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)
    names = zipfile.ZipFile(wheel).namelist()

    for name in ("dca", "prompts", "reviewers", "store", "training"):
        assert f"{name}/py.typed" in names
    assert "dca/demo/rollouts.jsonl" in names
    assert "prompts/segment-and-credit.md" in names
    assert any(name.startswith("store/migrations/versions/r0001") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


@pytest.mark.slow
def test_the_wheel_alone_does_the_demo_beside_a_decoy_store(bare: Path, tmp_path: Path) -> None:
    decoy = tmp_path / "store"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("raise SystemExit('the decoy was imported')")
    packages = run(bare / "pip", "list", "--format", "json", cwd=tmp_path).stdout
    assert not {item["name"] for item in json.loads(packages)} & {"torch", "transformers", "trl"}

    help_ = run(bare / "dca", "--help", cwd=tmp_path).stdout
    done = run(bare / "dca", "demo", "--json", cwd=tmp_path)

    assert "demo" in help_
    document = json.loads(done.stdout)
    assert document["ok"]
    assert (tmp_path / "dca-demo" / "tokens.parquet").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("stray", ["store/__init__.py", "training.py"])
def test_a_folder_or_file_that_hides_a_package_of_ours_is_named(
    bare: Path, tmp_path: Path, stray: str
) -> None:
    decoy = tmp_path / stray
    decoy.parent.mkdir(exist_ok=True)
    decoy.write_text("")
    name = decoy.parent.name if decoy.name == "__init__.py" else decoy.stem

    # With -m the working folder comes first on the path, and the decoy would win.
    done = run(bare / "python", "-m", "dca", "--help", cwd=tmp_path, check=False)

    assert done.returncode != 0
    hiding = decoy.parent if decoy.name == "__init__.py" else decoy
    assert f"another module named {name!r} at {hiding} hides ours" in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import dca; dca.open_project",
        "from dca.cli import main",
        "import dca.pipeline.demo, dca.pipeline.export, dca.pipeline.panels",
        "import training.credit.assigners, training.rows, training.vocabulary, training.run",
    ],
)
def test_the_light_path_loads_no_torch(code: str, tmp_path: Path) -> None:
    probe = f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"

    assert run(sys.executable, "-c", probe, cwd=tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["--help", "review --help", "credit --help"])
def test_help_loads_no_torch(verb: str, tmp_path: Path) -> None:
    probe = (
        f"import sys\nfrom dca.cli import main\nsys.argv[1:] = {verb.split()!r}\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )

    assert run(sys.executable, "-c", probe, cwd=tmp_path).stderr.strip() == "[]"
