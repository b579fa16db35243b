"""Rules and samplers for PyMC's own classes."""

from jaxlink.dispatch.pymc import differential_equation as differential_equation
from jaxlink.dispatch.pymc import minibatch as minibatch
from jaxlink.dispatch.pymc import parameter_checks as parameter_checks
from jaxlink.dispatch.pymc import splines as splines
from jaxlink.dispatch.pymc import table as table
