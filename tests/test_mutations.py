"""The table of deliberate faults fits the code: see tests/mutations."""

from pathlib import Path

import pytest
from mutations.run import MUTATIONS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", MUTATIONS)
def test_fault_can_be_made_and_its_tests_exist(name):
    mutation = MUTATIONS[name]
    mutated = mutation.applied((ROOT / mutation.file).read_text())
    compile(mutated, mutation.file, "exec")
    for test in mutation.tests:
        file, function = test.partition("[")[0].split("::")
        assert f"def {function}(" in (ROOT / file).read_text()
