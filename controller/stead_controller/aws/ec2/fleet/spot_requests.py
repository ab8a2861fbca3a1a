"""RequestSpotInstances, DescribeSpotInstanceRequests and CancelSpotInstanceRequests.

RunInstances and CreateFleet make such requests too.
"""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.fleet import spot_launch
from stead_controller.aws.ec2.fleet.spot_request_view import cancelled_view, spot_request_view
from stead_controller.aws.ec2.instances.run_instances import chosen
from stead_controller.resources.fleet import spot_requests
from stead_controller.resources.fleet.spot_request_filters import conditions


@operation("RequestSpotInstances")
def request_spot_instances(call: Call, params: Params) -> Result:
    """Request Spot Instances, each by a request of its own: those for which there is room are launched at once."""
    spot_launch.check(params)
    wanted = spot_launch.wanted(params)
    repeated = repeatable("RequestSpotInstances", params)
    made = spot_requests.request(call.tx, call.caller, call.cloud, wanted, repeated, now=call.now, choices=chosen(call))
    return {"SpotInstanceRequests": [spot_request_view(one) for one in made]}


@operation("DescribeSpotInstanceRequests", writes=False)
def describe_spot_instance_requests(call: Call, params: Params) -> Result:
    """List the caller's requests for Spot Instances."""
    asked, page = selection.paged(
        call, params, "DescribeSpotInstanceRequests", conditions(call.cloud), ids="SpotInstanceRequestIds"
    )
    found = spot_requests.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("SpotInstanceRequests", found, page, lambda one: (one.request.id,), spot_request_view)


@operation("CancelSpotInstanceRequests")
def cancel_spot_instance_requests(call: Call, params: Params) -> Result:
    """Cancel requests; their instances go on running."""
    found = spot_requests.cancel(call.tx, call.caller, call.cloud, params["SpotInstanceRequestIds"], call.now)
    return {"CancelledSpotInstanceRequests": [cancelled_view(one) for one in found]}
