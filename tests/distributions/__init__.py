"""The table of distributions: what is drawn, where, and what it is compared with.

Each module holds ``CASES``, one row a distribution (see `harness`). The tests that run
over all of them are in ``tests/test_distributions.py``; ``python tests/distribution_page.py``
writes docs/distributions.md from them.
"""  # noqa: E501

import importlib
import pkgutil

from distributions.harness import Case


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
