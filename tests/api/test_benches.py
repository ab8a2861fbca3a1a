"""Benchmarks of what needs no host still work, at their smallest size."""

import importlib.util
from pathlib import Path

import pytest

from tests.support import benches

pytestmark = pytest.mark.story


@pytest.mark.parametrize("name", benches.WITHOUT_HOSTS)
def test_a_benchmark_works(name: str, tmp_path: Path) -> None:
    benches.run_loaded(name, tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("moto"), reason="moto, its peer, is large: pip install -e .[bench]")
def test_the_benchmark_beside_another_server_works() -> None:
    benches.run("describe", "--pages", "0", "--rounds", "1")
