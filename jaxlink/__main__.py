"""``python -m jaxlink``: what is installed here, and what an exported function is."""

import argparse
import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from jaxlink.errors import ExportError
from jaxlink.exports.manifest import unpack

# In the order of their distance from us.
_PACKAGES = (
    *("jaxlink", "jax", "jaxlib", "numpy", "pytensor", "pymc", "arviz", "xarray"),
    *("blackjax", "numpyro", "nutpie", "optax", "equinox", "optimistix", "diffrax"),
    *("flowjax", "genjax", "flatbuffers", "zarr"),
)
# Variables that change what runs.
_VARIABLES = (
    *("JAXLINK_CACHE", "JAX_PLATFORMS", "JAX_ENABLE_X64", "JAX_DEFAULT_PRNG_IMPL"),
    *("JAX_NUMPY_DTYPE_PROMOTION", "XLA_FLAGS", "PYTENSOR_FLAGS"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments:
        argv: the arguments; ``None`` takes them from the command line.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m jaxlink")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print what a bug report needs")
    inspect = commands.add_parser("inspect", help="print what an exported function is")
    inspect.add_argument("file", type=Path, help="the bytes that jaxlink.export wrote")
    inspect.add_argument("--json", action="store_true", help="print it all as JSON")
    options = parser.parse_args(argv)
    if options.command == "info":
        print("\n".join(_info()))
        return 0
    try:
        manifest, _, _ = unpack(options.file.read_bytes())
    except (ExportError, OSError) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(manifest.to_json(), indent=1) if options.json else manifest)
    return 0


def _info() -> Iterator[str]:
    yield f"Python {platform.python_version()}, {platform.platform()}"
    installed = {name: _version(name) for name in _PACKAGES}
    yield ", ".join(f"{name} {found}" for name, found in installed.items() if found)
    missing = [name for name, found in installed.items() if not found]
    yield f"not installed: {', '.join(missing) or 'none'}"
    kinds = Counter(device.device_kind for device in jax.devices())
    devices = ", ".join(f"{n} x {kind}" for kind, n in kinds.items())
    yield f"backend: {jax.default_backend()} ({devices})"
    yield f"jax_enable_x64: {'on' if jax.config.jax_enable_x64 else 'off'}"
    yield f"keys: {jax.random.key_impl(jax.random.key(0))}"
    yield f"cache of programs: {_cache()}"
    for name in _VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cache() -> str:
    cache = sys.modules.get("jaxlink.cache")  # imported if JAXLINK_CACHE is set
    folder = cache.directory() if cache is not None else None
    if folder is None:
        return "off"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shown = f"{size / 2**10:,.0f} KiB" if size < 2**20 else f"{size / 2**20:,.0f} MiB"
    return f"{folder}, {shown}"


if __name__ == "__main__":
    sys.exit(main())
