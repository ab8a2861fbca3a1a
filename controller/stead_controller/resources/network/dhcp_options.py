"""Create, find and delete DHCP option sets, and associate them with VPCs.

See https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html.
"""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import DhcpOptions, DhcpOptionValue, Vpc
from stead_controller.errors import InUse, InvalidParameter, LimitExceeded, MissingParameter
from stead_controller.names import private_domain
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, exists_where, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_topology, vpcs

NONE: Final = "default"
"""The value in place of a set's id when none is associated with a VPC."""

SETS_PER_ACCOUNT: Final = 1000

OWN_RESOLVER: Final = "AmazonProvidedDNS"
"""The value for the VPC's own resolver in place of a name server's address."""

_NODE_TYPES: Final = frozenset({"1", "2", "4", "8"})
_LEASE_SECONDS: Final = range(140, 2**31)
# The maximum number of values of an option.
_MOST: Final = {
    "domain-name": 1,
    "domain-name-servers": 4,
    "ntp-servers": 8,
    "netbios-name-servers": 4,
    "netbios-node-type": 1,
    "ipv6-address-preferred-lease-time": 1,
}
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAINS: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?(?: +{_LABEL}(?:\.{_LABEL})*\.?)*\Z")

_VALUES: Final = (
    select(DhcpOptionValue.options_id).where(DhcpOptionValue.options_id == DhcpOptions.id).correlate(DhcpOptions)
)

FILTERS: Final[dict[str, Condition]] = {
    "dhcp-options-id": text(DhcpOptions.id),
    "key": exists_where(_VALUES, text(DhcpOptionValue.key)),
    "owner-id": text(DhcpOptions.account_id),
    "value": exists_where(_VALUES, text(DhcpOptionValue.value)),
}


@dataclass(frozen=True, slots=True)
class DescribedDhcpOptions:
    """An option set with the values of each option by its key, in the order of the request, and its tags."""

    row: DhcpOptions
    options: Mapping[str, Sequence[str]]
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction,
    caller: Caller,
    configurations: Sequence[tuple[str, Sequence[str]]],
    options_tags: Mapping[str, str],
    now: datetime,
) -> DhcpOptions:
    """Create an option set from pairs of a key and its values; raises InvalidParameter, LimitExceeded."""
    if not configurations:
        raise MissingParameter("dhcpConfiguration")
    options: dict[str, list[str]] = {}
    for key, values in configurations:
        if key in options:
            raise InvalidParameter(f"Value ({key}) for parameter key is invalid. The option is given twice.")
        options[key] = check_option(key, values)
    mine = DhcpOptions.account_id == caller.account_id
    if quotas.count(tx, SETS_PER_ACCOUNT, DhcpOptions.id, mine) >= SETS_PER_ACCOUNT:
        raise LimitExceeded(
            f"The maximum number of DHCP options sets has been reached ({SETS_PER_ACCOUNT}).",
            code="DhcpOptionsLimitExceeded",
        )
    made = _add(tx, caller.account_id, options, now, initial=False)
    tags.create_on_launch(tx, caller, [("dhcp-options", made.id)], {"dhcp-options": options_tags})
    return made


def initial(tx: Transaction, cloud: Cloud, account_id: str, now: datetime) -> str:
    """Return the id of the option set for an account's new VPCs: the cloud's domain and the VPC's own resolver."""
    query = select(DhcpOptions.id).where(DhcpOptions.account_id == account_id, DhcpOptions.initial.is_(True))
    found = tx.session.scalar(query.order_by(DhcpOptions.created, DhcpOptions.id).limit(1))
    if found is not None:
        return found
    options = {"domain-name": [private_domain(cloud.region)], "domain-name-servers": [OWN_RESOLVER]}
    return _add(tx, account_id, options, now, initial=True).id


def _add(
    tx: Transaction, account_id: str, options: Mapping[str, Iterable[str]], now: datetime, *, initial: bool
) -> DhcpOptions:
    row = DhcpOptions(id=ids.new_id("dhcp-options"), account_id=account_id, initial=initial, created=now)
    tx.session.add(row)
    tx.session.flush()
    pairs = [(key, value) for key, values in options.items() for value in values]
    tx.session.add_all(
        DhcpOptionValue(options_id=row.id, position=position, key=key, value=value)
        for position, (key, value) in enumerate(pairs)
    )
    tx.session.flush()
    return row


def check_option(key: str, values: Sequence[str]) -> list[str]:
    """Return the values of an option, split at commas; raises InvalidParameter."""
    if key not in _MOST:
        raise InvalidParameter(f"Value ({key[:64]}) for parameter key is invalid. Unknown DHCP option")
    split = [part.strip() for value in values for part in (value.split(",") if key != "domain-name" else [value])]
    if not split or any(not part or len(part) > 255 for part in split):
        raise InvalidParameter(f"The DHCP option {key} must have a value.")
    if len(split) > _MOST[key]:
        raise InvalidParameter(f"The DHCP option {key} has more than {_MOST[key]} values.")
    for value in split:
        if not _is_valid(key, value, alone=len(split) == 1):
            raise InvalidParameter(f"Value ({value}) for parameter value is invalid. Invalid value of option {key}.")
    return split


def _is_valid(key: str, value: str, *, alone: bool) -> bool:
    match key:
        case "domain-name":
            return _DOMAINS.match(value) is not None
        case "domain-name-servers":
            return (value == OWN_RESOLVER and alone) or _is_address(value)
        case "ntp-servers":
            return _is_address(value)
        case "netbios-name-servers":
            return _is_address(value) and ":" not in value
        case "netbios-node-type":
            return value in _NODE_TYPES
    return value.isascii() and value.isdigit() and len(value) <= 10 and int(value) in _LEASE_SECONDS


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedDhcpOptions]:
    """Find the caller's sets of options, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "dhcp-options", DhcpOptions, asked, conditions=FILTERS)
    return described(tx, caller, found)


def described(tx: Transaction, caller: Caller, sets: Sequence[DhcpOptions]) -> list[DescribedDhcpOptions]:
    """Find the options and tags of sets."""
    set_ids = [row.id for row in sets]
    tagged = tags.pairs_of(tx, caller.account_id, set_ids)
    options = options_of(tx, set_ids)
    return [DescribedDhcpOptions(row, options[row.id], tagged.get(row.id, ())) for row in sets]


def options_of(tx: Transaction, set_ids: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return the values of each option of sets, by the set's id and the option's key, in the order given."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for batch in lookup.batches(set_ids):
        query = (
            select(DhcpOptionValue.options_id, DhcpOptionValue.key, DhcpOptionValue.value)
            .where(DhcpOptionValue.options_id.in_(batch))
            .order_by(DhcpOptionValue.options_id, DhcpOptionValue.position)
        )
        for set_id, key, value in tx.session.execute(query):
            found[set_id].setdefault(key, []).append(value)
    return found


def associate(tx: Transaction, caller: Caller, options_id: str, vpc_id: str) -> None:
    """Associate an option set with a VPC, or none for `default`; raises MalformedId, NotFound."""
    if options_id != NONE:
        lookup.find(tx, caller, "dhcp-options", DhcpOptions, options_id)
    vpc = vpcs.find(tx, caller, vpc_id)
    vpc.dhcp_options_id = options_id
    notify_topology.vpc(tx, vpc.id)


def remove(tx: Transaction, caller: Caller, options_id: str) -> None:
    """Delete an option set that no VPC uses; raises MalformedId, NotFound, InUse."""
    row = lookup.find(tx, caller, "dhcp-options", DhcpOptions, options_id)
    if tx.session.scalar(select(Vpc.id).where(Vpc.dhcp_options_id == row.id).limit(1)) is not None:
        raise InUse(f"The dhcpOptions '{row.id}' has dependencies and cannot be deleted.")
    tx.session.delete(row)
    tags.remove_all(tx, [row.id])
