"""Settings that have to stand before JAX and PyTensor are imported, and the account of
which Ops the tests compare with PyTensor."""

import os
import signal
from pathlib import Path

import pytest

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
# Compiling takes most of the time of the tests, so JAX keeps programs for the next run,
# each under a hash of the program, its options and XLA's version. The folder may be
# deleted at any time; JAX_ENABLE_COMPILATION_CACHE=0 runs the tests without it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jaxlink-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# PyTensor's values are the reference: take them from NumPy, without compiling C.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    filter(None, [os.environ.get("PYTENSOR_FLAGS"), "cxx=", "linker=py"])
)

# A process that a shell starts in the background ignores Ctrl-C, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Names of Ops whose values, and whose gradients, were compared; of all workers.
COMPARED: dict[str, set[str]] = {"values": set(), "gradients": set()}


def pytest_testnodedown(node):
    """Take over what a worker compared."""
    for what, names in getattr(node, "workeroutput", {}).get("compared", {}).items():
        COMPARED[what].update(names)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Fail a run of all tests in which the values of an Op that has a rule, or the
    gradient of a differentiable one, was never compared with PyTensor's."""
    import support

    for what, names in support.COMPARED.items():
        COMPARED[what].update(names)
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["compared"] = {k: sorted(v) for k, v in COMPARED.items()}
        return
    of_all = config.args_source is config.ArgsSource.TESTPATHS
    if exitstatus or not of_all or config.option.keyword or config.option.lf:
        return
    import catalogue

    missing = catalogue.not_compared(COMPARED)
    if missing:
        session.config.stash[_MISSING] = missing
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_MISSING = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash.get(_MISSING, []):
        terminalreporter.write_line(f"never compared with PyTensor: {line}", red=True)
