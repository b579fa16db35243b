"""What each Op means in JAX, one module an area of PyTensor. Importing registers."""

import importlib
import pkgutil

# Every module of this package holds rules.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
