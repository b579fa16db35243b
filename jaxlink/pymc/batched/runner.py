"""A run over samples: how it is computed, and where its results go."""

import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Sharding
from xarray import DataTree

from jaxlink.pymc.batched.chunks import Call, Chunks, evaluate
from jaxlink.pymc.batched.memory import check_memory
from jaxlink.pymc.batched.samples import Samples
from jaxlink.pymc.batched.store import BLOCK_BYTES, ZarrStore
from jaxlink.pymc.shared.arguments import HERE, Arrays, check_batch_size, mesh_of
from jaxlink.pymc.shared.progress import progress_bar

__all__ = ["Run"]

# (arrays of shape (*sample shape, ...), labels of the sample dimensions) -> a tree
Build = Callable[[Arrays, Mapping[str, Any]], DataTree]


@dataclass(frozen=True)
class Run:
    """How to evaluate a function over samples.

    Attributes:
        batch_size: how many samples a chunk has; ``None``: what memory allows.
        progressbar: whether to show the progress.
        sharding: over whose devices the samples of a chunk are divided.
        store: where on disk the results go; ``None``: they stay in memory.
        store_mode: whether the store may be there already.
        memory_limit: how many bytes of results may stay in memory.
        progressbar_theme: of rich, for the progress.

    Raises:
        TypeError, ValueError: one of these is wrong.
    """

    batch_size: int | None = None
    progressbar: bool | str = True
    sharding: Sharding | None = None
    store: Any = None
    store_mode: Literal["w-", "w"] = "w-"
    memory_limit: float | None = None
    progressbar_theme: Any = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        mesh = mesh_of(self.sharding)
        if self.store is not None and mesh is not None:
            processes = {device.process_index for device in mesh.devices.flat}
            if processes != {jax.process_index()}:
                raise ValueError(
                    "store= with a sharding over several processes: they would write "
                    "the same files. Leave out store, or run each process on its own "
                    "devices, with a store of its own."
                )
        if self.memory_limit is not None and not self.memory_limit > 0:
            raise ValueError(
                f"memory_limit must be a number of bytes, not {self.memory_limit!r}."
            )

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
            fn, call, samples, key, hint: as for `Chunks`.
            build: makes a tree of one level.
            description: what is being done.
            keep: names of values of the samples that are results as they are.
            interruptible: whether Ctrl-C ends with what is done.

        Raises:
            ValueError: shapes do not go together.
            MemoryError: the results take more than ``memory_limit``.
            FileExistsError, ImportError: about the store.
            KeyboardInterrupt: unless ``interruptible``, or if nothing was done yet.
        """
        kept = Samples(samples.coords, {name: samples.values[name] for name in keep})
        chunks = Chunks(
            fn,
            call,
            samples,
            key=key,
            batch_size=self.batch_size,
            sharding=self.sharding,
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
            check_memory(nbytes, advice, self.memory_limit)
        *_, (along, labels) = samples.coords.items()
        total = len(labels)
        width, result, store = total, DataTree(), None

        def tree(first: int, last: int, arrays: Arrays) -> DataTree:
            part = kept.part(first, last)
            own = {name: np.array(value) for name, value in part.values.items()}
            return build({**arrays, **own}, part.coords)

        def finished(first: int, last: int, arrays: Arrays) -> None:
            nonlocal result
            if store is None:
                result = tree(first, last, arrays)
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they came when it was created
                store.append(tree(first, last, arrays))

        if self.store is not None:
            store = ZarrStore(self.store, self.store_mode)
            width = max(1, min(total, BLOCK_BYTES * total // max(1, nbytes)))
            with warnings.catch_warnings():
                # ArviZ doubts that there are fewer draws than chains.
                warnings.filterwarnings("ignore", "Found .* dimension to be longer")
                empty = tree(0, 0, chunks.empty(0))
            store.create(empty, along, width)
        shown = bool(self.progressbar), samples.size, "draw", description
        theme = self.progressbar_theme
        with progress_bar(*shown, **({"theme": theme} if theme else {})) as bar:
            chunks.compile()
            bar(0, "")
            columns = evaluate(chunks, width, finished, lambda n: bar(n, ""))
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
