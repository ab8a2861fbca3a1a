"""CreateLaunchTemplateVersion, DeleteLaunchTemplateVersions and DescribeLaunchTemplateVersions."""

import json

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet.launch_template_view import deletions_view, version_view
from stead_controller.aws.ec2.fleet.launch_templates import MOST, template_name
from stead_controller.aws.ec2.fleet.template_data import resolve_images, version_request
from stead_controller.request.conditions import Selection
from stead_controller.resources.fleet import launch_template_versions as versions
from stead_controller.resources.fleet import launch_templates
from stead_controller.resources.fleet.launch_template_versions import DescribedVersion, VersionSelection


@operation("CreateLaunchTemplateVersion")
def create_launch_template_version(call: Call, params: Params) -> Result:
    """Create the next version of a template, from another one's data where a source is given."""
    template = launch_templates.find(call.tx, call.caller, template_name(params))
    source = params.get("SourceVersion")
    inherited = None if source is None else json.loads(versions.find(call.tx, template, source).data)
    asked, warning = version_request(call, params, inherited)
    request = repeatable("CreateLaunchTemplateVersion", params)
    made = versions.create(call.tx, call.caller, template, asked, repeatable=request, now=call.now)
    shown = version_view(made)
    if params.get("ResolveAlias", False):
        resolve_images(call.tx, [shown])
    return {"LaunchTemplateVersion": shown, "Warning": warning}


@operation("DeleteLaunchTemplateVersions")
def delete_launch_template_versions(call: Call, params: Params) -> Result:
    """Delete versions of a template, each by itself."""
    template = launch_templates.find(call.tx, call.caller, template_name(params))
    return deletions_view(template, versions.remove(call.tx, template, params["Versions"]))


@operation("DescribeLaunchTemplateVersions", writes=False)
def describe_launch_template_versions(call: Call, params: Params) -> Result:
    """List versions of one template, or the latest and default ones of all."""
    named = template_name(params)
    template = None if named.id is named.name is None else launch_templates.find(call.tx, call.caller, named)
    filters = describe.filters(params, versions.CONDITIONS, tags=False)
    page = describe.page(call, params, "DescribeLaunchTemplateVersions", at_least=1, at_most=MOST)
    asked = VersionSelection(template, params.get("Versions", ()), params.get("MinVersion"), params.get("MaxVersion"))
    chosen = Selection(filters=filters, after=page.after, limit=page.fetch)
    found = versions.describe(call.tx, call.caller, asked, chosen)
    answer = selection.answered("LaunchTemplateVersions", found, page, _key, version_view)
    if params.get("ResolveAlias", False):
        resolve_images(call.tx, answer["LaunchTemplateVersions"])
    return answer


def _key(found: DescribedVersion) -> tuple[str, str]:
    return found.version.template_id, str(found.version.number)
