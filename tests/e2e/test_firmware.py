"""An image of UEFI with secure boot and a TPM, registered by the real `aws` command: its instance's guest has all three."""

from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

# Firmware, loaders and kernel are measured and checked, by an emulated processor.
BOOT_SECONDS = 900.0
SAYS = """#!/bin/sh
{ dmesg | grep -i 'secure boot'; ls -d /sys/firmware/efi /dev/tpmrm0; echo said all; } >/dev/console
"""


def test_secure_boot_with_a_tpm_by_the_aws_command(user: User, real_cloud: RealCloud) -> None:
    aws = user.account.aws
    plain = user.ec2.copy_image(SourceImageId=user.image_id, SourceRegion="us-east-1", Name="a copy of my own")[
        "ImageId"
    ]

    def made() -> bool:
        return user.ec2.describe_images(ImageIds=[plain])["Images"][0]["State"] == "available"

    wait_for(made, "the image is made", 300, poll=0.5)
    disk = user.ec2.describe_images(ImageIds=[plain])["Images"][0]["BlockDeviceMappings"][0]
    mapping = f"DeviceName={disk['DeviceName']},Ebs={{SnapshotId={disk['Ebs']['SnapshotId']}}}"
    image_id = aws(
        "ec2", "register-image", "--name", "secure", "--root-device-name", disk["DeviceName"],
        "--block-device-mappings", mapping, "--boot-mode", "uefi", "--tpm-support", "v2.0",
        "--uefi-data", real_cloud.stead_well("image", "uefi-data").strip(),
    )["ImageId"]  # fmt: skip
    (instance_id,) = user.run(ImageId=image_id, InstanceType="stead.mini", UserData=SAYS)
    shown = user.describe(instance_id)
    assert (shown["BootMode"], shown["CurrentInstanceBootMode"], shown["TpmSupport"]) == ("uefi", "uefi", "v2.0")

    def said() -> str | None:
        console = user.console(instance_id)
        return console if "said all" in console else None

    console = user.when_booted(instance_id, said, "what it sees is on the console", seconds=BOOT_SECONDS)
    assert "Secure boot enabled" in console
    assert "/sys/firmware/efi" in console
    assert "/dev/tpmrm0" in console
