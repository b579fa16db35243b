"""Random variables, and the streams of keys that they draw with."""

from jaxlink.dispatch.random import rule as rule
from jaxlink.dispatch.random import streams as streams
from jaxlink.dispatch.random import table as table
