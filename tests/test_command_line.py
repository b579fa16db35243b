"""`python -m jaxlink info`, as a bug report quotes it."""

import subprocess
import sys
from importlib.metadata import version

import jax
import pytest

from jaxlink.__main__ import main


def test_info_of_this_process(capsys, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for package in ("jaxlink", "jax", "numpy", "pytensor", "pymc", "blackjax"):
        assert f"{package} {version(package)}" in printed
    assert f"backend: cpu ({jax.device_count()} x cpu)" in printed
    assert "jax_enable_x64: on" in printed
    assert "JAX_PLATFORMS=cpu" in printed


def test_info_of_a_cache(tmp_path):
    program = "import jaxlink.__main__ as m, jax; jax.jit(abs)(1.0); m.main(['info'])"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={"JAXLINK_CACHE": str(tmp_path / "programs"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = [x for x in printed.splitlines() if x.startswith("cache of programs")]
    assert str(tmp_path / "programs") in line
    assert line.endswith(" KiB")
    assert not line.endswith(" 0 KiB")


def test_a_command_that_is_missing(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "required: command" in capsys.readouterr().err
