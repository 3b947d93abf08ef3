"""The executor `slurm-bandbridge`: Snakemake's SLURM plugin, which also sees cancelled and preempted jobs end.

Snakemake finds plugins by the name of their package, outside any other. Options are the SLURM plugin's, with the prefix
`slurm-bandbridge-`.
"""

from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings

from bandbridge.ops.slurm_executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]
