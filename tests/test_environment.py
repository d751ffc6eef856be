"""pyproject.toml, constraints.txt, environment.yml and the running environment say the same."""

import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = (
    "jupyterlab papermill torch transformers trl peft vllm datasets pandas matplotlib seaborn nbval pytest".split()
)


def by_name(lines) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pin(requirement: Requirement) -> str | None:
    """The version of `name==version`; None for a range."""
    [specifier, *more] = requirement.specifier
    return specifier.version if specifier.operator == "==" and not more else None


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: by_name(lines) for name, lines in PROJECT["optional-dependencies"].items()}
BASE = by_name(PROJECT["dependencies"])
MAIN = BASE | EXTRAS["test"]  # what `make venv` installs

CONSTRAINT_LINES = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
]
CONSTRAINTS = by_name(CONSTRAINT_LINES)

CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
[CONDA_PIP] = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
CONDA_REQUIREMENTS = by_name(line for line in CONDA_PIP if not line.startswith("-e"))
# Where environment.yml may not follow constraints.txt: before Python 3.13, vLLM 0.32 needs a mistral-common that wants this.
VLLM_WANTS = by_name(["numpy<2.4"])


@pytest.mark.parametrize("name", MAIN)
def test_constraint_satisfies_the_range(name):
    assert name in CONSTRAINTS, f"constraints.txt does not pin {name}: make constraints"
    assert MAIN[name].specifier.contains(pin(CONSTRAINTS[name]))


@pytest.mark.parametrize("line", CONSTRAINT_LINES)
def test_constraint_is_a_public_version(line):
    """No path and no build label such as +cpu: the file must work on another machine."""
    requirement = Requirement(line)
    assert requirement.url is None
    assert pin(requirement) and "+" not in line


@pytest.mark.parametrize("name", MAIN)
def test_conda_environment_has_the_same_version(name):
    conda, ours = pin(CONDA_REQUIREMENTS[name]), pin(CONSTRAINTS[name])
    if name in VLLM_WANTS:
        assert VLLM_WANTS[name].specifier.contains(conda)
        assert MAIN[name].specifier.contains(conda)
        assert not VLLM_WANTS[name].specifier.contains(ours), f"{name} needs no exception any more: use {ours}"
    else:
        assert conda == ours


def test_conda_environment_says_nothing_else():
    assert set(CONDA_REQUIREMENTS) == set(MAIN) | {"vllm"}
    assert CONDA_REQUIREMENTS["vllm"].specifier == EXTRAS["vllm"]["vllm"].specifier
    assert "-e ." in CONDA_PIP
    [python] = [entry for entry in CONDA["dependencies"] if isinstance(entry, str) and entry.startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python=") + ".0")


@pytest.mark.parametrize("name", REQUIRED)
def test_required_package_is_declared(name):
    assert any(name in group for group in [BASE, *EXTRAS.values()])
    assert name in CONDA_REQUIREMENTS


def test_vllm_is_an_extra():
    assert "vllm" in EXTRAS["vllm"]
    assert "vllm" not in MAIN
    assert "vllm" not in CONSTRAINTS  # frozen from an environment that runs on a CPU


@pytest.mark.parametrize("name", MAIN)
def test_installed_version_is_the_pinned_one(name):
    pins = CONDA_REQUIREMENTS if find_spec("vllm") else CONSTRAINTS
    assert pins[name].specifier.contains(version(name)), (
        f"{name} {version(name)} is installed, not {pin(pins[name])}: make venv"
    )
