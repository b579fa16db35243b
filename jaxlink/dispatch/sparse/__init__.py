"""Sparse matrices."""

from jaxlink.dispatch.sparse import arithmetic as arithmetic
from jaxlink.dispatch.sparse import conversion as conversion
from jaxlink.dispatch.sparse import indexing as indexing
from jaxlink.dispatch.sparse import products as products
from jaxlink.dispatch.sparse import stacking as stacking
