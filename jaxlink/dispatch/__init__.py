"""What each Op means in JAX, one module or package an area of PyTensor.

Importing registers the rules, but for those of PyTensor's optional packages: they wait
until one of their Ops is met.
"""

from jaxlink.dispatch.registry import load_rules

load_rules()
