"""Exports graphs of every family of Ops in Aesara, with the values that it computes.

    python aesara_catalogue.py FOLDER [NAME ...]
    python aesara_catalogue.py --classes

It runs next to Aesara, with `aesara_export.py` on the path. It writes ``NAME.aesara``,
and ``NAME.npz`` with the arguments (``in0``, ...) and results (``out0``, ...), and says
which graphs Aesara itself cannot build or compute. ``--classes`` lists the classes of
Ops.
"""

import importlib
import importlib.util
import logging
import pkgutil
import sys
import warnings
from pathlib import Path

import aesara
import numpy as np
import scipy.sparse
from aesara.graph.op import Op
from aesara_export import export
from aesara_graphs import GRAPHS

AREAS = "elementwise shapes reductions indexing linalg control networks sparse random"


def write(name, folder):
    """Write one graph and its values."""
    pairs, outputs, *fns = GRAPHS[name]()
    inputs = [variable for variable, _ in pairs]
    export(folder / f"{name}.aesara", inputs, outputs)
    listed = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    fn = fns[0] if fns else aesara.function(inputs, listed, on_unused_input="ignore")
    results = fn(*[value for _, value in pairs])
    arrays = {f"in{i}": dense(value) for i, (_, value) in enumerate(pairs)}
    arrays.update({f"out{i}": dense(value) for i, value in enumerate(results)})
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def dense(value):
    return value.toarray() if scipy.sparse.issparse(value) else value


def classes():
    """The names of all classes of Ops."""
    skipped = ("link", "d3viz", "bin", "misc", "_version", "scan_perform")
    for module in pkgutil.walk_packages(aesara.__path__, "aesara."):
        if not any(part.startswith(skipped) for part in module.name.split(".")):
            importlib.import_module(module.name)
    found, left = set(), [Op]
    while left:
        subclasses = left.pop().__subclasses__()
        left += subclasses
        found.update(f"{c.__module__}.{c.__qualname__}" for c in subclasses)
    return sorted(found)


def main(arguments):
    if arguments == ["--classes"]:
        print("\n".join(classes()))
        return
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    for area in AREAS.split():
        importlib.import_module(f"aesara_graphs.{area}")
    if importlib.util.find_spec("aeppl") is not None:
        importlib.import_module("aesara_graphs.densities")
    folder = Path(arguments[0])
    folder.mkdir(exist_ok=True)
    for name in arguments[1:] or GRAPHS:
        try:
            write(name, folder)
        except Exception as error:
            print(f"failed: {name}: {type(error).__name__}: {error}")
    print(f"{len(list(folder.glob('*.npz')))} graphs by Aesara {aesara.__version__}")


if __name__ == "__main__":
    main(sys.argv[1:])
