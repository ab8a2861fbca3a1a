"""Models say what botocore's own say, without the documentation, which is most of their memory."""

from collections.abc import Mapping
from typing import Any

import botocore.loaders
import pytest

from stead_controller.aws.ec2.absent_kinds import _documented_filters
from stead_controller.aws.protocol import models
from stead_controller.aws.protocol.models import load_service


def _texts(value: Any) -> list[str]:
    """All texts of documentation in a part of a model."""
    if isinstance(value, Mapping):
        text = value.get("documentation")
        inner = [found for each in value.values() for found in _texts(each)]
        return [text, *inner] if isinstance(text, str) else inner
    return [found for each in value for found in _texts(each)] if isinstance(value, list) else []


def _bare(value: Any) -> Any:
    """A part of a model without its documentation."""
    if isinstance(value, Mapping):
        remaining = {name: each for name, each in value.items() if name != "documentation" or not isinstance(each, str)}
        return {name: _bare(each) for name, each in remaining.items()}
    return [_bare(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("service", [*sorted(models.SERVICES), "s3control"])
def test_nothing_but_documentation_is_left_out(service: str) -> None:
    whole = botocore.loaders.Loader().load_service_model(service, "service-2")
    ours = models._LOADER.load_service_model(service, "service-2")
    assert _bare(ours) == _bare(whole)
    assert len(_texts(whole)) > 20
    assert len("".join(_texts(ours))) < 0.2 * len("".join(_texts(whole)))


def test_the_filters_that_are_documented_are_known() -> None:
    whole = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("ec2", "service-2"), "ec2")
    ours = load_service("ec2").model
    count = 0
    for name in whole.operation_names:
        expected, found = (model.operation_model(name).input_shape for model in (whole, ours))
        if expected is not None and found is not None and {"Filters", "Filter"} & expected.members.keys():
            assert _documented_filters(found) == _documented_filters(expected), name
            count += _documented_filters(found) is not None
    assert count > 50


def test_what_is_named_documentation_and_is_none_stays() -> None:
    pairs = [("documentation", {"shape": "String"}), ("other", {"shape": "String"})]
    assert models._without_documentation(pairs) == dict(pairs)
    assert models._without_documentation([("shape", "String"), ("documentation", "<p>x</p>")]) == {"shape": "String"}
