"""Attributes of messages, and what are none."""

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.notifications import message_attributes
from stead_controller.resources.notifications.message_attributes import Attribute


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (Attribute("String", "a"), "a"),
        (Attribute("String.custom", "a"), "a"),
        (Attribute("Number", "1e3"), "1e3"),
        (Attribute("Number.int", "-5"), "-5"),
        (Attribute("String.Array", '["a", 1, true, null]'), '["a", 1, true, null]'),
        (Attribute("Binary", None, b"\x00"), "AA=="),
    ],
)
def test_they_are_shown_with_their_type(given: Attribute, value: str) -> None:
    assert message_attributes.shown({"a.b-c_D": given}) == {"a.b-c_D": (given.data_type, value)}


@pytest.mark.parametrize(
    "given",
    [
        Attribute("Text", "a"),
        Attribute("", "a"),
        Attribute("Strings", "a"),
        Attribute("String"),
        Attribute("String", ""),
        Attribute("String", "a", b"a"),
        Attribute("String", None, b"a"),
        Attribute("Binary", "a"),
        Attribute("Binary", None, b""),
        Attribute("Binary", "a", b"a"),
        Attribute("Number", "one"),
        Attribute("Number", "1."),
        Attribute("String.Array", "a"),
        Attribute("String.Array", '{"a": 1}'),
        Attribute("String.Array", '[["a"]]'),
        Attribute("String.Array", '[{"a": 1}]'),
        Attribute("String.Array", "[" * 100_000),
    ],
)
def test_what_are_none(given: Attribute) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        message_attributes.shown({"a": given})
    assert refusal.value.code == "ParameterValueInvalid"


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "a b", "aws.x", "AMAZON.x", "x" * 257])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidParameter):
        message_attributes.shown({name: Attribute("String", "a")})


def test_they_count_of_the_size() -> None:
    given = {"ä": Attribute("String", "ö"), "b": Attribute("Binary", None, b"123")}
    assert message_attributes.size(given) == 2 + 6 + 2 + 1 + 6 + 3
