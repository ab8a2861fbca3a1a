"""DNS names of addresses, as EC2 forms them.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-naming.html.
"""


def private_domain(region: str) -> str:
    """The domain of private names in a region."""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


def private_name(address: str, region: str) -> str:
    """The private DNS name of an IPv4 address, such as `ip-172-31-0-5.ec2.internal`."""
    return f"ip-{address.replace('.', '-')}.{private_domain(region)}"


def resource_name(resource_id: str, region: str) -> str:
    """The private DNS name of an instance by its id, such as `i-0123456789abcdef0.ec2.internal`."""
    return f"{resource_id}.{private_domain(region)}"


def instance_name(instance_id: str, address: str | None, hostname_type: str, region: str) -> str:
    """The host name of an instance: by its primary IPv4 address if it has one and its `hostname_type` says so."""
    if hostname_type == "resource-name" or address is None:
        return resource_name(instance_id, region)
    return private_name(address, region)


def shown_private_name(address: str, region: str, *, named: bool) -> str:
    """The private DNS name of an address as the API shows it: none where its VPC has DNS host names disabled."""
    return private_name(address, region) if named else ""


def public_name(address: str, region: str) -> str:
    """The public DNS name of an IPv4 address, such as `ec2-203-0-113-5.compute-1.amazonaws.com`."""
    return f"ec2-{address.replace('.', '-')}.{public_domain(region)}"


def public_domain(region: str) -> str:
    """The domain of public names in a region."""
    return "compute-1.amazonaws.com" if region == "us-east-1" else f"{region}.compute.amazonaws.com"
