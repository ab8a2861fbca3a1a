"""Instances and the reservations they were launched in."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId


class Instance(Base):
    """A virtual machine, from RunInstances until an hour after its termination.

    The name of its placement group is repeated here, since names of groups do not change.

    `start_count` and `reboot_count` are the numbers that the host acts on (see desired.proto). `capacity_held` is
    whether its vCPUs and memory are taken from the host's free capacity; those of one with a `capacity_reservation_id`
    are taken by the slot that it uses.
    """

    __tablename__ = "instances"
    __table_args__ = (
        Index("ix_instances_account_id_id", "account_id", "id", unique=True),
        Index("ix_instances_account_state", "account_id", "state"),
        Index("ix_instances_account_vpc", "account_id", "vpc_id"),
        Index("ix_instances_account_subnet", "account_id", "subnet_id"),
        Index("ix_instances_account_private_address", "account_id", "private_address"),
        Index("ix_instances_account_public_address", "account_id", "public_address"),
        Index("ix_instances_account_client_token", "account_id", "client_token"),
        Index("ix_instances_account_image", "account_id", "image_id"),
        Index("ix_instances_reservation_id", "reservation_id"),
        Index("ix_instances_host_id", "host_id"),
        Index("ix_instances_identity_issued", "identity_issued"),
        Index("ix_instances_state_changed", "state", "state_changed"),
        # Only rows of instances in a placement group are in the index.
        partial_index(
            "ix_instances_account_placement_group",
            "account_id",
            "placement_group_id",
            where=text("placement_group_id IS NOT NULL"),
        ),
        # Likewise of those that run in a capacity reservation.
        partial_index(
            "ix_instances_account_capacity_reservation",
            "account_id",
            "capacity_reservation_id",
            where=text("capacity_reservation_id IS NOT NULL"),
        ),
        partial_index(
            "ix_instances_scheduled_stop",
            "state_reason_code",
            "state",
            where=text("state_reason_code = 'Server.ScheduledStop'"),
        ),
        # Only rows of the few instances that are being recovered are in the index.
        partial_index(
            "ix_instances_recovery_began",
            "recovery_began",
            where=text("recovery_began IS NOT NULL"),
        ),
        # Only rows of Spot Instances are in the index.
        partial_index(
            "ix_instances_spot_zone",
            "zone",
            "launch_time",
            where=text("spot_request_id IS NOT NULL"),
        ),
        partial_index(
            "ix_instances_interruption",
            "interruption",
            where=text("interruption IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    reservation_id: Mapped[str] = mapped_column(ResourceId)
    image_id: Mapped[str] = mapped_column(ResourceId)
    instance_type: Mapped[str] = mapped_column(String(32))
    vcpus: Mapped[int] = mapped_column(Integer)
    threads_per_core: Mapped[int] = mapped_column(Integer, default=1, server_default="1")  # vcpus is a multiple of it
    cpu_credits: Mapped[str] = mapped_column(String(16), default="standard", server_default="standard")  # how it spends
    launch_credits: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # given with its latest start
    saved_credits: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # thousandths, at its stop
    # At its stop: in thousandths of what it can save of what all its volumes together may do.
    saved_ebs_bytes: Mapped[int] = mapped_column(Integer, default=1000, server_default="1000")
    saved_ebs_iops: Mapped[int] = mapped_column(Integer, default=1000, server_default="1000")
    memory: Mapped[int] = mapped_column(BigInteger)  # bytes
    architecture: Mapped[str] = mapped_column(String(16))
    boot_mode: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    state_changed: Mapped[datetime]
    state_reason_code: Mapped[str] = mapped_column(String(64), default="")
    state_reason_message: Mapped[str] = mapped_column(String(512), default="")
    state_transition_reason: Mapped[str] = mapped_column(String(128), default="")
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    capacity_held: Mapped[bool] = mapped_column(default=True)
    zone: Mapped[str] = mapped_column(String(64))
    vpc_id: Mapped[str] = mapped_column(ResourceId)
    subnet_id: Mapped[str] = mapped_column(ResourceId)
    private_address: Mapped[str | None] = mapped_column(String(45))
    public_address: Mapped[str | None] = mapped_column(String(45))
    key_name: Mapped[str | None] = mapped_column(String(255))
    public_key: Mapped[str | None] = mapped_column(String(8192))  # as at launch: deleting the key pair changes no guest
    launch_time: Mapped[datetime]
    launch_index: Mapped[int] = mapped_column(Integer)
    user_data: Mapped[bytes | None]
    client_token: Mapped[str] = mapped_column(String(64), default="")
    root_device_name: Mapped[str] = mapped_column(String(32))
    shutdown_behavior: Mapped[str] = mapped_column(String(16), default="stop")
    disable_api_termination: Mapped[bool] = mapped_column(default=False)
    disable_api_stop: Mapped[bool] = mapped_column(default=False)
    ebs_optimized: Mapped[bool] = mapped_column(default=False)
    monitoring: Mapped[bool] = mapped_column(default=False)
    measured_closely: Mapped[bool | None]  # its processors, for a group that scales by them
    target_lifecycle_state: Mapped[str | None] = mapped_column(String(32))  # to which it goes in its group
    metadata_enabled: Mapped[bool] = mapped_column(default=True)
    metadata_tokens_required: Mapped[bool] = mapped_column(default=False)
    metadata_hop_limit: Mapped[int] = mapped_column(Integer, default=1)
    metadata_tags: Mapped[bool] = mapped_column(default=False)
    metadata_ipv6: Mapped[bool] = mapped_column(default=False, server_default=false())
    metadata_pending: Mapped[bool] = mapped_column(default=False, server_default=false())  # until its host confirms it
    identity_issued: Mapped[datetime | None]  # when its session of the identity role began, while it runs
    password_data: Mapped[str | None] = mapped_column(String(2048))  # as the guest encrypted and wrote it
    start_count: Mapped[int] = mapped_column(Integer, default=1)
    # Its instance store has lasted since this start: a replaced root volume is another start. 0: since its latest one.
    stores_since: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    reboot_count: Mapped[int] = mapped_column(Integer, default=0)
    reboots_done: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # as reported by the host
    force_stop: Mapped[bool] = mapped_column(default=False)  # its guest is not asked
    hasten_stop: Mapped[bool] = mapped_column(default=False, server_default=false())  # it is, and soon powered off
    hibernation: Mapped[bool] = mapped_column(default=False, server_default=false())  # whether it may hibernate
    hibernate_stop: Mapped[bool] = mapped_column(default=False, server_default=false())  # its stop saves its memory
    memory_saved: Mapped[bool] = mapped_column(default=False, server_default=false())  # or is to be: the host has room
    # Device names of its volumes when it was started, without the root; None while it still has these volumes.
    ebs_at_start: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    auto_recovery: Mapped[bool] = mapped_column(default=True, server_default=true())
    recoveries: Mapped[list[float]] = mapped_column(JSON, default=list, server_default="[]")  # times, in Unix seconds
    recovery_began: Mapped[datetime | None]  # until its host reports that it runs again
    answers: Mapped[str | None] = mapped_column(String(16))  # starting, yes or no; None: its host checks no guests
    silent_since: Mapped[datetime | None]  # since when `answers` is `no`
    hung_since: Mapped[datetime | None]  # since when the QEMU of its guest has not answered
    off_since: Mapped[datetime | None]  # since when its host has said that it is off, though it should run
    hostname_type: Mapped[str] = mapped_column(String(16), default="ip-name", server_default="ip-name")
    resource_name_a_record: Mapped[bool] = mapped_column(default=False, server_default=false())
    resource_name_aaaa_record: Mapped[bool] = mapped_column(default=False, server_default=false())
    profile_association_id: Mapped[str | None] = mapped_column(ResourceId)  # of its instance profile association
    sealed_tpm_key: Mapped[bytes | None]  # of its TPM's state, sealed by the master key; NULL: it has no TPM
    uefi_data: Mapped[bytes | None]  # of its image, as at launch
    placement_group_id: Mapped[str | None] = mapped_column(ResourceId)
    placement_group_name: Mapped[str] = mapped_column(String(255), default="", server_default="")
    partition_number: Mapped[int | None] = mapped_column(Integer)  # of a group of partitions
    spot_request_id: Mapped[str | None] = mapped_column(ResourceId)  # of a Spot Instance
    tenancy: Mapped[str] = mapped_column(String(16), default="default", server_default="default")
    dedicated_host_id: Mapped[str | None] = mapped_column(ResourceId)  # where it runs, ran last, or is to start
    host_affinity: Mapped[str] = mapped_column(String(8), default="default", server_default="default")  # or host
    interruption: Mapped[datetime | None]  # when a Spot Instance is to end, of which it has been given notice
    capacity_reservation_id: Mapped[str | None] = mapped_column(ResourceId)  # in a slot of which it runs
    # open, none or capacity-reservations-only; NULL where there is only a target.
    reservation_preference: Mapped[str | None] = mapped_column(String(32), default="open", server_default="open")
    reservation_target: Mapped[str | None] = mapped_column(ResourceId)  # the capacity reservation it is meant for
    has_events: Mapped[bool] = mapped_column(default=False, server_default=false())  # scheduled ones, or ended ones
    host_error: Mapped[str] = mapped_column(String(2048), default="")  # the agent's last error, for operators


class Reservation(Base):
    """The instances of one RunInstances call."""

    __tablename__ = "reservations"

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    created: Mapped[datetime]
