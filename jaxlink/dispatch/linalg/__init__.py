"""Linear algebra."""

from jaxlink.dispatch.linalg import decompositions as decompositions
from jaxlink.dispatch.linalg import matrices as matrices
from jaxlink.dispatch.linalg import products as products
from jaxlink.dispatch.linalg import schur as schur
from jaxlink.dispatch.linalg import solvers as solvers
from jaxlink.dispatch.linalg import tridiagonal as tridiagonal
