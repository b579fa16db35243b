"""Chains in the workers of Parsl, some of which are killed."""

import subprocess
import sys
from pathlib import Path

import parsl_workers
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "parsl_chains.py"


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
@pytest.mark.parametrize("what", ["same", "lost"])
def test_chains_in_workers(what, tmp_path):
    assert "all is well" in run(parsl_workers.__file__, what, tmp_path)


@pytest.mark.slow
def test_the_example(tmp_path):
    options = ["--draws", "100", "--tune", "100", "--chains", "2", "--out", tmp_path]
    first = run(EXAMPLE, *options)
    assert "in between" in first
    assert (tmp_path / "parsl_chains.png").stat().st_size > 10_000
    # The chains are there.
    assert len(list((tmp_path / "chains").rglob("*.npz"))) == 6
    assert run(EXAMPLE, *options) == first
