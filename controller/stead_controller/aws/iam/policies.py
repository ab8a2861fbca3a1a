"""Managed policies."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.policy_view import listed_policy_view, new_policy_view, policy_view
from stead_controller.aws.iam.tags_view import given_tags
from stead_controller.resources.iam import attached_policies, iam_names, policies

_KINDS: Final = ("group", "role", "user")
_ENTITIES: Final[dict[str, tuple[str, ...]]] = {
    "": _KINDS,
    "User": ("user",),
    "Role": ("role",),
    "Group": ("group",),
    "LocalManagedPolicy": (),
    "AWSManagedPolicy": (),
}


@operation("CreatePolicy", service="iam")
def create_policy(call: Call, params: Params) -> Result:
    """Create a policy."""
    request = policies.NewPolicy(
        name=params["PolicyName"],
        document=params["PolicyDocument"],
        path=params.get("Path"),
        description=params.get("Description", ""),
        tags=given_tags(params),
    )
    return {"Policy": new_policy_view(policies.create(call.tx, call.caller, request, call.now))}


@operation("GetPolicy", service="iam", writes=False)
def get_policy(call: Call, params: Params) -> Result:
    """Show a policy."""
    return {"Policy": policy_view(policies.get(call.tx, call.caller, params["PolicyArn"]))}


@operation("ListPolicies", service="iam", writes=False)
def list_policies(call: Call, params: Params) -> Result:
    """List policies, AWS's and the account's own."""
    scope = params.get("Scope", "All")
    if scope not in ("All", "AWS", "Local"):
        raise iam_names.invalid("scope", "Member must satisfy enum value set: [All, AWS, Local]")
    asked = policies.Search(
        aws=scope != "Local",
        local=scope != "AWS",
        only_attached=params.get("OnlyAttached", False),
        usages=frozenset(pages.usages(params)),
    )
    page = describe.marker_page(call, params, "ListPolicies")
    found = policies.search(call.tx, call.caller, asked, pages.part(page, params))
    return pages.cut("Policies", found, page, lambda one: one.key, listed_policy_view)


@operation("ListEntitiesForPolicy", service="iam", writes=False)
def list_entities_for_policy(call: Call, params: Params) -> Result:
    """List the entities that a policy is attached to."""
    kinds = _ENTITIES.get(params.get("EntityFilter", ""))
    if kinds is None:
        raise iam_names.invalid(
            "entityFilter", f"Member must satisfy enum value set: [{', '.join(filter(None, _ENTITIES))}]"
        )
    page = describe.marker_page(call, params, "ListEntitiesForPolicy")
    found = attached_policies.entities(
        call.tx, call.caller, params["PolicyArn"], pages.part(page, params), kinds=kinds, usages=pages.usages(params)
    )
    shown, marker = page.cut(found, lambda one: (one.kind, one.id))
    answer: Result = {"IsTruncated": marker is not None, "Marker": marker}
    for kind in _KINDS:
        title = kind.capitalize()
        answer[f"Policy{title}s"] = [
            {f"{title}Name": one.name, f"{title}Id": one.id} for one in shown if one.kind == kind
        ]
    return answer


@operation("DeletePolicy", service="iam")
def delete_policy(call: Call, params: Params) -> Result:
    """Delete a policy that is not attached."""
    policies.remove(call.tx, call.caller, params["PolicyArn"])
    return {}
