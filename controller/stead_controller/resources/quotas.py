"""Quotas: how many resources of a kind an account may have; all limits with a code in Service Quotas are here.

Codes, names and defaults are AWS's: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html,
https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html,
https://docs.aws.amazon.com/general/latest/gr/ebs-service.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html; codes were compared with
published answers of ListAWSDefaultServiceQuotas. The operator can set other values, for one account or for all, which
apply from the next request on. An account's usage is counted in the transaction that adds to it: by an index and no
further than the limit, or, where that would be far, as a stored number (`account_usage`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, func, null, select, union_all, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import AccountUsage, ServiceQuota
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction

EVERYONE: Final = ""
"""The account of values for all accounts that have none of their own."""

_MOST: Final = 10**12
_VCPUS: Final = "vcpus"

_VALUES_OF: Final = select(ServiceQuota.account_id, ServiceQuota.value).where(
    ServiceQuota.account_id.in_((bindparam("account_id"), EVERYONE)),
    ServiceQuota.service == bindparam("service"),
    ServiceQuota.code == bindparam("code"),
)
_MINE: Final = (AccountUsage.account_id == bindparam("account_id"), AccountUsage.name == _VCPUS)
_VALUES: Final = Prepared(_VALUES_OF)
# A launch asks for both: what is used has no account here.
_VALUES_AND_USED: Final = Prepared(
    union_all(_VALUES_OF, select(null().label("account_id"), AccountUsage.value).where(*_MINE))
)
_USE: Final = Prepared(
    update(AccountUsage)
    .where(AccountUsage.account_id == bindparam("account"), AccountUsage.name == _VCPUS)
    .values(value=AccountUsage.value + bindparam("more"))
    .returning(AccountUsage.value)
)


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit: AWS's service code, code, name and default, and the error when it is reached.

    `here` is the default of a new cloud, where that is not AWS's.
    """

    service: str
    code: str
    name: str
    default: int
    error: str
    here: int | None = None


VPCS: Final = Quota("vpc", "L-F678F1CE", "VPCs per Region", 5, "VpcLimitExceeded")
SUBNETS_PER_VPC: Final = Quota("vpc", "L-407747CB", "Subnets per VPC", 200, "SubnetLimitExceeded")
IPV4_BLOCKS_PER_VPC: Final = Quota("vpc", "L-83CA0A9D", "IPv4 CIDR blocks per VPC", 5, "CidrLimitExceeded")
IPV6_BLOCKS_PER_VPC: Final = Quota("vpc", "L-085A6257", "IPv6 CIDR blocks per VPC", 5, "CidrLimitExceeded")
INTERNET_GATEWAYS: Final = Quota("vpc", "L-A4707A72", "Internet gateways per Region", 5, "InternetGatewayLimitExceeded")
EGRESS_ONLY_INTERNET_GATEWAYS: Final = Quota(
    "vpc", "L-45FE3B85", "Egress-only internet gateways per Region", 5, "EgressOnlyInternetGatewayLimitExceeded"
)
NAT_GATEWAYS_PER_ZONE: Final = Quota(
    "vpc", "L-FE5A380F", "NAT gateways per Availability Zone", 5, "NatGatewayLimitExceeded"
)
GATEWAY_ENDPOINTS: Final = Quota(
    "vpc", "L-1B52E74A", "Gateway VPC endpoints per Region", 20, "VpcEndpointLimitExceeded"
)
INTERFACE_ENDPOINTS_PER_VPC: Final = Quota(
    "vpc", "L-29B6F2EB", "Interface VPC endpoints per VPC", 50, "VpcEndpointLimitExceeded"
)
ROUTE_TABLES_PER_VPC: Final = Quota("vpc", "L-589F43AA", "Route tables per VPC", 200, "RouteTableLimitExceeded")
# AWS raised it from 50 in June 2025: https://stackpioneers.com/2025/06/24/amazon-vpc-default-route-table-capacity-enhancement
ROUTES_PER_TABLE: Final = Quota("vpc", "L-93826ACB", "Routes per route table", 500, "RouteLimitExceeded")
NETWORK_ACLS_PER_VPC: Final = Quota("vpc", "L-B4A6D682", "Network ACLs per VPC", 200, "NetworkAclLimitExceeded")
RULES_PER_NETWORK_ACL: Final = Quota("vpc", "L-2AEEBF1A", "Rules per network ACL", 20, "NetworkAclEntryLimitExceeded")
SECURITY_GROUPS: Final = Quota(
    "vpc", "L-E79EC296", "VPC security groups per Region", 2500, "SecurityGroupLimitExceeded"
)
RULES_PER_SECURITY_GROUP: Final = Quota(
    "vpc", "L-0EA8095F", "Inbound or outbound rules per security group", 60, "RulesPerSecurityGroupLimitExceeded"
)
SECURITY_GROUPS_PER_INTERFACE: Final = Quota(
    "vpc", "L-2AFB9258", "Security groups per network interface", 5, "SecurityGroupsPerInterfaceLimitExceeded"
)
NETWORK_INTERFACES: Final = Quota(
    "vpc", "L-DF5E4CA3", "Network interfaces per Region", 5000, "NetworkInterfaceLimitExceeded"
)
ACTIVE_PEERINGS_PER_VPC: Final = Quota(
    "vpc", "L-7E9ECCDB", "Active VPC peering connections per VPC", 50, "ActiveVpcPeeringConnectionPerVpcLimitExceeded"
)
OUTSTANDING_PEERINGS: Final = Quota(
    "vpc",
    "L-DC9F7029",
    "Outstanding VPC peering connection requests",
    25,
    "OutstandingVpcPeeringConnectionLimitExceeded",
)
ELASTIC_ADDRESSES: Final = Quota("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs", 5, "AddressLimitExceeded")
# In a private cloud the hosts are the limit: five vCPUs are AWS's default for unknown customers.
STANDARD_VCPUS: Final = Quota(
    "ec2",
    "L-1216C47A",
    "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    5,
    "VcpuLimitExceeded",
    here=1_000_000,
)
IAM_USERS: Final = Quota("iam", "L-F55AF5E4", "Users per account", 5000, "LimitExceeded")
IAM_GROUPS: Final = Quota("iam", "L-F4A5425F", "Groups per account", 300, "LimitExceeded")
IAM_ROLES: Final = Quota("iam", "L-FE177D64", "Roles per account", 1000, "LimitExceeded")
IAM_INSTANCE_PROFILES: Final = Quota("iam", "L-6E65F664", "Instance profiles per account", 1000, "LimitExceeded")
IAM_POLICIES: Final = Quota("iam", "L-E95E4862", "Customer managed policies per account", 1500, "LimitExceeded")
IAM_ISSUERS: Final = Quota("iam", "L-858F3967", "OpenId connect providers per account", 100, "LimitExceeded")
# The quota of roles was 10 until AWS raised it in 2025.
IAM_POLICIES_PER_GROUP: Final = Quota("iam", "L-384571C4", "Managed policies per group", 10, "LimitExceeded")
IAM_POLICIES_PER_ROLE: Final = Quota("iam", "L-0DA4ABF3", "Managed policies per role", 20, "LimitExceeded")
IAM_POLICIES_PER_USER: Final = Quota("iam", "L-4019AD8B", "Managed policies per user", 10, "LimitExceeded")
SNAPSHOTS: Final = Quota("ebs", "L-309BACF6", "Snapshots per Region", 100_000, "SnapshotLimitExceeded")

ALL: Final[tuple[Quota, ...]] = tuple(
    sorted((one for one in globals().values() if isinstance(one, Quota)), key=lambda quota: (quota.service, quota.name))
)
SERVICES: Final[dict[str, str]] = {
    "ebs": "Amazon Elastic Block Store (Amazon EBS)",
    "ec2": "Amazon Elastic Compute Cloud (Amazon EC2)",
    "iam": "AWS Identity and Access Management (IAM)",
    "vpc": "Amazon Virtual Private Cloud (Amazon VPC)",
}


def find(service: str, code: str) -> Quota:
    """Return a quota by its codes; raises NotFound."""
    for quota in ALL:
        if (quota.service, quota.code) == (service, code):
            return quota
    raise NotFound("quota", [f"{service}/{code}"])


def beginning(cloud: Cloud | None, quota: Quota) -> int:
    """The default for an account, where the operator has set nothing."""
    if quota is ELASTIC_ADDRESSES and cloud is not None:
        return cloud.elastic_addresses_per_account
    return quota.default if quota.here is None else quota.here


def limit(tx: Transaction, account_id: str, quota: Quota, *, cloud: Cloud | None = None) -> int:
    """The quota of an account now; that of Elastic IP addresses depends on the cloud's settings."""
    asked = {"account_id": account_id, "service": quota.service, "code": quota.code}
    return _limit(dict(_VALUES.all(tx.connection, asked)), account_id, quota, cloud)


def _limit(values: Mapping[str | None, int], account_id: str, quota: Quota, cloud: Cloud | None = None) -> int:
    if account_id in values:
        return values[account_id]
    if EVERYONE in values:
        return values[EVERYONE]
    return beginning(cloud, quota)


def set_values(tx: Transaction, account_id: str) -> dict[tuple[str, str], int]:
    """The values that the operator has set for an account (or for EVERYONE), by service and code."""
    rows = tx.session.scalars(select(ServiceQuota).where(ServiceQuota.account_id == account_id))
    return {(row.service, row.code): row.value for row in rows}


def set_value(tx: Transaction, account_id: str, quota: Quota, value: int) -> None:
    """Set the quota of an account (or EVERYONE); existing resources stay. Raises InvalidParameter."""
    if not 0 <= value <= _MOST:
        raise InvalidParameter(f"A quota is a number from 0 to {_MOST}.")
    row = tx.session.get(ServiceQuota, (account_id, quota.service, quota.code))
    if row is None:
        tx.session.add(ServiceQuota(account_id=account_id, service=quota.service, code=quota.code, value=value))
    else:
        row.value = value
    tx.session.flush()


def reset(tx: Transaction, account_id: str, quota: Quota) -> None:
    """Remove the value that was set for an account (or EVERYONE)."""
    tx.session.execute(
        delete(ServiceQuota).where(
            ServiceQuota.account_id == account_id,
            ServiceQuota.service == quota.service,
            ServiceQuota.code == quota.code,
        )
    )


def check(
    tx: Transaction,
    account_id: str,
    quota: Quota,
    id_column: Any,
    *where: ColumnElement[bool],
    cloud: Cloud | None = None,
) -> None:
    """Raise LimitExceeded where the maximum number of rows exists already; call before adding one."""
    most = limit(tx, account_id, quota, cloud=cloud)
    if count(tx, most, id_column, *where) >= most:
        raise exceeded(quota, most)


def count(tx: Transaction, most: int, id_column: Any, *where: ColumnElement[bool]) -> int:
    """Count rows, and no further than `most`."""
    tx.session.flush()
    some = select(id_column).where(*where).limit(most)
    return tx.session.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def exceeded(quota: Quota, most: int) -> LimitExceeded:
    """Make the error for a quota that has been reached."""
    return LimitExceeded(f"The maximum number of {quota.name} has been reached ({most}).", code=quota.error)


def launchable(tx: Transaction, account_id: str, vcpus: int, least: int, most: int) -> int:
    """How many instances with this number of vCPUs an account may start now, at most `most`.

    Raises LimitExceeded as EC2's VcpuLimitExceeded when these are fewer than `least`.
    """
    asked = {"account_id": account_id, "service": STANDARD_VCPUS.service, "code": STANDARD_VCPUS.code}
    values: dict[str | None, int] = dict(_VALUES_AND_USED.all(tx.connection, asked))
    allowed, used = _limit(values, account_id, STANDARD_VCPUS), values.get(None, 0)
    fits = max(0, math.floor((allowed - used) / vcpus)) if vcpus else most
    if fits < least:
        raise LimitExceeded(
            f"You have requested more vCPU capacity than your current vCPU limit of {allowed} allows for the instance "
            "bucket that the specified instance type belongs to.",
            code=STANDARD_VCPUS.error,
        )
    return min(fits, most)


def vcpus_in_use(tx: Transaction) -> dict[str, int]:
    """Return the vCPUs in use of each account that ever had an instance."""
    rows = select(AccountUsage.account_id, AccountUsage.value).where(AccountUsage.name == _VCPUS)
    return {account_id: value for account_id, value in tx.connection.execute(rows)}  # noqa: C416 - rows are no pairs


def use_vcpus(tx: Transaction, account_id: str, vcpus: int) -> None:
    """Count more vCPUs in use by an account's instances, or, if negative, fewer."""
    known = _USE.first(tx.connection, {"account": account_id, "more": vcpus})
    if known is None:
        tx.session.add(AccountUsage(account_id=account_id, name=_VCPUS, value=vcpus))
        tx.session.flush()
