"""The zoo: small models of the kinds that people write, with data that ship with the
repository or with scikit-learn.

Each module holds ``MODELS``, one `Entry` a model. The tests over all of them are in
``tests/test_models.py`` and ``tests/test_models_sampling.py``.
"""

import importlib
import pkgutil

from models.entry import Entry

__all__ = ["MODELS", "Entry"]


def _all_models() -> dict[str, Entry]:
    models: dict[str, Entry] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for name, entry in getattr(
            importlib.import_module(module.name), "MODELS", {}
        ).items():
            assert name not in models, f"two models are called {name}"
            models[name] = entry
    return models


MODELS = _all_models()
