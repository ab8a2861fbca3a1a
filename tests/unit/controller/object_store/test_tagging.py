"""Tags in headers and documents have one meaning or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import BadRequest
from stead_controller.object_store import answers, tagging

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
def test_what_is_written_is_read_again(tags):
    assert tagging.of_header(tagging.header(tags)) == tags
    assert tagging.of_document(answers.tagging(list(tags.items()))) == tags


@pytest.mark.parametrize("text", ["a=1&a=1", "a=%", "a=%ff", "a=ä", "a=\udcff", "a=\n"])
def test_a_header_that_could_mean_something_else(text):
    with pytest.raises(BadRequest) as refusal:
        tagging.of_header(text)
    assert refusal.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("&".join(f"{number}=" for number in range(11)), "BadRequest"),
        ("=a", "InvalidTag"),
        (f"{'k' * 129}=", "InvalidTag"),
        (f"k={'v' * 257}", "InvalidTag"),
    ],
)
def test_tags_are_few_and_short(text, code):
    with pytest.raises(BadRequest) as refusal:
        tagging.of_header(text)
    assert refusal.value.code == code


def test_a_document_with_a_key_twice():
    with pytest.raises(BadRequest):
        tagging.of_document(answers.tagging([("a", "1"), ("a", "2")]))
