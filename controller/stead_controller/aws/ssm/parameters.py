"""GetParameter, GetParameters and GetParametersByPath."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ssm.parameter_view import parameter_view
from stead_controller.errors import InvalidParameter
from stead_controller.resources.images import image_parameters
from stead_controller.resources.images.image_parameters import ImageParameter

_MOST: Final = 10

_operation: Final = partial(operation, service="ssm", writes=False)


@_operation("GetParameter")
def get_parameter(call: Call, params: Params) -> Result:
    """Return one parameter."""
    name = params["Name"]
    return {"Parameter": parameter_view(call.cloud, image_parameters.find(call.tx, name), name)}


@_operation("GetParameters")
def get_parameters(call: Call, params: Params) -> Result:
    """Return some parameters, and the names of which there are none."""
    names = list(dict.fromkeys(params["Names"]))
    found = image_parameters.find_all(call.tx, names)
    return {
        "Parameters": [parameter_view(call.cloud, one, name) for name, one in found.items()],
        "InvalidParameters": [name for name in names if name not in found],
    }


@_operation("GetParametersByPath")
def get_parameters_by_path(call: Call, params: Params) -> Result:
    """List the parameters below a path: directly below it, or all."""
    path = params["Path"]
    if not path.startswith("/"):
        raise InvalidParameter(f"The parameter path '{path}' must begin with a slash.")
    page = describe.page(call, params, "GetParametersByPath", at_least=1, at_most=_MOST, default=_MOST)
    below = _below(image_parameters.everything(call.tx), path.rstrip("/") + "/", whole=params.get("Recursive", False))
    rest = [one for one in below if page.after is None or one.name > page.after[0]]
    shown, token = page.cut(rest, lambda one: (one.name,))
    return {"Parameters": [parameter_view(call.cloud, one, one.name) for one in shown], "NextToken": token}


def _below(known: Mapping[str, ImageParameter], path: str, *, whole: bool) -> list[ImageParameter]:
    return [
        one for name, one in known.items() if name.startswith(path) and (whole or "/" not in name.removeprefix(path))
    ]
