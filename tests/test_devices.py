"""The same key has the same draws on one device, on eight, and on two processes."""

import os
import pickle
import socket
import subprocess
import sys

import numpy as np
import pytest
import several_devices
from support import assert_same


def start(number, path, *distributed):
    """Start a process with some devices of its own."""
    flags = f"--xla_force_host_platform_device_count={number}"
    return subprocess.Popen(
        [sys.executable, several_devices.__file__, str(path), *map(str, distributed)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reports(*started):
    """What processes report, each in a file."""
    ends = [
        (process, path, process.communicate(timeout=500)) for process, path in started
    ]
    for process, _, (_, errors) in ends:
        assert process.returncode == 0, errors
    return [pickle.loads(path.read_bytes()) for _, path, _ in ends]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def one(folder):
    path = folder / "one.pkl"
    (report,) = reports((start(1, path), path))
    assert report["devices"] == 1
    return report["results"]


@pytest.mark.slow
def test_draws_on_eight_devices(folder, one):
    path = folder / "eight.pkl"
    (report,) = reports((start(8, path), path))
    assert report["devices"] == 8
    assert_same(report["results"], one)
    assert_same(one["Auto"], one["Explicit"])


@pytest.mark.slow
def test_draws_of_two_processes(folder, one):
    """Each process has all draws, of all functions, and they share a store."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    paths = [folder / f"process{rank}.pkl" for rank in range(2)]
    first, second = reports(
        *((start(1, path, rank, address), path) for rank, path in enumerate(paths))
    )
    assert first["devices"] == 2
    one = {name: found for name, found in one.items() if name != "gradients"}
    assert_same(first["results"], one)
    assert_same(second["results"], one)
    np.testing.assert_array_equal(first["unseeded"], second["unseeded"])
    assert first["its key"] == second["its key"]
    trace, chains = first["refused"]
    assert "leave out callback" in trace
    assert "1 chains cannot be spread over 2 processes" in chains
