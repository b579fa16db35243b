"""log(erfc(x)) as an Op."""

from typing import Any

import numpy as np
import pytensor.scalar as ps
from pytensor.scalar.math import erfc
from pytensor.tensor.elemwise import Elemwise


class LogErfc(ps.UnaryScalarOp):
    """log(erfc(x)). PyTensor rewrites it to a switch that is right only in 64 bits."""

    def impl(self, x: Any) -> Any:
        return np.log(erfc.impl(x))


log_erfc_of = Elemwise(LogErfc(ps.upgrade_to_float, name="log_erfc"))
