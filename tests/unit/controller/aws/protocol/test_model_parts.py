"""Parts of a model are as botocore has them, and become objects one by one, when they are used."""

import json
import sys
from typing import Any

import pytest

from stead_controller.aws.protocol.model_parts import Parts

SHAPES: dict[str, dict[str, Any]] = {
    "First": {"type": "structure", "members": {"Name": {"shape": "Text"}}, "required": ["Name"], "deprecated": True},
    "Text": {"type": "string", "max": 3},
}


def test_a_part_is_read_once_and_the_others_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, read, loads = Parts(SHAPES), [], json.loads

    def noted(text: bytes, **options: Any) -> Any:
        read.append(text)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", noted)
    assert list(parts) == list(SHAPES)
    assert len(parts) == len(SHAPES)
    assert not read
    first = parts["First"]
    assert first == SHAPES["First"]
    assert parts["First"] is first
    assert [loads(text) for text in read] == [SHAPES["First"]]
    assert dict(parts) == SHAPES


def test_texts_of_two_parts_are_the_same_objects() -> None:
    parts = Parts(SHAPES)
    kinds = [next(key for key in parts[name] if key == "type") for name in parts]
    assert kinds[0] is kinds[1]
    assert parts["First"]["members"]["Name"]["shape"] is sys.intern("Text")


def test_an_unknown_name_is_an_error_of_a_key() -> None:
    with pytest.raises(KeyError):
        Parts(SHAPES)["Other"]
