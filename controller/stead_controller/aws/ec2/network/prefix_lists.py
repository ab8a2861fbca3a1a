"""Managed prefix lists: Create, Modify, Restore, Delete, Describe, their entries and associations."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.prefix_list_view import (
    association_view,
    deleted_view,
    entry_view,
    prefix_list_view,
    service_prefix_list_view,
)
from stead_controller.errors import Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import prefix_lists
from stead_controller.resources.network.prefix_lists import Change, Entry, NewList


@operation("CreateManagedPrefixList")
def create_managed_prefix_list(call: Call, params: Params) -> Result:
    """Create a list."""
    asked = NewList(
        params["PrefixListName"],
        params["AddressFamily"],
        params["MaxEntries"],
        _entries(params.get("Entries", ())),
        tags_on_create(params, "prefix-list")["prefix-list"],
    )
    made = prefix_lists.create(
        call.tx, call.caller, asked, repeatable=repeatable("CreateManagedPrefixList", params), now=call.now
    )
    return _shown(call, made)


@operation("ModifyManagedPrefixList")
def modify_managed_prefix_list(call: Call, params: Params) -> Result:
    """Change a list's entries, name or size."""
    if params.get("IpamPrefixListResolverSyncEnabled"):
        raise Unsupported("IPAM prefix list resolvers are not supported.")
    change = Change(
        params.get("CurrentVersion"),
        params.get("PrefixListName"),
        _entries(params.get("AddEntries", ())),
        tuple(one.get("Cidr", "") for one in params.get("RemoveEntries", ())),
        params.get("MaxEntries"),
    )
    return _shown(call, prefix_lists.modify(call.tx, call.caller, params["PrefixListId"], change))


@operation("RestoreManagedPrefixListVersion")
def restore_managed_prefix_list_version(call: Call, params: Params) -> Result:
    """Restore the entries of an older version of a list."""
    restored = prefix_lists.restore(
        call.tx,
        call.caller,
        params["PrefixListId"],
        previous=params["PreviousVersion"],
        current=params["CurrentVersion"],
    )
    return _shown(call, restored)


@operation("DeleteManagedPrefixList")
def delete_managed_prefix_list(call: Call, params: Params) -> Result:
    """Delete an unused list."""
    return {"PrefixList": deleted_view(prefix_lists.remove(call.tx, call.caller, params["PrefixListId"]))}


@operation("DescribeManagedPrefixLists", writes=False)
def describe_managed_prefix_lists(call: Call, params: Params) -> Result:
    """List prefix lists."""
    asked, page = selection.paged(
        call, params, "DescribeManagedPrefixLists", prefix_lists.FILTERS, ids="PrefixListIds", most=100
    )
    found = prefix_lists.describe(call.tx, call.caller, asked)
    view = partial(prefix_list_view, call.cloud)
    return selection.answered("PrefixLists", found, page, lambda one: (one.prefix_list.id,), view)


@operation("DescribePrefixLists", writes=False)
def describe_prefix_lists(call: Call, params: Params) -> Result:
    """List the prefix lists of this cloud's own services."""
    page = describe.page(call, params, "DescribePrefixLists", ids="PrefixListIds")
    known = {name: prefix_lists.FILTERS[name] for name in ("prefix-list-id", "prefix-list-name")}
    wanted = describe.filters(params, known, tags=False)
    asked = Selection(tuple(params.get("PrefixListIds", ())), wanted, page.after, page.fetch)
    found = prefix_lists.of_services(call.tx, call.caller, asked)
    return selection.answered("PrefixLists", found, page, lambda one: (one.prefix_list.id,), service_prefix_list_view)


@operation("GetManagedPrefixListEntries", writes=False)
def get_managed_prefix_list_entries(call: Call, params: Params) -> Result:
    """List the entries of one version of a list."""
    page = describe.page(call, params, "GetManagedPrefixListEntries", at_least=1, at_most=100)
    asked = Selection(after=page.after, limit=page.fetch)
    found = prefix_lists.entries(call.tx, call.caller, params["PrefixListId"], params.get("TargetVersion"), asked)
    return selection.answered("Entries", found, page, lambda one: (one.cidr,), entry_view)


@operation("GetManagedPrefixListAssociations", writes=False)
def get_managed_prefix_list_associations(call: Call, params: Params) -> Result:
    """List the resources that use a list."""
    page = describe.page(call, params, "GetManagedPrefixListAssociations", at_most=255)
    asked = Selection(after=page.after, limit=page.fetch)
    found = prefix_lists.associations(call.tx, call.caller, params["PrefixListId"], asked)
    return selection.answered("PrefixListAssociations", found, page, lambda one: (one.resource_id,), association_view)


def _entries(given: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(one.get("Cidr", ""), one.get("Description")) for one in given)


def _shown(call: Call, list_id: str) -> Result:
    (found,) = prefix_lists.describe(call.tx, call.caller, Selection((list_id,)))
    return {"PrefixList": prefix_list_view(call.cloud, found)}
