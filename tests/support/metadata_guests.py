"""Guests for the metadata tests, which change them with dataclasses.replace."""

from stead_agent.metadata.interface import Guest, GuestInterface, Options, PublicAddress, PublicKey

VPC = "vpc-0123456789abcdef0"
ADDRESS = "172.31.0.5"


def interface(index: int = 0, address: str = ADDRESS, vpc_id: str = VPC) -> GuestInterface:
    """An interface with one private and, at index 0, one public address."""
    return GuestInterface(
        interface_id=f"eni-0123456789abcde{index:02d}",
        mac_address=f"0e:49:61:0f:c3:{index:02x}",
        device_index=index,
        private_addresses=(address,),
        private_dns_name=f"ip-{address.replace('.', '-')}.ec2.internal",
        subnet_id="subnet-0123456789abcdef0",
        subnet_cidr_block="172.31.0.0/20",
        vpc_id=vpc_id,
        vpc_cidr_blocks=("172.31.0.0/16",),
        public_addresses=(PublicAddress("203.0.113.25", address),) if index == 0 else (),
        public_dns_name="ec2-203-0-113-25.compute-1.amazonaws.com" if index == 0 else "",
        security_group_ids=("sg-0123456789abcdef0",),
    )


def guest(number: int = 0, address: str = ADDRESS, vpc_id: str = VPC) -> Guest:
    """A typical guest."""
    return Guest(
        instance_id=f"i-0123456789abcde{number:02d}",
        account_id="123456789012",
        reservation_id="r-0123456789abcdef0",
        image_id="ami-0123456789abcdef0",
        instance_type="t3.micro",
        region="us-east-1",
        availability_zone="us-east-1a",
        hostname=f"ip-{address.replace('.', '-')}.ec2.internal",
        interfaces=(interface(0, address, vpc_id),),
        pending_time=1479573131,
        public_hostname="ec2-203-0-113-25.compute-1.amazonaws.com",
        public_keys=(PublicKey("my key", "ssh-ed25519 AAAAC3Nz my key"),),
        security_groups=("default", "web servers"),
        options=Options(),
    )
