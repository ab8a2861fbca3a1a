"""Benchmarks that boot guests still work, at their smallest size; each in a box of its own."""

import pytest

from tests.support import benches

_SECONDS = 1180  # each takes less than a minute on an idle machine


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", benches.WITH_GUESTS)
def test_a_benchmark_works(name: str) -> None:
    benches.run(name, seconds=_SECONDS)
