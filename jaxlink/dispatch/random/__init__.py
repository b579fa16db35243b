"""Random variables, and the streams that give them their keys."""

from jaxlink.dispatch.random import rule as rule
from jaxlink.dispatch.random import streams as streams
from jaxlink.dispatch.random import table as table
