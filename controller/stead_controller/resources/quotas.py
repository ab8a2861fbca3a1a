"""How many things of a kind an account may have: EC2's defaults.

See https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from stead_controller.errors import LimitExceeded
from stead_controller.resources.transaction import Transaction

VPCS: Final = 5
SUBNETS_PER_VPC: Final = 200
IPV4_BLOCKS_PER_VPC: Final = 5
IPV6_BLOCKS_PER_VPC: Final = 5
INTERNET_GATEWAYS: Final = 5
EGRESS_ONLY_INTERNET_GATEWAYS: Final = 5
ROUTE_TABLES_PER_VPC: Final = 200
ROUTES_PER_TABLE: Final = 500
DHCP_OPTIONS_SETS: Final = 1000


def check(tx: Transaction, most: int, code: str, what: str, id_column: Any, *where: ColumnElement[bool]) -> None:
    """Raise LimitExceeded with EC2's code where as many rows as allowed exist already; call before adding one."""
    tx.session.flush()
    if (tx.session.scalar(select(func.count(id_column)).where(*where)) or 0) >= most:
        raise LimitExceeded(f"The maximum number of {what} has been reached.", code=code)
