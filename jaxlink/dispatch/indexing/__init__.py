"""Reading and writing parts of arrays by index."""

from jaxlink.dispatch.indexing import coordinates as coordinates
from jaxlink.dispatch.indexing import fill_unselected as fill_unselected
from jaxlink.dispatch.indexing import subtensor as subtensor
