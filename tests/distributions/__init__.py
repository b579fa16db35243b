"""The table of distributions: what is drawn, where, and what it is compared with.

Each module holds ``CASES``, one row a distribution (see `harness`). The tests that run
over all of them are in ``tests/test_distributions.py``; ``python tests/distribution_page.py``
writes docs/distributions.md from them.
"""  # noqa: E501

import importlib
import pkgutil
from functools import cache

from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

from distributions.harness import Case, inputs_of
from jaxlink.dispatch.random.registry import find_row


def _all_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for name, case in getattr(
            importlib.import_module(module.name), "CASES", {}
        ).items():
            assert name not in cases, f"two cases are called {name}"
            cases[name] = case
    return cases


CASES = _all_cases()


@cache
def op_of(name: str) -> Op:
    """The Op whose output a case is."""
    case = CASES[name]
    return case.build(*inputs_of(case)).owner.op


@cache
def first_of_each_sampler() -> list[str]:
    """The first case of each row of samplers, and of each symbolic distribution."""
    names: dict[object, str] = {}
    for name in CASES:
        op = op_of(name)
        drawn_by: object = type(op)
        if isinstance(op, RandomVariable):
            row = find_row(op)
            drawn_by = (row.draw, row.reads_op and op)
        names.setdefault(drawn_by, name)
    return list(names.values())
