"""What each Op means in JAX, one module an area of PyTensor. Importing registers."""

import importlib
import pkgutil

from jaxlink.dispatch.registry import OPTIONAL

# Every module of this package holds rules. Those of optional packages wait until one of
# their Ops is met.
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith(tuple(OPTIONAL.values())):
        importlib.import_module(f"{__name__}.{_module.name}")
