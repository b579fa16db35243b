"""Every Op of PyTensor has a rule, or a reason why it needs none; every distribution of
PyTensor and PyMC a row in the table of distributions."""

import catalogue
import distribution_page
import numpy as np
import pymc as pm
import pytensor
import pytest
from distributions import CASES
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

import jaxlink


@pytest.fixture(scope="module")
def op_types():
    return catalogue.op_types()


def test_every_op_is_accounted_for(op_types):
    unknown = [
        catalogue.name_of(op_type)
        for op_type in op_types
        if catalogue.name_of(op_type) not in catalogue.WITHOUT_RULE
        and not catalogue.is_ruled(op_type)
    ]
    assert not unknown, (
        f"write a rule for these, or say in catalogue.py why not: {unknown}"
    )


def test_no_reason_is_out_of_date(op_types):
    names = {catalogue.name_of(op_type): op_type for op_type in op_types}
    for name in catalogue.WITHOUT_RULE:
        assert name in names, f"{name} is no Op"
        assert not catalogue.is_ruled(names[name]), f"{name} has a rule"
    for name in [*catalogue.NOTES, *catalogue.WITHOUT_GRADIENT]:
        assert name in names, f"{name} is no Op"


def test_an_unknown_op_is_noticed():
    class NewOp(Op):
        def perform(self, node, inputs, outputs):
            raise NotImplementedError

    assert NewOp in catalogue.subclasses(Op)
    assert not catalogue.is_ruled(NewOp)


def test_at_least_300_are_covered(op_types):
    reached = [
        op_type
        for op_type in op_types
        if catalogue.WITHOUT_RULE.get(catalogue.name_of(op_type), catalogue.LOWERED)
        == catalogue.LOWERED
    ]
    assert len(reached) >= 300


def test_the_page_is_up_to_date():
    """``python tests/catalogue.py`` writes it."""
    page = catalogue.PAGE.read_text()
    if f"PyTensor {pytensor.__version__}," not in page:
        pytest.skip("docs/ops.md was written for another version of PyTensor")
    assert page == catalogue.page()


def test_every_distribution_is_in_the_table():
    without = distribution_page.WITHOUT_ROW
    names = set(map(distribution_page.dotted, distribution_page.rv_types()))
    covered = distribution_page.covered()
    assert names - covered - set(without) == set()
    assert set(without) <= names


@pytest.mark.parametrize(
    "build",
    [pm.Flat.dist, pm.HalfFlat.dist, lambda: pm.ICAR.dist(np.array([[0, 1], [1, 0]]))],
)
def test_what_is_improper_pymc_cannot_draw_either(build):
    with pytest.raises(NotImplementedError):
        pm.draw(build())
    with pytest.raises(jaxlink.UnsupportedOpError, match="improper"):
        jaxlink.function([], build())


def test_an_unknown_distribution_is_noticed():
    class NewRV(RandomVariable):
        name = "new"
        signature = "()->()"

    assert NewRV in catalogue.subclasses(RandomVariable)
    assert distribution_page.dotted(NewRV) not in distribution_page.covered()


def test_the_page_of_distributions_has_a_line_for_each():
    """What the lines say is compared where each is drawn (test_distributions.py)."""
    lines = distribution_page.lines_of_page()
    assert list(lines) == list(CASES)
    assert distribution_page.PAGE.read_text().startswith(distribution_page.HEAD)
