import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization.statement_positions import Position, statement_positions


def between(text, first, last):
    """The text from one position to another, both included."""
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: first.line - 1]) + first.column - 1
    end = sum(len(line) + 1 for line in lines[: last.line - 1]) + last.column
    return text[start:end]


def test_one_statement_needs_no_list():
    text = '{"Statement":{"Effect":"Allow"},"Version":"2012-10-17"}'
    assert statement_positions(text) == [(Position(1, 14), Position(1, 31))]


def test_lines_and_columns_begin_at_one():
    text = '\n{"Version": "2012-10-17",\n "Statement": [\n  {"Sid": "A]"},\n  {"Sid": "}B"}\n ]\n}\n'
    assert statement_positions(text) == [(Position(4, 3), Position(4, 15)), (Position(5, 3), Position(5, 15))]


@given(
    st.lists(st.fixed_dictionaries({"Sid": st.text(max_size=5), "Action": st.lists(st.text(max_size=3))}), min_size=1),
    st.dictionaries(st.sampled_from(["Version", "Id"]), st.text(max_size=5)),
    st.sampled_from([None, 1, 4]),
    st.booleans(),
)
def test_each_position_spans_its_statement(statements, others, indent, statement_first):
    entries = {"Statement": statements}
    document = entries | others if statement_first else others | entries
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    spans = [between(text, first, last) for first, last in statement_positions(text)]
    assert [json.loads(span) for span in spans] == statements


@pytest.mark.parametrize("space", ["", " ", "\n\t"])
def test_an_empty_list_has_none(space):
    assert statement_positions(f'{{"Statement"{space}:{space}[{space}]{space}}}') == []
