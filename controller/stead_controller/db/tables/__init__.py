"""The tables, one file per noun, singular; importing this package knows them all."""

from stead_controller.db.tables.account import AccessKey, Account
from stead_controller.db.tables.audit_event import AuditEventResource, AuditEventRow
from stead_controller.db.tables.base import Base
from stead_controller.db.tables.block import BlockSegment, CondemnedBlock, SnapshotDamage, SnapshotSegment, StoredBlock
from stead_controller.db.tables.bucket import Bucket, ObjectAccount, ObjectKey
from stead_controller.db.tables.client_token import ClientToken
from stead_controller.db.tables.cloud import CloudFact
from stead_controller.db.tables.dhcp_options import DhcpOptions, DhcpOptionValue
from stead_controller.db.tables.ebs_encryption import EbsEncryption
from stead_controller.db.tables.elastic_address import ElasticAddress
from stead_controller.db.tables.ended_cidr_block import EndedCidrBlock
from stead_controller.db.tables.flow_log import FlowLog
from stead_controller.db.tables.host import EnrolmentToken, Host, HostError, HostResource, RemovedHost
from stead_controller.db.tables.iam_account import IamAccount, IamCredentialReport, IamOidcProvider, IamTag
from stead_controller.db.tables.iam_mfa_device import IamMfaDevice
from stead_controller.db.tables.iam_policy import IamAttachedPolicy, IamInlinePolicy, IamPolicy, IamPolicyVersion
from stead_controller.db.tables.iam_role import IamInstanceProfile, IamRole
from stead_controller.db.tables.iam_user import IamGroup, IamGroupMember, IamOldPassword, IamUser
from stead_controller.db.tables.image import Image
from stead_controller.db.tables.image_block_device import ImageBlockDevice, ImagePermission
from stead_controller.db.tables.image_task import ImageTask
from stead_controller.db.tables.instance import Instance, Reservation
from stead_controller.db.tables.instance_profile_association import InstanceProfileAssociation
from stead_controller.db.tables.instance_store_disk import InstanceStoreDisk
from stead_controller.db.tables.interface_address import InterfaceAddress
from stead_controller.db.tables.internet_gateway import EgressOnlyInternetGateway, InternetGateway
from stead_controller.db.tables.key_pair import KeyPair
from stead_controller.db.tables.lifecycle_policy import LifecyclePolicy, LifecycleSchedule, LifecycleSnapshot
from stead_controller.db.tables.metadata_defaults import MetadataDefaults
from stead_controller.db.tables.nat_gateway import NatGateway
from stead_controller.db.tables.network_acl import NetworkAcl, NetworkAclAssociation, NetworkAclEntry
from stead_controller.db.tables.network_insights import NetworkInsightsAnalysis, NetworkInsightsPath
from stead_controller.db.tables.network_interface import InterfaceGroup, NetworkInterface, PublicAddress
from stead_controller.db.tables.prefix_list import PrefixList, PrefixListEntry
from stead_controller.db.tables.public_sharing import PublicSharing
from stead_controller.db.tables.quota import AccountUsage, QuotaRequest, ServiceQuota
from stead_controller.db.tables.revision import Revision, RevisionLeap
from stead_controller.db.tables.route_table import Route, RouteTable, RouteTableAssociation
from stead_controller.db.tables.security_group import SecurityGroup, SecurityGroupRule
from stead_controller.db.tables.snapshot import Snapshot, SnapshotPermission, WrittenBlock
from stead_controller.db.tables.storage_pool import StoragePool
from stead_controller.db.tables.subnet import Subnet
from stead_controller.db.tables.subnet_cidr_reservation import SubnetCidrReservation
from stead_controller.db.tables.tag import Tag
from stead_controller.db.tables.unclaimed_resource import UnclaimedAddress, UnclaimedResource
from stead_controller.db.tables.volume import Volume, VolumeModification
from stead_controller.db.tables.vpc import Vpc, VpcCidrBlock
from stead_controller.db.tables.vpc_endpoint import VpcEndpoint, VpcEndpointGroup, VpcEndpointInterface
from stead_controller.db.tables.vpc_peering_connection import VpcPeeringConnection
from stead_controller.db.tables.vpc_topic import VpcHost, VpcResource
from stead_controller.db.tables.workflow import Workflow

__all__ = [
    "AccessKey",
    "Account",
    "AccountUsage",
    "AuditEventResource",
    "AuditEventRow",
    "Base",
    "BlockSegment",
    "Bucket",
    "ClientToken",
    "CloudFact",
    "CondemnedBlock",
    "DhcpOptionValue",
    "DhcpOptions",
    "EbsEncryption",
    "EgressOnlyInternetGateway",
    "ElasticAddress",
    "EndedCidrBlock",
    "EnrolmentToken",
    "FlowLog",
    "Host",
    "HostError",
    "HostResource",
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
    "InstanceProfileAssociation",
    "InstanceStoreDisk",
    "InterfaceAddress",
    "InterfaceGroup",
    "InternetGateway",
    "KeyPair",
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
    "PrefixList",
    "PrefixListEntry",
    "PublicAddress",
    "PublicSharing",
    "QuotaRequest",
    "RemovedHost",
    "Reservation",
    "Revision",
    "RevisionLeap",
    "Route",
    "RouteTable",
    "RouteTableAssociation",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServiceQuota",
    "Snapshot",
    "SnapshotDamage",
    "SnapshotPermission",
    "SnapshotSegment",
    "StoragePool",
    "StoredBlock",
    "Subnet",
    "SubnetCidrReservation",
    "Tag",
    "UnclaimedAddress",
    "UnclaimedResource",
    "Volume",
    "VolumeModification",
    "Vpc",
    "VpcCidrBlock",
    "VpcEndpoint",
    "VpcEndpointGroup",
    "VpcEndpointInterface",
    "VpcHost",
    "VpcPeeringConnection",
    "VpcResource",
    "Workflow",
    "WrittenBlock",
]
