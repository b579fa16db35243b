"""The values of everything that a model computes from one draw."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import io_toposort
from pytensor.printing import PrinterState, pprint
from pytensor.tensor.elemwise import DimShuffle

from jaxlink.pymc.model.function import compile_model
from jaxlink.values.types import kind_of

__all__ = ["intermediates"]

# Longer texts get a number, by which other texts name them.
_LONGEST = 60


def intermediates(
    model: pm.Model, draw: Mapping[str, Any], host_callback: bool
) -> dict[str, np.ndarray]:
    """The values between the random variables of a model: the deterministics, the
    potentials, and each step towards these and towards parameters.

    Arguments:
        model: the model.
        draw: the values of random variables. What depends on others is left out.

    Returns:
        the values, in the order of computation. Each has its variable's name or its
        expression. A long expression is ``%n = ...``, and ``%n`` in others.
    """
    given = [rv for rv in model.basic_RVs if rv.name in draw]
    wanted = dict(_labelled(model, given))
    if not wanted:
        return {}
    fn = compile_model(
        model,
        {rv.name: rv for rv in given},
        wanted,
        name="intermediates",
        argument="draw",
        host_callback=host_callback,
    )
    values = fn({rv.name: draw[rv.name] for rv in given})
    return {name: np.asarray(value) for name, value in values.items()}


def _labelled(
    model: pm.Model, given: Collection[Variable]
) -> Iterator[tuple[str, Variable]]:
    """The variables that depend on those given and on no other random variable."""
    ends = [*model.deterministics, *model.potentials]
    ends += [var for rv in model.basic_RVs for var in rv.owner.inputs]
    known, random = set(given), set(model.basic_RVs) - set(given)
    texts = PrinterState(pprinter=pprint)
    for var in [*model.basic_RVs, *model.data_vars]:
        texts.memo[var] = var.name
    number, seen = 0, set()
    for node in io_toposort(model.basic_RVs, ends):
        texts.memo.update(
            (x, f"constant{x.data.shape}")
            for x in node.inputs
            if isinstance(x, Constant) and np.size(x.data) > 1
        )
        makes_random = any(kind_of(out.type) == "generator" for out in node.outputs)
        if makes_random or any(x in random for x in node.inputs):
            random.update(node.outputs)
        elif any(x in known for x in node.inputs):
            known.update(node.outputs)
        for var in node.outputs:
            # The printer of a DimShuffle does not look at the memo.
            is_view = isinstance(node.op, DimShuffle) and not var.name
            shown = node.inputs[0] if is_view else var
            text = var.name or pprint.process(shown, texts)
            if is_view:
                texts.memo[var] = text
                continue
            # Two arrays of constants read alike, and so may what is made of them.
            is_numbered = len(text) > _LONGEST or text in seen
            seen.add(text)
            texts.memo[var] = f"%{number}" if is_numbered else text
            if var in known and kind_of(var.type) == "array":
                yield (f"%{number} = {text}" if is_numbered else text), var
            number += is_numbered
