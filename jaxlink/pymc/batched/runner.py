"""A run over samples: how to compute it, and where its results go."""

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, Literal, TypedDict, Unpack, cast

import jax
import numpy as np
from jax.sharding import Sharding
from rich.theme import Theme
from xarray import DataTree

from jaxlink.call.memory import check_memory
from jaxlink.pymc.batched.chunks import Call, Chunks, evaluate
from jaxlink.pymc.batched.samples import Samples
from jaxlink.pymc.batched.store import BLOCK_BYTES, ZarrStore
from jaxlink.pymc.shared.arguments import HERE, Arrays, check_batch_size, device_mesh
from jaxlink.pymc.shared.processes import is_shared
from jaxlink.pymc.shared.progress import progress_bar
from jaxlink.pymc.shared.pymc_arguments import refuse_unknown

__all__ = ["Run", "RunOptions", "takes_run_options"]

# (arrays of shape (*sample shape, ...), labels of the sample dimensions) -> a tree
Build = Callable[[Arrays, Mapping[str, Any]], DataTree]


class RunOptions(TypedDict, total=False):
    """How a function is evaluated at many samples, and where the results go.

    All functions that run over samples take these keyword arguments.

    Arguments:
        batch_size: how many samples are computed at a time; default: what an estimate
            of their memory allows (`jaxlink.call.memory`), on each core of a CPU.
        progressbar: whether to show a progress bar; default: True.
        progressbar_theme: a rich theme for it.
        sharding: the devices over which samples are divided; default: one device. Only
            the sharding's devices count. If they belong to several processes
            (``jax.distributed``), all of these call the function, and get all results.
        store: a path, URL or Zarr store to which the results are written while they
            are computed. The returned tree loads them on demand. Of several processes,
            the first one writes.
        store_mode: "w" replaces a store that exists; "w-", the default, refuses it.
        memory_limit: the size of the largest result without a store, in bytes;
            default: the memory of this machine.

    Raises:
        TypeError, ValueError: an option is wrong.
        MemoryError: the result would be larger than ``memory_limit``.
        FileExistsError: the store exists.
        ImportError: ``store`` needs zarr.
    """

    batch_size: int | None
    progressbar: bool | str
    progressbar_theme: Theme | str | None
    sharding: Sharding | None
    store: Any
    store_mode: Literal["w-", "w"]
    memory_limit: float | None


_DEFAULTS: RunOptions = {
    "batch_size": None,
    "progressbar": True,
    "progressbar_theme": None,
    "sharding": None,
    "store": None,
    "store_mode": "w-",
    "memory_limit": None,
}


def takes_run_options[F: Callable[..., Any]](function: F) -> F:
    """Put the options into the signature of a function that takes ``**options``, and
    refuse any others."""
    parameters = inspect.signature(function).parameters.values()
    own = [one for one in parameters if one.kind is not one.VAR_KEYWORD]
    types = RunOptions.__annotations__
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=types[name]
        )
        for name, value in _DEFAULTS.items()
    ]
    signature = inspect.Signature([*own, *options])

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        unknown = [name for name in kwargs if name not in signature.parameters]
        refuse_unknown(function.__name__, unknown, signature.parameters)
        return function(*args, **kwargs)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return cast(F, call)


class Run:
    """How to evaluate a function over samples.

    Arguments:
        options: see `RunOptions`.
    """

    def __init__(self, **options: Unpack[RunOptions]):
        self.options: RunOptions = {**_DEFAULTS, **options}
        self.store = self.options["store"]
        limit = self.options["memory_limit"]
        check_batch_size(self.options["batch_size"])
        self.mesh = device_mesh(self.options["sharding"])
        if limit is not None and not limit > 0:
            raise ValueError(f"memory_limit must be a number of bytes, not {limit!r}.")

    def __call__(
        self,
        fn: Any,
        call: Call,
        samples: Samples,
        build: Build,
        *,
        description: str,
        key: jax.Array | None = None,
        keep: Collection[str] = (),
        hint: Callable[[], str] = str,
        interruptible: bool = False,
    ) -> DataTree:
        """Evaluate ``fn`` at all samples, and build the tree of the results.

        Arguments:
            fn, call, samples, key, hint: see `Chunks`.
            build: makes a tree of one level.
            description: the text of the progress bar.
            keep: names of sample values to return unchanged.
            interruptible: whether the results so far are returned after Ctrl-C.

        Raises:
            ValueError: shapes do not match.
            MemoryError: the results take more than ``memory_limit``.
            FileExistsError, ImportError: see `RunOptions`.
            KeyboardInterrupt: unless ``interruptible``, or if there are no results yet.
        """
        kept = Samples(samples.coords, {name: samples.values[name] for name in keep})
        chunks = Chunks(
            fn,
            call,
            samples,
            key=key,
            batch_size=self.options["batch_size"],
            sharding=self.options["sharding"],
            hint=hint,
        )
        nbytes = chunks.nbytes + sum(
            math.prod(value.shape) * value.dtype.itemsize
            for value in kept.values.values()
        )
        if self.store is None:
            advice = (
                "Pass store=PATH to write it to disk chunk by chunk, or ask for fewer "
                "draws or var_names."
            )
            check_memory(nbytes, advice, self.options["memory_limit"])
        *_, (along, labels) = samples.coords.items()
        total = len(labels)
        width, result, store = total, DataTree(), None

        def tree(first: int, last: int, arrays: Arrays) -> DataTree:
            part = kept.part(first, last)
            own = {name: np.array(value) for name, value in part.values.items()}
            return build({**arrays, **own}, part.coords)

        def on_block(first: int, last: int, arrays: Arrays) -> None:
            nonlocal result
            if store is None:
                result = tree(first, last, arrays)
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # create() gave the same
                store.append(tree(first, last, arrays))

        if self.store is not None:
            store = ZarrStore(
                self.store, self.options["store_mode"], shared=is_shared(self.mesh)
            )
            width = max(1, min(total, BLOCK_BYTES * total // max(1, nbytes)))
            with warnings.catch_warnings():
                # ArviZ warns that there are fewer draws than chains.
                warnings.filterwarnings("ignore", "Found .* dimension to be longer")
                empty = tree(0, 0, chunks.empty(0))
            store.create(empty, along, width)
        shown = bool(self.options["progressbar"]), samples.size, "draw", description
        with progress_bar(*shown, theme=self.options["progressbar_theme"]) as bar:
            chunks.compile()
            bar(0, "")
            columns = evaluate(chunks, width, on_block, lambda n: bar(n, ""))
        if columns < total:
            if not (interruptible and columns):
                raise KeyboardInterrupt
            warnings.warn(
                f"interrupted when {columns} of {total} along `{along}` were finished: "
                "only these are returned.",
                UserWarning,
                skip_file_prefixes=HERE,
            )
        return result if store is None else store.open()
