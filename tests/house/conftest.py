"""What is done after house tests."""

from pathlib import Path

import pytest

from tests.house import checkout


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Drop the syntax trees of the whole checkout after the last of a row: they take a quarter of a gigabyte."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        checkout.forget()
