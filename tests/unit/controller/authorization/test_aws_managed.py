import fnmatch
from functools import cache

import botocore.session
import pytest

from stead_controller.authorization.aws_managed import all_policies
from stead_controller.authorization.policy_document import parse

POLICIES = list(all_policies().values())
# Actions that are no operation of their own.
PERMISSIONS = {
    "iam": {"PassRole"},
    "s3": {"ListAllMyBuckets", "ListBucket", "GetAccelerateConfiguration", "GetEncryptionConfiguration"}
    | {"GetLifecycleConfiguration", "DescribeJob", "ListBucketMultipartUploads", "ListMultipartUploadParts"}
    | {"PutBucketPublicAccessBlock"},
    "account": {"GetAccountInformation"},
    "ssm": {"GetManifest", "ListInstanceAssociations", "PutConfigurePackageResult", "PutInventory"}
    | {"UpdateInstanceAssociationStatus", "UpdateInstanceInformation"},
    "tag": {"GetResources", "GetTagKeys", "GetTagValues"},
    "lambda": {"InvokeFunction"},
    "backup": {"CopyFromBackupVault", "CopyIntoBackupVault"},
    "budgets": {"ViewBudget", "ModifyBudget"},
}
# Prefixes of actions whose services have another name in botocore.
SERVICES = {
    "elasticloadbalancing": ("elb", "elbv2"),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticfilesystem": ("efs",),
    "servicequotas": ("service-quotas",),
    "states": ("stepfunctions",),
    "tag": (),
    "account": ("account",),
}
WITHOUT_MODEL = {"cloudshell", "ec2messages", "ssmmessages"}


@cache
def operations_of(prefix):
    session = botocore.session.get_session()
    names = set(PERMISSIONS.get(prefix, ()))
    for service in SERVICES.get(prefix, (prefix,)):
        names |= set(session.get_service_model(service).operation_names)
    return names


@pytest.mark.parametrize("policy", POLICIES, ids=[policy.name for policy in POLICIES])
def test_each_is_a_policy_by_its_arn(policy):
    assert parse(policy.document).statements
    assert policy.arn == f"arn:aws:iam::aws:policy{policy.path}{policy.name}"
    assert policy.description
    assert len(policy.document) <= 6144


# What Terraform modules, templates and documentation attach most to roles of services, as far as it is not full access.
ATTACHED = """
AWSBackupServiceRolePolicyForBackup AWSBackupServiceRolePolicyForRestores AWSCodeDeployRole AWSGlueServiceRole
AWSLambdaBasicExecutionRole AWSLambdaDynamoDBExecutionRole AWSLambdaENIManagementAccess AWSLambdaKinesisExecutionRole
AWSLambdaRole AWSLambdaSQSQueueExecutionRole AWSLambdaVPCAccessExecutionRole AWS_ConfigRole
AmazonAPIGatewayPushToCloudWatchLogs AmazonDMSCloudWatchLogsRole AmazonDMSVPCManagementRole AmazonEBSCSIDriverPolicy
AmazonEC2ContainerServiceAutoscaleRole AmazonEC2ContainerServiceEventsRole AmazonEC2ContainerServiceRole
AmazonEC2ContainerServiceforEC2Role AmazonEC2RoleforSSM AmazonEC2SpotFleetTaggingRole AmazonECSTaskExecutionRolePolicy
AmazonEFSCSIDriverPolicy AmazonRDSEnhancedMonitoringRole AmazonSSMAutomationRole AmazonSSMMaintenanceWindowRole
AutoScalingNotificationAccessRole
"""
ATTACHED_WITHOUT_PATH = """
AWSXRayDaemonWriteAccess AmazonEC2ContainerRegistryPowerUser AmazonEC2ContainerRegistryPullOnly
AmazonEC2ContainerRegistryReadOnly AmazonEKSClusterPolicy AmazonEKSServicePolicy AmazonEKSVPCResourceController
AmazonEKSWorkerNodePolicy AmazonEKS_CNI_Policy AmazonSSMManagedInstanceCore AmazonSSMPatchAssociation
CloudWatchAgentAdminPolicy CloudWatchAgentServerPolicy
"""


@pytest.mark.parametrize(("path", "names"), [("/service-role/", ATTACHED), ("/", ATTACHED_WITHOUT_PATH)])
def test_what_tools_attach_is_there(path, names):
    known = all_policies()
    assert [name for name in names.split() if f"arn:aws:iam::aws:policy{path}{name}" not in known] == []


def test_ids_are_their_own():
    assert len({policy.id for policy in POLICIES}) == len(POLICIES)
    assert all(policy.id.startswith("ANPA") and len(policy.id) == 21 for policy in POLICIES)


def test_every_action_is_one_that_aws_has():
    actions = set()
    for policy in POLICIES:
        for statement in parse(policy.document).statements:
            written = statement.source.get("Action", statement.source.get("NotAction"))
            actions |= {written} if isinstance(written, str) else set(written)
    wrong = []
    for action in sorted(actions - {"*"}):
        prefix, name = action.split(":")
        if prefix in WITHOUT_MODEL:
            continue
        if not any(fnmatch.fnmatchcase(known, name) for known in operations_of(prefix)):
            wrong.append(action)
    assert wrong == []


def test_reading_changes_nothing():
    changing = ("Create", "Delete", "Put", "Modify", "Run", "Terminate", "Attach", "Update", "Start", "Stop", "Set")
    for name in ("ReadOnlyAccess", "AmazonEC2ReadOnlyAccess", "AmazonS3ReadOnlyAccess", "IAMReadOnlyAccess"):
        [policy] = [one for one in POLICIES if one.name == name]
        for statement in parse(policy.document).statements:
            names = [action.split(":")[1] for action in statement.source["Action"]]
            assert not [one for one in names if one.startswith(changing) or one == "*"], name
