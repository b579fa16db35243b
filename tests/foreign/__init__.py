"""Models that other libraries build, small and with data of NumPy's generators.

The tests over all of them are in ``tests/test_foreign_models.py``. They need the
dependency group ``foreign``.
"""

from models.entry import Entry

from foreign.bambi import MODELS as OF_BAMBI
from foreign.extras import MODELS as OF_EXTRAS

__all__ = ["MODELS", "Entry"]

MODELS = OF_BAMBI | OF_EXTRAS
