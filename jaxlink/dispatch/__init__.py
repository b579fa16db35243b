"""What each Op means in JAX: one module or package for each area of PyTensor.

Importing this package registers the rules. The rules of optional packages (see
`registry`) are registered when a graph first contains one of their Ops.
"""

from jaxlink.dispatch import blockwise as blockwise
from jaxlink.dispatch import control as control
from jaxlink.dispatch import creation as creation
from jaxlink.dispatch import decisions as decisions
from jaxlink.dispatch import fft as fft
from jaxlink.dispatch import gradients as gradients
from jaxlink.dispatch import host_callback as host_callback
from jaxlink.dispatch import indexing as indexing
from jaxlink.dispatch import joining as joining
from jaxlink.dispatch import linalg as linalg
from jaxlink.dispatch import ode as ode
from jaxlink.dispatch import op_from_graph as op_from_graph
from jaxlink.dispatch import optimize as optimize
from jaxlink.dispatch import random as random
from jaxlink.dispatch import reductions as reductions
from jaxlink.dispatch import scalar as scalar
from jaxlink.dispatch import scan as scan
from jaxlink.dispatch import shape as shape
from jaxlink.dispatch import signal as signal
from jaxlink.dispatch import sorting as sorting
from jaxlink.dispatch import special as special
from jaxlink.dispatch import stacked as stacked
from jaxlink.dispatch import wrapped as wrapped
