"""Environments of their own, for slow tests of packages that the others do not have."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What uv says if it reaches no package index.
NO_NETWORK = ("error sending request", "dns error", "the network was disabled")


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    python: Path

    def run(self, *args: object, **variables: str) -> str:
        """Run Python with ``args``, and return what it printed."""
        ran = _run(self.python, *args, **variables)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


def make_environment(
    folder: Path, *installs: Sequence[object], python: object = sys.executable
) -> Environment:
    """Make an environment. Each of ``installs`` holds the arguments of one ``pip
    install``. The test is skipped if there is no uv, no such Python or no package
    index."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    made = _run(uv, "venv", "--python", python, folder)
    if python != sys.executable and made.returncode:
        pytest.skip(f"there is no Python {python}: {made.stderr[-500:]}")
    assert made.returncode == 0, made.stderr
    executable = folder / "bin" / "python"
    for packages in installs:
        installed = _run(uv, "pip", "install", "--python", executable, *packages)
        if any(words in installed.stderr.lower() for words in NO_NETWORK):
            pytest.skip(f"there is no package index: {installed.stderr[-500:]}")
        assert installed.returncode == 0, installed.stderr
    return Environment(executable)


def _run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=1200,
    )
