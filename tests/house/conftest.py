"""What is done before and after house tests."""

import gc
from pathlib import Path

import pytest

from tests.house import checkout


def pytest_runtest_setup() -> None:
    """Let nobody look for garbage among the syntax trees: in millions of objects, of which none is any."""
    gc.disable()


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Drop the syntax trees of the whole checkout after the last of a row: they take a quarter of a gigabyte."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        checkout.forget()
    gc.enable()
