"""The DNS names of the services that VPC endpoints lead to, and those of the endpoints themselves. Pure.

See https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html and, for buckets,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

OBJECTS: Final = "s3"
"""The code of the service of buckets."""

GLOBAL_REGION: Final = "us-east-1"
"""The only region that has endpoints for services without regions, whose names then have none either."""

_GLOBAL: Final = frozenset({"iam"})
_UNDER_ENDPOINTS: Final = ("bucket", "control")  # what precedes the name of an endpoint for buckets, after any bucket


def is_offered(code: str, region: str) -> bool:
    """Tell whether a region has endpoints for a service."""
    return code not in _GLOBAL or region == GLOBAL_REGION


def service_name(code: str, region: str) -> str:
    """Return a service's name, such as com.amazonaws.us-east-1.s3 or com.amazonaws.iam."""
    return f"com.amazonaws.{code}" if code in _GLOBAL else f"com.amazonaws.{region}.{code}"


def read_service(name: str) -> tuple[str, str]:
    """Return the region and the code of a service's name."""
    _, _, *region, code = name.split(".")
    return region[0] if region else GLOBAL_REGION, code


def has_names_below(code: str) -> bool:
    """Tell whether clients put a bucket's name, or another one, before the names of a service and its endpoints."""
    return code == OBJECTS


def private_names(code: str, region: str) -> tuple[str, ...]:
    """Return the DNS names of a service that its clients use, such as ec2.us-east-1.amazonaws.com."""
    if code in _GLOBAL:
        return (f"{code}.amazonaws.com",)
    codes = (code, f"{code}-control") if code == OBJECTS else (code,)
    return tuple(f"{each}.{region}.amazonaws.com" for each in codes)


def endpoint_domain(code: str, region: str) -> str:
    """Return the DNS domain of the names that interface endpoints of a service have themselves."""
    return f"{code}.{region}.vpce.amazonaws.com"


def endpoint_name(endpoint_id: str, service: str, zone: str = "") -> str:
    """Return the DNS name of an interface endpoint, or of its interface in a zone; `service` is the service's name."""
    region, code = read_service(service)
    known_only_to_its_users = hashlib.sha256(endpoint_id.encode()).hexdigest()[:8]
    return "-".join(filter(None, (endpoint_id, known_only_to_its_users, zone))) + f".{endpoint_domain(code, region)}"


def certified_names(codes: Iterable[str], region: str) -> list[str]:
    """Return the names of services, and of most of their endpoints, as certificates write them: * is one label."""
    names = []
    for code in codes:
        for name in private_names(code, region):
            names += [name, f"*.{name}"] if has_names_below(code) else [name]
        names.append(f"*.{endpoint_domain(code, region)}")
    return list(dict.fromkeys(names))


def certified_names_of(endpoint_id: str, region: str, zones: Iterable[str]) -> Iterator[str]:
    """Yield the names of one interface endpoint for buckets, as certificates write them."""
    for zone in ("", *zones):
        name = endpoint_name(endpoint_id, service_name(OBJECTS, region), zone)
        yield f"*.{name}"
        yield from (f"*.{each}.{name}" for each in _UNDER_ENDPOINTS)
