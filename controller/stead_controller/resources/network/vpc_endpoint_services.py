"""The services that VPC endpoints lead to, and the prefix lists of their addresses, which belong to the cloud.

See https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, select

from stead_controller.catalog import ids
from stead_controller.db.tables import CloudFact, PrefixList, PrefixListEntry, VpcEndpoint
from stead_controller.desired import endpoint_names, prefix_list_blocks, topics
from stead_controller.desired.messages.vpc_endpoint import FACT
from stead_controller.errors import NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import holds
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import notify_hosts
from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_proto.v1 import desired_pb2 as pb

GATEWAY: Final = "Gateway"
INTERFACE: Final = "Interface"
OWNER: Final = "AWS"
"""The owner of the prefix lists of services, as EC2 shows it."""

FILTERS: Final = frozenset({"owner", "service-name", "service-region", "service-type", "supported-ip-address-types"})


@dataclass(frozen=True, slots=True)
class Service:
    """A service that endpoints of one type lead to; `code` is the last part of its name."""

    code: str
    endpoint_type: str

    def name(self, cloud: Cloud) -> str:
        """Its name, such as com.amazonaws.us-east-1.s3."""
        return endpoint_names.service_name(self.code, cloud.region)

    def private_names(self, region: str) -> tuple[str, ...]:
        """Return the DNS names that its clients know."""
        return endpoint_names.private_names(self.code, region)

    def domain(self, region: str) -> str:
        """Return the domain of the DNS names of its endpoints, which for gateways is the name that clients know."""
        if self.endpoint_type == GATEWAY:
            return self.private_names(region)[0]
        return endpoint_names.endpoint_domain(self.code, region)


_WITH_INTERFACES: Final = ("cloudtrail", "dlm", "ebs", "ec2", "iam", "s3", "servicequotas", "ssm", "sts")
SERVICES: Final = (Service("s3", GATEWAY), *(Service(code, INTERFACE) for code in _WITH_INTERFACES))
"""Those of this cloud that AWS has endpoints for, by its names and types; IAM's are in one region only.

https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam_vpc_endpoint_create.html
"""


def offered(cloud: Cloud) -> list[Service]:
    """Return the services of this cloud's region."""
    return [service for service in SERVICES if endpoint_names.is_offered(service.code, cloud.region)]


def find(cloud: Cloud, name: str) -> list[Service]:
    """Return the service of a name, once for each type of endpoint; raises NotFound (InvalidServiceName)."""
    found = [service for service in offered(cloud) if service.name(cloud) == name]
    if not found:
        raise _absent(name)
    return found


def has_gateways(name: str) -> bool:
    """Tell whether the service of a name has gateway endpoints."""
    _, code = endpoint_names.read_service(name)
    return Service(code, GATEWAY) in SERVICES


def host_names(region: str) -> list[str]:
    """Return the DNS names that services have inside of VPCs with an endpoint, as certificates write them."""
    codes = [service.code for service in SERVICES if endpoint_names.is_offered(service.code, region)]
    return endpoint_names.certified_names(codes, region)


def names_apart(via: Via, region: str, zones: Iterable[str]) -> list[str]:
    """Return the names of an endpoint for which it needs a certificate of its own; most endpoints need none."""
    if not via.is_interface or not endpoint_names.has_names_below(via.service):
        return []
    return list(endpoint_names.certified_names_of(via.endpoint_id, region, zones))


def _absent(name: str) -> NotFound:
    message = f"The Vpc Endpoint Service '{name}' does not exist"
    return NotFound("vpc-endpoint-service", name, code="InvalidServiceName", message=message)


def describe(cloud: Cloud, names: Iterable[str], filters: Iterable[Filter]) -> list[Service]:
    """Find services, sorted by name and type; raises NotFound."""
    asked = {service for name in names for service in find(cloud, name)}
    wanted = tuple(filters)
    found = []
    for service in offered(cloud):
        facts = {
            "owner": ["amazon"],
            "service-name": [service.name(cloud)],
            "service-region": [cloud.region],
            "service-type": [service.endpoint_type],
            "supported-ip-address-types": ["ipv4"],
        }
        if (not asked or service in asked) and holds(wanted, facts):
            found.append(service)
    return sorted(found, key=lambda one: (one.name(cloud), one.endpoint_type))


def keep(tx: Transaction, cloud: Cloud, now: datetime) -> None:
    """Update the prefix lists of services from the settings, and send changes to hosts."""
    ports = json.dumps({"ports": sorted(cloud.api_ports), "controller_port": cloud.endpoint_port})
    fact = tx.session.get(CloudFact, FACT)
    has_changed = fact is None or fact.value != ports
    tx.session.merge(CloudFact(name=FACT, value=ports))
    for service in SERVICES:
        if service.endpoint_type != GATEWAY:
            continue
        row = _list_of(tx, service.name(cloud)) or _new_list(tx, service.name(cloud), now)
        wanted = {f"{address}/32" for address in cloud.api_addresses}
        if wanted != set(prefix_list_blocks.blocks(tx, row.id)):
            _replace(tx, row, wanted)
            notify_hosts.prefix_list(tx, row)
            has_changed = True
    if has_changed:
        for endpoint in tx.session.scalars(select(VpcEndpoint)).all():
            topics.refresh_part(tx, pb.KIND_VPC_ENDPOINT, endpoint.id, endpoint.vpc_id)


def list_of(tx: Transaction, service_name: str) -> PrefixList:
    """Return the prefix list of a service that `keep` has made."""
    found = _list_of(tx, service_name)
    if found is None:
        raise AssertionError(f"{service_name} has no prefix list")
    return found


def find_list(tx: Transaction, caller: Caller, list_id: str) -> PrefixList:
    """Return a prefix list that the caller may name: an own one, or a service's; raises MalformedId, NotFound."""
    return lookup.find_seen(tx, "prefix-list", PrefixList, list_id, ways(caller))


def ways(caller: Caller) -> list[ColumnElement[bool]]:
    """Return the conditions on prefix lists of which one must hold for the caller to see one."""
    return [PrefixList.account_id == caller.account_id, PrefixList.account_id == OWNER]


def _list_of(tx: Transaction, service_name: str) -> PrefixList | None:
    return tx.session.scalar(select(PrefixList).where(PrefixList.account_id == OWNER, PrefixList.name == service_name))


def _new_list(tx: Transaction, service_name: str, now: datetime) -> PrefixList:
    row = PrefixList(
        id=ids.new_id("prefix-list"),
        account_id=OWNER,
        name=service_name,
        address_family="IPv4",
        max_entries=1,  # its weight in a security group: it counts once, however many addresses it has
        version=1,
        state="create-complete",
        created=now,
    )
    tx.session.add(row)
    tx.session.flush()
    return row


def _replace(tx: Transaction, row: PrefixList, wanted: Iterable[str]) -> None:
    old = select(PrefixListEntry).where(PrefixListEntry.prefix_list_id == row.id)
    for entry in tx.session.scalars(old).all():
        tx.session.delete(entry)
    tx.session.flush()
    for cidr in sorted(wanted):
        tx.session.add(PrefixListEntry(prefix_list_id=row.id, cidr=cidr, first_version=row.version))
    tx.session.flush()
