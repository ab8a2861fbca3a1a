"""CreateLaunchTemplate, ModifyLaunchTemplate, DeleteLaunchTemplate and DescribeLaunchTemplates."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet.launch_template_view import deleted_template_view, launch_template_view
from stead_controller.aws.ec2.fleet.template_data import version_request
from stead_controller.errors import InvalidCombination, MissingParameter
from stead_controller.resources.fleet import launch_templates
from stead_controller.resources.fleet.launch_templates import TemplateName, TemplateRequest

MOST: Final = 200
"""The most results of one page: of templates and of their versions."""


def template_name(params: Params) -> TemplateName:
    """Read the id or the name by which a request names a template."""
    return TemplateName(params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))


@operation("CreateLaunchTemplate")
def create_launch_template(call: Call, params: Params) -> Result:
    """Create a template with its first version."""
    given = tags_on_create(params, "launch-template")["launch-template"]
    first, warning = version_request(call, params)
    request = TemplateRequest(params["LaunchTemplateName"], first, given, repeatable("CreateLaunchTemplate", params))
    made = launch_templates.create(call.tx, call.caller, request, call.now)
    return {"LaunchTemplate": launch_template_view(made), "Warning": warning}


@operation("ModifyLaunchTemplate")
def modify_launch_template(call: Call, params: Params) -> Result:
    """Set the default version of a template."""
    version = params.get("DefaultVersion")
    if version is None:
        raise MissingParameter("DefaultVersion")
    request = repeatable("ModifyLaunchTemplate", params)
    changed = launch_templates.set_default(
        call.tx, call.caller, template_name(params), version, repeatable=request, now=call.now
    )
    return {"LaunchTemplate": launch_template_view(changed)}


@operation("DeleteLaunchTemplate")
def delete_launch_template(call: Call, params: Params) -> Result:
    """Delete a template with all its versions."""
    removed = launch_templates.remove(call.tx, call.caller, template_name(params))
    return {"LaunchTemplate": deleted_template_view(removed)}


@operation("DescribeLaunchTemplates", writes=False)
def describe_launch_templates(call: Call, params: Params) -> Result:
    """List the caller's templates."""
    names = params.get("LaunchTemplateNames", ())
    asked, page = selection.paged(
        call,
        params,
        "DescribeLaunchTemplates",
        launch_templates.CONDITIONS,
        ids="LaunchTemplateIds",
        at_least=1,
        most=MOST,
    )
    if names and asked.ids:
        raise InvalidCombination("The parameters LaunchTemplateIds and LaunchTemplateNames cannot be used together.")
    found = launch_templates.describe(call.tx, call.caller, asked, names)
    return selection.answered("LaunchTemplates", found, page, lambda one: (one.row.id,), launch_template_view)
