# Resources by kind of job, for schedulers. On one machine only the profile's cores and GPUs count.

from bandbridge.config.job_sizes import DRAWING_PROCESSES, JobResources, JobSizes


def of_profile(name):
    """A default resource of the profile, None where it has none."""
    default = (workflow.resource_settings.default_resources or {}).get(name)
    return None if default is None or default.raw in (None, "None") else default.raw


sizes = JobSizes(run)
asks = JobResources(
    run,
    gpu_partition=of_profile("gpu_partition"),
    gpu_model=of_profile("gpu_model_asked"),
    longest=of_profile("longest") and int(of_profile("longest")),
)
