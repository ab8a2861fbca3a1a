"""Hosts, the desired state of each, and the tokens with which they enrol."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Computed, Float, ForeignKey, Index, Integer, String, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class Host(Base):
    """A machine that runs guests.

    `revision` is that of the last change it was sent, `revision_reached` that up to which it has done all; both are
    written some seconds late. A host that knows less than `revision_forgotten` must be sent everything again.
    `*_offered` is what instances may have of it, after overcommit and its own reserve. `*_free` is what may still be
    reserved: the database derives it, so that it is below zero after the host shrank, or was made to offer less.
    `accelerated` is whether its guests run by KVM. A host that is not `schedulable` is cordoned, or being drained.
    `overcommit_*` and `reserve_memory` (bytes) are NULL where the controller's settings hold.
    All instances on one with an `owner_account_id` are of that account; one with a `dedicated_host_id` is its Dedicated
    Host.
    `pool_address` is its own from the first public pool, `underlay_address` where other hosts reach it.
    `session` counts its Hellos, to whatever controller, and `controller_id` is that of the last one: what an earlier
    stream brings late is not stored.
    """

    __tablename__ = "hosts"
    __table_args__ = (Index("ix_hosts_room", "zone", "accelerated", "memory_free", "id"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    zone: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))  # enrolled, up, down
    schedulable: Mapped[bool] = mapped_column(default=True)
    draining: Mapped[bool] = mapped_column(default=False, server_default=false())
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict, server_default="{}")
    overcommit_cpus: Mapped[float | None] = mapped_column(Float)
    overcommit_memory: Mapped[float | None] = mapped_column(Float)
    reserve_memory: Mapped[int | None] = mapped_column(BigInteger)
    simulated: Mapped[bool] = mapped_column(default=False)
    cpus: Mapped[int] = mapped_column(Integer, default=0)  # hardware threads that instances share
    cores: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # 0: not known
    cpu_model: Mapped[str] = mapped_column(String(128), default="", server_default="")
    cpu_features: Mapped[str] = mapped_column(String(8192), default="", server_default="")  # separated by spaces
    # Of each memory node its number, its threads as the kernel lists them, its bytes.
    numa_nodes: Mapped[list[tuple[int, str, int]]] = mapped_column(JSON, default=list, server_default="[]")
    # Of each memory node, by its number as text, how many pages of 2 MiB it has; of some, if it has any.
    huge_pages: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, server_default="{}")
    memory: Mapped[int] = mapped_column(BigInteger, default=0)
    cpus_offered: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    memory_offered: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    cpus_reserved: Mapped[int] = mapped_column(Integer, default=0)
    memory_reserved: Mapped[int] = mapped_column(BigInteger, default=0)
    cpus_free: Mapped[int] = mapped_column(Integer, Computed("cpus_offered - cpus_reserved"))
    memory_free: Mapped[int] = mapped_column(BigInteger, Computed("memory_offered - memory_reserved"))
    owner_account_id: Mapped[str | None] = mapped_column(AccountId)
    dedicated_host_id: Mapped[str | None] = mapped_column(ResourceId)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    revision_reached: Mapped[int] = mapped_column(BigInteger, default=0)
    revision_forgotten: Mapped[int] = mapped_column(BigInteger, default=0)
    pool_address: Mapped[str] = mapped_column(String(45), default="")
    underlay_address: Mapped[str] = mapped_column(String(45), default="")
    architecture: Mapped[str] = mapped_column(String(16), default="x86_64")  # its own, of which guests may have KVM
    # Other architectures that it runs, always by emulation, separated by spaces.
    emulates: Mapped[str] = mapped_column(String(64), default="", server_default="")
    virtualization: Mapped[str] = mapped_column(String(16), default="")
    accelerated: Mapped[bool] = mapped_column(default=False, server_default=false())
    uefi: Mapped[bool] = mapped_column(default=False, server_default=false())  # whether its guests may boot by it
    tpm: Mapped[bool] = mapped_column(default=False, server_default=false())  # whether its guests may have one
    # Whether its agent lays what an instance of UEFI had stored on another host.
    lays_firmware: Mapped[bool] = mapped_column(default=False, server_default=false())
    virtualization_reason: Mapped[str] = mapped_column(String(1024), default="")
    agent_version: Mapped[str] = mapped_column(String(32), default="")
    session: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    controller_id: Mapped[str | None] = mapped_column(String(32))
    created: Mapped[datetime]
    last_seen: Mapped[datetime | None]
    certificate_ends: Mapped[datetime | None]  # of the last one that it was given; NULL: not known
    certified: Mapped[datetime | None]  # the begin of the one that it enrolled for: earlier ones count no more
    enrolment: Mapped[str] = mapped_column(String(16), default="")  # in its certificates since it enrolled again
    former_enrolment: Mapped[str | None] = mapped_column(String(16))  # in those that what runs on it may still have


class RemovedHost(Base):
    """A removed host: if it connects again it learns of that, and ends its guests. An unknown host does not."""

    __tablename__ = "removed_hosts"

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    removed: Mapped[datetime]


class HostResource(Base):
    """The outbox: one row per resource that only this host is sent, at the revision of its last change.

    `body` is a serialized `stead.v1.Resource`; NULL means that the resource must be removed, and the row is retained
    until the host has reached that revision. So a host at revision R has missed exactly its rows with `revision > R`.
    """

    __tablename__ = "host_resources"
    __table_args__ = (
        Index("ix_host_resources_host_revision", "host_id", "revision"),
        Index("ix_host_resources_revision", "revision"),
    )

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[int] = mapped_column(Integer, primary_key=True)
    resource_id: Mapped[str] = mapped_column(ResourceId, primary_key=True, index=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes | None]
    force: Mapped[bool] = mapped_column(default=False)


class HostError(Base):
    """A present error of a host, as its agent last reported."""

    __tablename__ = "host_errors"

    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[int] = mapped_column(Integer, primary_key=True)
    resource_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    error: Mapped[str] = mapped_column(String(2048))
    since: Mapped[datetime]


class EnrolmentToken(Base):
    """A one-time token, identified by its SHA-256."""

    __tablename__ = "enrolment_tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    zone: Mapped[str] = mapped_column(String(64))
    expires: Mapped[datetime]


class HostToken(Base):
    """A one-time token, identified by its SHA-256, with which one known host enrols again.

    With `any_authority` its certificate may be of an authority that is not known here.
    """

    __tablename__ = "host_tokens"
    __table_args__ = (Index("ix_host_tokens_host_id", "host_id"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"))
    any_authority: Mapped[bool]
    expires: Mapped[datetime]
