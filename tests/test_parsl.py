"""Chains in the workers of Parsl, some of which are killed."""

import subprocess
import sys
from pathlib import Path

import parsl_workers
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*command):
    # Parsl starts its programs by name, from the environment's folder.
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["same", "lost", "flows"])
def test_chains_in_workers(what, tmp_path):
    assert "all is well" in run(parsl_workers.__file__, what, tmp_path)


@pytest.mark.slow
def test_the_sweep(tmp_path):
    options = ["--draws", "100", "--tune", "100", "--chains", "2", "--out", tmp_path]
    first = run(EXAMPLES / "parsl_chains.py", *options)
    assert "in between" in first
    assert (tmp_path / "parsl_chains.png").stat().st_size > 10_000
    # The chains are there.
    assert len(list((tmp_path / "chains").rglob("*.npz"))) == 6
    assert run(EXAMPLES / "parsl_chains.py", *options) == first


@pytest.mark.slow
def test_the_flows(tmp_path):
    options = ["--draws", "20", "--tune", "20", "--chains", "2", "--out", tmp_path]
    assert "R-hat" in run(EXAMPLES / "flow_vi.py", "--workers", "2", *options)
    assert (tmp_path / "flow_vi.png").stat().st_size > 10_000
