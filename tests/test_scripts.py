"""The scripts under benchmarks/ load with the present package: a renamed function or a new key would break them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_loads(script):
    assert callable(runpy.run_path(str(script), run_name="loaded")["main"])
