"""Expressions: how operators bind, and what is no expression."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.math.syntax import (
    _DEEPEST,
    Binary,
    Call,
    Name,
    Negative,
    Node,
    Number,
    Several,
    Text,
    names,
    parse,
)

A, B, C = Name("a"), Name("b"), Name("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        (" 1.5e3 ", Number(1500)),
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("(a + b) * c", Binary("*", Binary("+", A, B), C)),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a ^ b ^ c", Binary("^", A, Binary("^", B, C))),
        ("-a ^ b", Negative(Binary("^", A, B))),
        ("a ^ -b", Binary("^", A, Negative(B))),
        ("-a * b", Binary("*", Negative(A), B)),
        ("a > b AND b <= c", Binary("AND", Binary(">", A, B), Binary("<=", B, C))),
        ("a && b || c", Binary("OR", Binary("AND", A, B), C)),
        ("a || b && c", Binary("OR", A, Binary("AND", B, C))),
        ("a == b + c", Binary("==", A, Binary("+", B, C))),
        ("sum([a, b])", Call("SUM", (Several((A, B)),))),
        ("METRICS()", Call("METRICS", ())),
        ("METRICS('it\\'s')", Call("METRICS", (Text("it's"),))),
        ('FILL(a, REPEAT) / "x"', Binary("/", Call("FILL", (A, Name("REPEAT"))), Text("x"))),
    ],
)
def test_trees(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "a +", "* a", "(a", "a)", "[a", "f(a", "f(a,)", "f(,a)", "a # b", "'a", "1 2", "a = b", "+a", "-" * 200 + "a", "(" * 200],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)


@pytest.mark.parametrize(
    ("text", "told"), [("a +", "unexpected its end"), ("a + )", "unexpected '\\)'"), (")", "unexpected '\\)'")]
)
def test_what_was_not_expected_is_told(text: str, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        parse(text)


def test_how_deep_it_may_be() -> None:
    assert parse("(" * _DEEPEST + "a" + ")" * _DEEPEST) == A
    with pytest.raises(InvalidParameter, match="too deeply"):
        parse("(" * (_DEEPEST + 1) + "a" + ")" * (_DEEPEST + 1))


def test_the_names_in_an_expression() -> None:
    assert names(parse("IF(a > 1, SUM([b, -c]), FILL(d, REPEAT)) + e ^ 2")) == {"a", "b", "c", "d", "e"}


_TEXTS = st.recursive(
    st.integers(0, 9).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda one: f"({one[0]} {one[1]} {one[2]})"),
    max_leaves=10,
)


def _worth(node: Node) -> float:
    match node:
        case Number():
            return node.value
        case Binary():
            left, right = _worth(node.left), _worth(node.right)
            return {"+": left + right, "-": left - right, "*": left * right}[node.operator]
    raise AssertionError(node)


@given(st.lists(_TEXTS, min_size=1, max_size=4), st.lists(st.sampled_from("+-*"), min_size=3, max_size=3))
def test_numbers_are_pythons(parts: list[str], signs: list[str]) -> None:
    text = parts[0] + "".join(f" {sign} {part}" for sign, part in zip(signs, parts[1:], strict=False))
    assert _worth(parse(text)) == eval(text)
