"""Launch templates and their versions as EC2 shows them."""

import json
from typing import Any, Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.launch_template_versions import Deletion, DescribedVersion
from stead_controller.resources.fleet.launch_templates import Template
from stead_controller.resources.tags import Tagged

_ABSENT: Final = "launchTemplateVersionDoesNotExist"
_OTHER: Final = "unexpectedError"  # EC2's enumeration has no closer word for a default version


def launch_template_view(found: Tagged[Template]) -> Result:
    """Show a template with its tags."""
    return {**deleted_template_view(found.row), "Tags": tags_view(found.tags)}


def deleted_template_view(template: Template) -> Result:
    """Show a template whose tags are gone."""
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "CreateTime": template.created,
        "CreatedBy": template.created_by,
        "DefaultVersionNumber": template.default_version,
        "LatestVersionNumber": template.latest_version,
    }


def version_view(found: DescribedVersion) -> Result:
    """Show a version with its data."""
    version = found.version
    data: dict[str, Any] = json.loads(version.data)
    return {
        "LaunchTemplateId": version.template_id,
        "LaunchTemplateName": found.template_name,
        "VersionNumber": version.number,
        "VersionDescription": version.description or None,
        "CreateTime": version.created,
        "CreatedBy": version.created_by,
        "DefaultVersion": found.is_default,
        "LaunchTemplateData": data,
    }


def deletions_view(template: Template, found: list[Deletion]) -> Result:
    """Show which versions were deleted, and which were not and why."""
    return {
        "SuccessfullyDeletedLaunchTemplateVersions": [_deletion(template, one) for one in found if one.failure is None],
        "UnsuccessfullyDeletedLaunchTemplateVersions": [
            {
                **_deletion(template, one),
                "ResponseError": {"Code": _ABSENT if one.is_absent else _OTHER, "Message": one.failure},
            }
            for one in found
            if one.failure is not None
        ],
    }


def _deletion(template: Template, found: Deletion) -> Result:
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionNumber": found.number,
    }
