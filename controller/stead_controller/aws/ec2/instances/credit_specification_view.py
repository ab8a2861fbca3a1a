"""Credit specifications as EC2 shows them."""

from collections.abc import Sequence

from stead_controller.aws.call import Result
from stead_controller.resources.instances.credit_specifications import CreditSpecification, Refusal


def credit_specification_view(found: CreditSpecification) -> Result:
    """Show how an instance spends CPU credits."""
    return {"InstanceId": found.instance_id, "CpuCredits": found.mode}


def modified_view(done: Sequence[CreditSpecification | Refusal]) -> Result:
    """Show what became of each instance of a request."""
    refused = [one for one in done if isinstance(one, Refusal)]
    return {
        "SuccessfulInstanceCreditSpecifications": [
            {"InstanceId": one.instance_id} for one in done if isinstance(one, CreditSpecification)
        ],
        "UnsuccessfulInstanceCreditSpecifications": [
            {"InstanceId": one.instance_id, "Error": {"Code": one.code, "Message": one.message}} for one in refused
        ],
    }


def default_view(family: str, mode: str) -> Result:
    """Show an account's mode of a family."""
    return {"InstanceFamilyCreditSpecification": {"InstanceFamily": family, "CpuCredits": mode}}
