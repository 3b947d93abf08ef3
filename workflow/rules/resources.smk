# Resources by kind of job, for schedulers. On one machine only the profile's cores and GPUs count.

from bandbridge.config.job_sizes import JobResources, JobSizes
from bandbridge.config.resources import applying, drawing, small

DRAWING_PROCESSES = 4  # that draw the report's figures


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
