"""CPU options: read from a launch, and ModifyInstanceCpuOptions."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.instances.cpu_options_view import cpu_options_view
from stead_controller.errors import InvalidCombination, MissingParameter
from stead_controller.resources.instances import cpu_options
from stead_controller.resources.instances.cpu_options import CpuOptions


def read(params: Params) -> CpuOptions | None:
    """Read both numbers, or None where neither is given; raises InvalidCombination for one without the other."""
    cores, threads = params.get("CoreCount"), params.get("ThreadsPerCore")
    if cores is None and threads is None:
        return None
    if cores is None or threads is None:
        words = "When specifying CpuOptions you must specify both CoreCount and ThreadsPerCore."
        raise InvalidCombination(words, code="MissingParameter")
    return CpuOptions(cores, threads)


@operation("ModifyInstanceCpuOptions")
def modify(call: Call, params: Params) -> Result:
    """Change the cores and threads of a stopped instance."""
    asked = read(params)
    if asked is None:
        raise MissingParameter("CoreCount")
    changed = cpu_options.modify(call.tx, call.caller, params["InstanceId"], asked)
    return {"InstanceId": changed.id, **cpu_options_view(changed.vcpus, changed.threads_per_core)}
