"""CreateReplaceRootVolumeTask and DescribeReplaceRootVolumeTasks."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.replace_root_volume_task_view import task_view
from stead_controller.errors import Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.instances import replace_root_volume_tasks
from stead_controller.resources.instances.replace_root_volume_tasks import FILTERS, RESOURCE, NewTask


@operation("CreateReplaceRootVolumeTask")
def create_replace_root_volume_task(call: Call, params: Params) -> Result:
    """Begin to replace the root volume of a running instance."""
    if params.get("VolumeInitializationRate"):
        raise Unsupported("The parameter VolumeInitializationRate is not supported.")
    asked = NewTask(
        repeatable("CreateReplaceRootVolumeTask", params),
        params["InstanceId"],
        snapshot_id=params.get("SnapshotId") or None,
        image_id=params.get("ImageId") or None,
        volume_id=params.get("VolumeId") or None,
        delete_replaced=params.get("DeleteReplacedRootVolume", False),
        tags=tags_on_create(params, RESOURCE)[RESOURCE],
    )
    task_id = replace_root_volume_tasks.create(call.tx, call.caller, call.cloud, asked, call.now)
    (begun,) = replace_root_volume_tasks.describe(call.tx, call.caller, Selection((task_id,)))
    return {"ReplaceRootVolumeTask": task_view(begun)}


@operation("DescribeReplaceRootVolumeTasks", writes=False)
def describe_replace_root_volume_tasks(call: Call, params: Params) -> Result:
    """List replacements of root volumes."""
    asked, page = selection.paged(
        call,
        params,
        "DescribeReplaceRootVolumeTasks",
        FILTERS,
        ids="ReplaceRootVolumeTaskIds",
        at_least=1,
        most=50,
    )
    found = replace_root_volume_tasks.describe(call.tx, call.caller, asked)
    return selection.answered("ReplaceRootVolumeTasks", found, page, lambda one: (one.row.id,), task_view)
