"""Thresholds of budgets, and what crosses them."""

from fractions import Fraction

import pytest

from stead_controller.resources.budgets import thresholds
from stead_controller.resources.budgets.thresholds import ABSOLUTE, EQUAL, GREATER, LESS, PERCENTAGE, Spent


def test_a_threshold_is_in_percent_or_an_amount() -> None:
    assert thresholds.amount(80.5, PERCENTAGE, Fraction(20)) == Fraction("16.1")
    assert thresholds.amount(0.1, ABSOLUTE, Fraction(20)) == Fraction(1, 10)


@pytest.mark.parametrize(
    ("comparison", "crossed"),
    [(GREATER, [False, False, True]), (LESS, [True, False, False]), (EQUAL, [False, True, False])],
)
def test_each_comparison_has_its_side(comparison: str, crossed: list[bool]) -> None:
    amounts = [Fraction(1), Fraction(2), Fraction(3)]
    assert [thresholds.crossed(comparison, each, Fraction(2)) for each in amounts] == crossed
    assert not thresholds.crossed(comparison, None, Fraction(2))


def test_each_type_has_its_amount() -> None:
    spent = Spent(Fraction(1), Fraction(2))
    assert (spent.of("ACTUAL"), spent.of("FORECASTED")) == (1, 2)
    assert Spent(Fraction(1), None).of("FORECASTED") is None
