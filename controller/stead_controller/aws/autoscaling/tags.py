"""Tags of groups."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.autoscaling.group_view import tag_view
from stead_controller.aws.autoscaling.groups import filters_given, tags_given
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.resources.scaling import group_tags, groups

_MOST: Final = 100
_DEFAULT: Final = 50
_TYPE: Final = "auto-scaling-group"


@operation("CreateOrUpdateTags", service="autoscaling")
def create_or_update_tags(call: Call, params: Params) -> Result:
    """Set tags of groups."""
    for name, tags in _by_group(params):
        group_tags.put(call.tx, groups.find(call.tx, call.caller, name), tags_given({"Tags": tags}))
    return {}


@operation("DeleteTags", service="autoscaling")
def delete_tags(call: Call, params: Params) -> Result:
    """Delete tags of groups."""
    for name, tags in _by_group(params):
        group_tags.remove(call.tx, groups.find(call.tx, call.caller, name), [tag["Key"] for tag in tags])
    return {}


@operation("DescribeTags", service="autoscaling", writes=False)
def describe_tags(call: Call, params: Params) -> Result:
    """List tags of groups."""
    page = describe.page(call, params, "DescribeTags", size="MaxRecords", at_least=1, at_most=_MOST, default=_DEFAULT)
    found = group_tags.describe(
        call.tx, call.caller.account_id, filters_given(params), after=page.after, limit=page.fetch or _DEFAULT
    )
    shown, token = page.cut(found, lambda one: (one[1], one[0].key))
    return {"Tags": [tag_view(tag, name) for tag, name in shown], "NextToken": token}


def _by_group(params: Params) -> Iterator[tuple[str, list[Params]]]:
    """Yield the tags of each group that a request names."""
    found: dict[str, list[Params]] = {}
    for tag in params["Tags"]:
        if tag.get("ResourceType", _TYPE) != _TYPE:
            raise InvalidParameter(f"Tags of the ResourceType {tag['ResourceType']} are unknown.")
        if not tag.get("ResourceId"):
            raise MissingParameter("Tags.ResourceId")
        found.setdefault(tag["ResourceId"], []).append(tag)
    yield from found.items()
