"""The cores and threads of an instance as EC2 shows them."""

from functools import cache

from stead_controller.aws.call import Result


@cache
def cpu_options_view(vcpus: int, threads_per_core: int) -> Result:
    """Show options; the answers of all instances that have the same share it, so it must not be changed."""
    return {"CoreCount": vcpus // threads_per_core, "ThreadsPerCore": threads_per_core}
