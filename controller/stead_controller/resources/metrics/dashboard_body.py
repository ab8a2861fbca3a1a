"""What a dashboard's body must be, and what is remarked of it. Pure.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stead_controller.errors import InvalidParameter

MAX_BYTES: Final = 1 << 20
MAX_WIDGETS: Final = 500
MAX_METRICS: Final = 500
"""Metrics of one widget."""

_TYPES: Final = ("metric", "text", "log", "alarm", "explorer", "custom")
_WIDTH: Final = 24
_HEIGHT: Final = 1000
_OVERRIDES: Final = ("auto", "inherit")
_START: Final = re.compile(
    r"(-PT?([0-9]+[YMWDHS])+(T([0-9]+[HMS])+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)?)\Z"
)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in a body that is not as it should be, and where it is: `/widgets/0/properties`."""

    path: str
    message: str


def check(body: str) -> list[Remark]:
    """Return what may stay as it is; raises InvalidParameter for a body that cannot be a dashboard."""
    if len(body.encode()) > MAX_BYTES:
        raise _invalid(f"The body may have at most {MAX_BYTES} bytes.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _invalid("The field DashboardBody must be a valid JSON object") from None
    if not isinstance(document, dict):
        raise _invalid("The field DashboardBody must be a valid JSON object")
    widgets = document.get("widgets")
    if not isinstance(widgets, list):
        raise _invalid('The field DashboardBody must have a list "widgets".')
    if len(widgets) > MAX_WIDGETS:
        raise _invalid(f"A dashboard may have at most {MAX_WIDGETS} widgets.")
    remarks = [*_of_whole(document)]
    for index, widget in enumerate(widgets):
        remarks += _of_widget(widget, f"/widgets/{index}")
    return remarks


def _of_whole(document: Mapping[str, Any]) -> Iterator[Remark]:
    for name in ("start", "end"):
        value = document.get(name)
        if value is not None and not (isinstance(value, str) and _START.match(value)):
            yield Remark(f"/{name}", "Should be a time, or a duration before now such as -PT6H")
    if "end" in document and "start" not in document:
        yield Remark("/start", "Should have a start, since it has an end")
    if document.get("periodOverride", "auto") not in _OVERRIDES:
        yield Remark("/periodOverride", f"Should be one of {', '.join(_OVERRIDES)}")


def _of_widget(widget: Any, path: str) -> Iterator[Remark]:
    if not isinstance(widget, dict):
        raise _invalid(f"{path} must be an object.")
    kind = widget.get("type")
    if kind not in _TYPES:
        raise _invalid(f"{path}/type must be one of {', '.join(_TYPES)}.")
    properties = widget.get("properties")
    if not isinstance(properties, dict):
        raise _invalid(f"{path}/properties must be an object.")
    for name, least, most in (("x", 0, _WIDTH - 1), ("y", 0, None), ("width", 1, _WIDTH), ("height", 1, _HEIGHT)):
        value = widget.get(name)
        if value is not None and not _is_within(value, least, most):
            yield Remark(f"{path}/{name}", f"Should be a whole number from {least} to {most}")
    if ("x" in widget) != ("y" in widget):
        yield Remark(path, "Should have both x and y, or none")
    yield from _of_properties(kind, properties, f"{path}/properties")


def _of_properties(kind: str, properties: Mapping[str, Any], path: str) -> Iterator[Remark]:
    if kind == "text" and not isinstance(properties.get("markdown"), str):
        raise _invalid(f"{path}/markdown must be a text.")
    if kind == "alarm" and not isinstance(properties.get("alarms"), list):
        raise _invalid(f"{path}/alarms must be a list.")
    if kind == "log" and not isinstance(properties.get("query"), str):
        raise _invalid(f"{path}/query must be a text.")
    if kind != "metric":
        return
    metrics = properties.get("metrics")
    if metrics is None and "annotations" not in properties:
        raise _invalid(f"{path} must have metrics or annotations.")
    if metrics is not None:
        if not isinstance(metrics, list) or not all(isinstance(one, list) and one for one in metrics):
            raise _invalid(f"{path}/metrics must be a list of lists.")
        if len(metrics) > MAX_METRICS:
            raise _invalid(f"A widget may have at most {MAX_METRICS} metrics.")
    if not isinstance(properties.get("region"), str):
        yield Remark(f"{path}/region", "Should have required property 'region'")


def _is_within(value: object, least: int, most: int | None) -> bool:
    return type(value) is int and value >= least and (most is None or value <= most)


def _invalid(message: str) -> InvalidParameter:
    return InvalidParameter(message, code="DashboardInvalidInputError")
