"""The same key has the same draws on one device and on eight."""

import os
import pickle
import subprocess
import sys

import pytest
import several_devices
from support import assert_same


def on_devices(number, path):
    flags = f"--xla_force_host_platform_device_count={number}"
    subprocess.run(
        [sys.executable, several_devices.__file__, str(path)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    devices, results = pickle.loads(path.read_bytes())
    assert devices == number
    return results


@pytest.mark.slow
def test_draws_on_eight_devices(tmp_path):
    one, eight = (on_devices(n, tmp_path / f"{n}.pkl") for n in (1, 8))
    assert_same(eight, one)
    assert_same(one["Auto"], one["Explicit"])
