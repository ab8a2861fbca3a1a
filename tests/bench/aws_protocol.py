"""CPU cost of the AWS wire: writing a DescribeInstances answer, parsing RunInstances, checking a signature.

python tests/bench/aws_protocol.py
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import check_coverage, is_signed_with, read_claim

COUNT, TIMES = 1000, 100
LAUNCHED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def instance(number: int) -> dict[str, Any]:
    """An instance as DescribeInstances shows it, with nothing left out that Stead knows."""
    i, address = f"i-{number:017x}", f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    groups = [
        {"GroupId": f"sg-{number % 7:017x}", "GroupName": "web & <api>"},
        {"GroupId": "sg-0123456789abcdef0", "GroupName": "ssh"},
    ]
    name = f"ip-{address.replace('.', '-')}.eu-1.compute.internal"
    public = {
        "IpOwnerId": "123456789012",
        "PublicDnsName": f"ec2-{number}.example",
        "PublicIp": f"198.18.0.{number % 250}",
    }
    return {
        "AmiLaunchIndex": 0, "Architecture": "x86_64", "BootMode": "uefi-preferred", "ClientToken": f"token-{number}",
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2}, "CurrentInstanceBootMode": "legacy-bios",
        "EbsOptimized": False, "EnaSupport": True, "EnclaveOptions": {"Enabled": False},
        "HibernationOptions": {"Configured": False}, "Hypervisor": "xen",
        "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/web", "Id": "AIPAEXAMPLE0123456789"},
        "BlockDeviceMappings": [
            {"DeviceName": device, "Ebs": {"AttachTime": LAUNCHED, "DeleteOnTermination": True, "Status": "attached", "VolumeId": f"vol-{number:016x}{n}"}}
            for n, device in enumerate(["/dev/sda1", "/dev/sdf"])
        ],
        "ImageId": "ami-0123456789abcdef0", "InstanceId": i, "InstanceType": "t3.micro", "KeyName": "me",
        "LaunchTime": LAUNCHED, "MaintenanceOptions": {"AutoRecovery": "default", "RebootMigration": "default"},
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpProtocolIpv6": "disabled", "HttpPutResponseHopLimit": 2, "HttpTokens": "required", "InstanceMetadataTags": "disabled", "State": "applied"},
        "Monitoring": {"State": "disabled"},
        "NetworkInterfaces": [{
            "Association": public,
            "Attachment": {"AttachTime": LAUNCHED, "AttachmentId": f"eni-attach-{number:017x}", "DeleteOnTermination": True, "DeviceIndex": 0, "NetworkCardIndex": 0, "Status": "attached"},
            "Description": "", "Groups": groups, "InterfaceType": "interface", "Ipv6Addresses": [],
            "MacAddress": "02:00:00:00:00:01", "NetworkInterfaceId": f"eni-{number:017x}",
            "Operator": {"Managed": False}, "OwnerId": "123456789012", "PrivateDnsName": name, "PrivateIpAddress": address,
            "PrivateIpAddresses": [{"Association": public, "Primary": True, "PrivateDnsName": name, "PrivateIpAddress": address}],
            "SourceDestCheck": True, "Status": "in-use", "SubnetId": "subnet-0123456789abcdef0", "VpcId": "vpc-0123456789abcdef0",
        }],
        "NetworkPerformanceOptions": {"BandwidthWeighting": "default"}, "Operator": {"Managed": False},
        "Placement": {"AvailabilityZone": "eu-1a", "AvailabilityZoneId": "eu1-az1", "GroupName": "", "Tenancy": "default"},
        "PlatformDetails": "Linux/UNIX", "PrivateDnsName": name,
        "PrivateDnsNameOptions": {"EnableResourceNameDnsAAAARecord": False, "EnableResourceNameDnsARecord": False, "HostnameType": "ip-name"},
        "PrivateIpAddress": address, "ProductCodes": [], "PublicDnsName": f"ec2-{number}.example",
        "PublicIpAddress": f"198.18.0.{number % 250}", "RootDeviceName": "/dev/sda1", "RootDeviceType": "ebs",
        "SecurityGroups": groups, "SourceDestCheck": True, "State": {"Code": 16, "Name": "running"},
        "StateReason": {"Code": "", "Message": ""}, "StateTransitionReason": "", "SubnetId": "subnet-0123456789abcdef0",
        "Tags": [{"Key": f"key{n}", "Value": f"value {n} of {i}"} for n in range(5)],
        "UsageOperation": "RunInstances", "UsageOperationUpdateTime": LAUNCHED, "VirtualizationType": "hvm",
        "VpcId": "vpc-0123456789abcdef0",
    }  # fmt: skip


def cpu_ms(work: Callable[[], object], rounds: int) -> list[float]:
    """CPU milliseconds of each of several runs."""
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        spent.append((time.process_time() - begun) * 1000)
    return spent


def report(name: str, spent: list[float], limit: float) -> None:
    """Print a figure, its limit and the raw values."""
    best = sorted(spent)[len(spent) // 2]
    verdict = "ok" if best <= limit else "TOO SLOW"
    print(f"{name}: median {best:.3f} ms CPU, limit {limit} ms, {verdict}; raw {[round(value, 3) for value in spent]}")


def main() -> None:
    """Measure and print."""
    codec = codec_for("ec2")
    answer = {"Reservations": [
        {"Groups": [], "Instances": [instance(number)], "OwnerId": "123456789012", "ReservationId": f"r-{number:017x}"}
        for number in range(COUNT)
    ]}  # fmt: skip
    first = cpu_ms(lambda: codec.write("DescribeInstances", answer, "id"), 1)
    print(
        f"compiling the writer and first answer: {first[0]:.1f} ms; body {len(codec.write('DescribeInstances', answer, 'id').body)} bytes"
    )
    report(f"write DescribeInstances of {COUNT}", cpu_ms(lambda: codec.write("DescribeInstances", answer, "id"), 9), 80)

    model: Any = codec.service.operation("DescribeInstances")
    response = codec.write("DescribeInstances", answer, "id")
    parser = create_parser("ec2")
    read = {"body": response.body, "headers": {}, "status_code": 200}
    report("(botocore reading the same)", cpu_ms(lambda: parser.parse(read, model.output_shape), 3), float("inf"))

    run = codec.service.operation("RunInstances")
    asked = {
        "ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "KeyName": "me",
        "UserData": "c2xlZXAgMQo=" * 100, "SubnetId": "subnet-0123456789abcdef0", "SecurityGroupIds": ["sg-0123456789abcdef0"] * 3,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 10, "VolumeType": "gp3", "Encrypted": False}}],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": f"key{n}", "Value": f"value {n}"} for n in range(5)]}],
        "MetadataOptions": {"HttpTokens": "required"}, "ClientToken": "0123456789",
    }  # fmt: skip
    wire = AWSRequest(method="POST", url="http://stead.example/", data=create_serializer("ec2").serialize_to_request(asked, run)["body"], headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})  # fmt: skip
    SigV4Auth(Credentials("AKIAEXAMPLE", "secret"), "ec2", "eu-1").add_auth(wire)
    ready: Any = wire.prepare()
    body = ready.body.encode() if isinstance(ready.body, str) else ready.body
    headers = (
        ("Host", "stead.example"),
        *((name, value if isinstance(value, str) else value.decode()) for name, value in ready.headers.items()),
    )

    def parse() -> None:
        for _ in range(TIMES):
            codec.parse("RunInstances", Request("POST", "/", "", headers, body, "127.0.0.1"))

    parse()
    report("parse RunInstances", [spent / TIMES for spent in cpu_ms(parse, 5)], 1)

    def verify() -> None:
        for _ in range(TIMES):
            request = Request("POST", "/", "", headers, body, "127.0.0.1")
            claim = read_claim(request)
            check_coverage(request, claim)
            if not is_signed_with(request, claim, "secret"):
                raise SystemExit("a good signature was refused")

    verify()
    report("verify a signature", [spent / TIMES for spent in cpu_ms(verify, 5)], 1)


if __name__ == "__main__":
    main()
