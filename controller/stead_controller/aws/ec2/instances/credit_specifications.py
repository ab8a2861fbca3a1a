"""Credit specifications: how burstable instances spend CPU credits, and an account's defaults."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import request_digest
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.credit_specification_view import (
    credit_specification_view,
    default_view,
    modified_view,
)
from stead_controller.errors import MissingParameter
from stead_controller.resources.instances import credit_specifications
from stead_controller.resources.instances.credit_specifications import CreditSpecification


@operation("DescribeInstanceCreditSpecifications", writes=False)
def describe_credit_specifications(call: Call, params: Params) -> Result:
    """List how instances spend CPU credits."""
    asked, page = selection.paged(
        call, params, "DescribeInstanceCreditSpecifications", ("instance-id",), ids="InstanceIds"
    )
    found = credit_specifications.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered(
        "InstanceCreditSpecifications", found, page, lambda one: (one.instance_id,), credit_specification_view
    )


@operation("ModifyInstanceCreditSpecification")
def modify_credit_specification(call: Call, params: Params) -> Result:
    """Change how instances spend CPU credits."""
    asked = [_asked(given) for given in params["InstanceCreditSpecifications"]]
    done = credit_specifications.modify(
        call.tx,
        call.caller,
        asked,
        call.now,
        token=params.get("ClientToken", ""),
        digest=request_digest(params),
    )
    return modified_view(done)


@operation("GetDefaultCreditSpecification", writes=False)
def get_default_credit_specification(call: Call, params: Params) -> Result:
    """Show how the account's new instances of a family spend CPU credits."""
    family = params["InstanceFamily"]
    return default_view(family, credit_specifications.default_of(call.tx, call.caller, family))


@operation("ModifyDefaultCreditSpecification")
def modify_default_credit_specification(call: Call, params: Params) -> Result:
    """Set how the account's new instances of a family spend CPU credits; existing instances are not changed."""
    family, mode = params["InstanceFamily"], params["CpuCredits"]
    credit_specifications.set_default(call.tx, call.caller, family, mode)
    return default_view(family, mode)


def _asked(given: Params) -> CreditSpecification:
    if "CpuCredits" not in given:
        raise MissingParameter("CpuCredits")
    return CreditSpecification(given["InstanceId"], given["CpuCredits"])
