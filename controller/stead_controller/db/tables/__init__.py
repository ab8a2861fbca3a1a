"""The tables, one file per noun, singular; importing this package registers them all."""

from stead_controller.db.tables.account import AccessKey, Account
from stead_controller.db.tables.audit_event import AuditEventResource, AuditEventRow
from stead_controller.db.tables.base import Base
from stead_controller.db.tables.budget import Budget, BudgetAction, BudgetActionEvent, BudgetNotification
from stead_controller.db.tables.client_token import ClientToken
from stead_controller.db.tables.cloud import CloudFact
from stead_controller.db.tables.controller import ControllerRow, Lease
from stead_controller.db.tables.data_export import DataExport, DataExportExecution
from stead_controller.db.tables.fleet.capacity_reservation import CapacityReservation, CapacityReservationSlots
from stead_controller.db.tables.fleet.dedicated_host import DedicatedHost
from stead_controller.db.tables.fleet.fleet import Fleet, FleetInstance
from stead_controller.db.tables.fleet.launch_template import LaunchTemplate, LaunchTemplateVersion
from stead_controller.db.tables.fleet.placement_group import PlacementGroup
from stead_controller.db.tables.fleet.spot_request import SpotRequest, SpotRequestValue
from stead_controller.db.tables.host import EnrolmentToken, Host, HostError, HostResource, HostToken, RemovedHost
from stead_controller.db.tables.host_core import HostCore
from stead_controller.db.tables.host_device import HostDevice
from stead_controller.db.tables.iam.account_settings import IamAccount, IamCredentialReport, IamOidcProvider, IamTag
from stead_controller.db.tables.iam.instance_profile_association import InstanceProfileAssociation
from stead_controller.db.tables.iam.mfa_device import IamMfaDevice
from stead_controller.db.tables.iam.policy import IamAttachedPolicy, IamInlinePolicy, IamPolicy, IamPolicyVersion
from stead_controller.db.tables.iam.role import IamInstanceProfile, IamRole
from stead_controller.db.tables.iam.user import IamGroup, IamGroupMember, IamOldPassword, IamUser
from stead_controller.db.tables.images.image import Image
from stead_controller.db.tables.images.image_block_device import ImageBlockDevice, ImagePermission
from stead_controller.db.tables.images.image_task import ImageTask
from stead_controller.db.tables.instances.burstable_settings import BurstableSettings
from stead_controller.db.tables.instances.instance import Instance, Reservation
from stead_controller.db.tables.instances.instance_event import InstanceEvent
from stead_controller.db.tables.instances.instance_event_window import EventWindowTarget, InstanceEventWindow
from stead_controller.db.tables.instances.instance_firmware import InstanceFirmware
from stead_controller.db.tables.instances.instance_store_disk import InstanceStoreDisk
from stead_controller.db.tables.instances.key_pair import KeyPair
from stead_controller.db.tables.instances.metadata_defaults import MetadataDefaults
from stead_controller.db.tables.instances.own_instance_type import OwnInstanceType
from stead_controller.db.tables.instances.replace_root_volume_task import ReplaceRootVolumeTask
from stead_controller.db.tables.instances.serial_console import SerialConsoleAccess, SerialConsoleKey
from stead_controller.db.tables.metering.bucket_sizes import BucketSize
from stead_controller.db.tables.metering.cost_tags import CostTag, UsageTag
from stead_controller.db.tables.metering.usage import PriceBook, UsageLine, UsageMeter
from stead_controller.db.tables.metering.usage_amounts import UsageAmount, UsageCounter, UsageFile
from stead_controller.db.tables.metering.usage_days import UsageDay, UsageDaysMark, UsageTagDay
from stead_controller.db.tables.metrics.alarm import (
    Alarm,
    AlarmAction,
    AlarmChild,
    AlarmHistoryItem,
    AlarmMetric,
    AlarmPolicy,
)
from stead_controller.db.tables.metrics.dashboard import Dashboard
from stead_controller.db.tables.network.dhcp_options import DhcpOptions, DhcpOptionValue
from stead_controller.db.tables.network.elastic_address import ElasticAddress
from stead_controller.db.tables.network.ended_cidr_block import EndedCidrBlock
from stead_controller.db.tables.network.flow_log import FlowLog
from stead_controller.db.tables.network.interface_address import InterfaceAddress
from stead_controller.db.tables.network.internet_gateway import EgressOnlyInternetGateway, InternetGateway
from stead_controller.db.tables.network.nat_gateway import NatGateway
from stead_controller.db.tables.network.network_acl import NetworkAcl, NetworkAclAssociation, NetworkAclEntry
from stead_controller.db.tables.network.network_insights import NetworkInsightsAnalysis, NetworkInsightsPath
from stead_controller.db.tables.network.network_interface import InterfaceGroup, NetworkInterface, PublicAddress
from stead_controller.db.tables.network.prefix_list import PrefixList, PrefixListEntry
from stead_controller.db.tables.network.route_table import Route, RouteTable, RouteTableAssociation
from stead_controller.db.tables.network.security_group import SecurityGroup, SecurityGroupRule
from stead_controller.db.tables.network.subnet import Subnet
from stead_controller.db.tables.network.subnet_cidr_reservation import SubnetCidrReservation
from stead_controller.db.tables.network.vpc import Vpc, VpcCidrBlock
from stead_controller.db.tables.network.vpc_endpoint import VpcEndpoint, VpcEndpointGroup, VpcEndpointInterface
from stead_controller.db.tables.network.vpc_peering_connection import VpcPeeringConnection
from stead_controller.db.tables.network.vpc_topic import VpcHost, VpcResource
from stead_controller.db.tables.notifications.topic import Delivery, Subscription, Topic, TopicMessage
from stead_controller.db.tables.quota import AccountUsage, QuotaRequest, ServiceQuota
from stead_controller.db.tables.revision import Revision, RevisionLeap
from stead_controller.db.tables.scaling.instance_refresh import InstanceRefresh
from stead_controller.db.tables.scaling.launch_configuration import LaunchConfiguration
from stead_controller.db.tables.scaling.lifecycle_hook import LifecycleAction, LifecycleHook
from stead_controller.db.tables.scaling.scaling_group import (
    ScalingActivity,
    ScalingGroup,
    ScalingInstance,
    ScalingTag,
)
from stead_controller.db.tables.scaling.scaling_policy import (
    ScalingMetric,
    ScalingNotification,
    ScalingPolicy,
    ScheduledAction,
)
from stead_controller.db.tables.scaling.warm_pool import WarmPool
from stead_controller.db.tables.storage.block import (
    ArchivedPiece,
    BlockSegment,
    CondemnedBlock,
    SnapshotDamage,
    SnapshotSegment,
    StoredBlock,
)
from stead_controller.db.tables.storage.bucket import Bucket, ObjectAccount, ObjectKey
from stead_controller.db.tables.storage.ebs_encryption import EbsEncryption
from stead_controller.db.tables.storage.lifecycle_policy import LifecyclePolicy, LifecycleSchedule, LifecycleSnapshot
from stead_controller.db.tables.storage.public_sharing import PublicSharing
from stead_controller.db.tables.storage.snapshot import Snapshot, SnapshotPermission, SnapshotTier, WrittenBlock
from stead_controller.db.tables.storage.storage_pool import StoragePool
from stead_controller.db.tables.storage.volume import Volume, VolumeModification
from stead_controller.db.tables.storage.volume_move import VolumeMove
from stead_controller.db.tables.tag import Tag
from stead_controller.db.tables.unclaimed_resource import UnclaimedAddress, UnclaimedResource
from stead_controller.db.tables.workflow import Workflow

__all__ = [
    "AccessKey",
    "Account",
    "AccountUsage",
    "Alarm",
    "AlarmAction",
    "AlarmChild",
    "AlarmHistoryItem",
    "AlarmMetric",
    "AlarmPolicy",
    "ArchivedPiece",
    "AuditEventResource",
    "AuditEventRow",
    "Base",
    "BlockSegment",
    "Bucket",
    "BucketSize",
    "Budget",
    "BudgetAction",
    "BudgetActionEvent",
    "BudgetNotification",
    "BurstableSettings",
    "CapacityReservation",
    "CapacityReservationSlots",
    "ClientToken",
    "CloudFact",
    "CondemnedBlock",
    "ControllerRow",
    "CostTag",
    "Dashboard",
    "DataExport",
    "DataExportExecution",
    "DedicatedHost",
    "Delivery",
    "DhcpOptionValue",
    "DhcpOptions",
    "EbsEncryption",
    "EgressOnlyInternetGateway",
    "ElasticAddress",
    "EndedCidrBlock",
    "EnrolmentToken",
    "EventWindowTarget",
    "Fleet",
    "FleetInstance",
    "FlowLog",
    "Host",
    "HostCore",
    "HostDevice",
    "HostError",
    "HostResource",
    "HostToken",
    "IamAccount",
    "IamAttachedPolicy",
    "IamCredentialReport",
    "IamGroup",
    "IamGroupMember",
    "IamInlinePolicy",
    "IamInstanceProfile",
    "IamMfaDevice",
    "IamOidcProvider",
    "IamOldPassword",
    "IamPolicy",
    "IamPolicyVersion",
    "IamRole",
    "IamTag",
    "IamUser",
    "Image",
    "ImageBlockDevice",
    "ImagePermission",
    "ImageTask",
    "Instance",
    "InstanceEvent",
    "InstanceEventWindow",
    "InstanceFirmware",
    "InstanceProfileAssociation",
    "InstanceRefresh",
    "InstanceStoreDisk",
    "InterfaceAddress",
    "InterfaceGroup",
    "InternetGateway",
    "KeyPair",
    "LaunchConfiguration",
    "LaunchTemplate",
    "LaunchTemplateVersion",
    "Lease",
    "LifecycleAction",
    "LifecycleHook",
    "LifecyclePolicy",
    "LifecycleSchedule",
    "LifecycleSnapshot",
    "MetadataDefaults",
    "NatGateway",
    "NetworkAcl",
    "NetworkAclAssociation",
    "NetworkAclEntry",
    "NetworkInsightsAnalysis",
    "NetworkInsightsPath",
    "NetworkInterface",
    "ObjectAccount",
    "ObjectKey",
    "OwnInstanceType",
    "PlacementGroup",
    "PrefixList",
    "PrefixListEntry",
    "PriceBook",
    "PublicAddress",
    "PublicSharing",
    "QuotaRequest",
    "RemovedHost",
    "ReplaceRootVolumeTask",
    "Reservation",
    "Revision",
    "RevisionLeap",
    "Route",
    "RouteTable",
    "RouteTableAssociation",
    "ScalingActivity",
    "ScalingGroup",
    "ScalingInstance",
    "ScalingMetric",
    "ScalingNotification",
    "ScalingPolicy",
    "ScalingTag",
    "ScheduledAction",
    "SecurityGroup",
    "SecurityGroupRule",
    "SerialConsoleAccess",
    "SerialConsoleKey",
    "ServiceQuota",
    "Snapshot",
    "SnapshotDamage",
    "SnapshotPermission",
    "SnapshotSegment",
    "SnapshotTier",
    "SpotRequest",
    "SpotRequestValue",
    "StoragePool",
    "StoredBlock",
    "Subnet",
    "SubnetCidrReservation",
    "Subscription",
    "Tag",
    "Topic",
    "TopicMessage",
    "UnclaimedAddress",
    "UnclaimedResource",
    "UsageAmount",
    "UsageCounter",
    "UsageDay",
    "UsageDaysMark",
    "UsageFile",
    "UsageLine",
    "UsageMeter",
    "UsageTag",
    "UsageTagDay",
    "Volume",
    "VolumeModification",
    "VolumeMove",
    "Vpc",
    "VpcCidrBlock",
    "VpcEndpoint",
    "VpcEndpointGroup",
    "VpcEndpointInterface",
    "VpcHost",
    "VpcPeeringConnection",
    "VpcResource",
    "WarmPool",
    "Workflow",
    "WrittenBlock",
]
