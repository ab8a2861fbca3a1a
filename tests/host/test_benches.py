"""Benchmarks on the real kernel still work, at their smallest size."""

import pytest

from tests.support import benches


@pytest.mark.parametrize("name", benches.ON_A_HOST)
def test_a_benchmark_works(name: str) -> None:
    benches.run(name)
