"""What each kind of a run's jobs asks of a scheduler.

`JobSizes` answers with memory and minutes, `JobResources` with what a rule states under `resources:`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bandbridge.base.by_name import call_by_name, with_signature
from bandbridge.config import resources
from bandbridge.config.networks import align_recipe
from bandbridge.config.resources import Ask, Network, stored
from bandbridge.config.run import Run


class JobSizes:
    """Memory and minutes by kind of job, see `resources.Ask`; arguments are named like a job's inputs and wildcards.

    Stores are paths of their root metadata; FileNotFoundError while one is missing, and Snakemake asks again later.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._gpus, self._nodes = run.config["train"]["gpus"], run.config["train"]["nodes"]

    def clip(self, clip: str) -> Network:
        """What the image encoder of a CLIP costs."""
        return resources.clip_network(self.run.clips[clip][0])

    def pretraining(self, store: str, clip: str) -> Ask:
        recipe = self.run.config["clip"]["scratch"]
        return resources.training([stored(Path(store))], self.clip(clip), recipe)

    def finetuning(self, stores: list[str], line: str) -> Ask:
        sizes = [stored(Path(store)) for store in stores]
        clip = self.clip(self.run.lines[line].clip)
        return resources.training(sizes, clip, self.run.config["finetune"], self._gpus, self._nodes)

    def aligning(self, store: str, student: str) -> Ask:
        name, clip = self.run.students[student]
        network, recipe = resources.student_network(self.run.student(student)), align_recipe(self.run.config, name)
        return resources.training(
            [stored(Path(store))], network, recipe, self._gpus, self._nodes, teacher=self.clip(clip)
        )

    def sweeping(self, store: str, line: str, splits: list[str], models: int = 1) -> Ask:
        """Encoding with several models of a line."""
        return self._encoding(store, self.clip(self.run.lines[line].clip), splits, models)

    def searching(self, stores: list[str], line: str) -> Ask:
        """Encoding validation splits with one model after another."""
        models = self.run.config["paint"].get("most_models", 1) + 1
        asks = [self.sweeping(store, line, ["val"], models) for store in stores]
        return Ask(max(ask.mem_mb for ask in asks), sum(ask.minutes for ask in asks))

    def encoding_by_student(self, store: str, student: str, splits: list[str]) -> Ask:
        return self._encoding(store, resources.student_network(self.run.student(student)), splits)

    def encoding_by_another(self, store: str, splits: list[str]) -> Ask:
        """Encoding with an encoder that is not made here."""
        return self._encoding(store, resources.UNKNOWN, splits)

    def _encoding(self, store: str, network: Network, splits: list[str], models: int = 1) -> Ask:
        batch_size = self.run.config["embed"]["batch_size"]
        return resources.encoding(stored(Path(store)), network, models, batch_size, splits)

    def scoring(self, store: str, scores: int = 1) -> Ask:
        resamples = self.run.config["evaluate"]["bootstrap"]["resamples"]
        return resources.scoring(stored(Path(store)), resamples=resamples).repeated(scores)

    def probing(self, store: str, scores: int = 1) -> Ask:
        return resources.probing(stored(Path(store)), self.run.config["evaluate"]["linear_probe"]).repeated(scores)

    def converting(self, dataset: str) -> Ask:
        return resources.converting(resources.size_of(Path(self.run.archives(dataset))))

    def joining(self, dataset: str) -> Ask:
        return resources.joining(resources.size_of(Path(self.run.archives(dataset))))


# SLURM warns a training two minutes before its time is over, so that it can save what it has learnt.
WARNING = "--signal=USR1@120"


class JobResources:
    """The resources of a rule by kind of job. One that is None is left out by Snakemake.

    Args:
        run: the run.
        gpu_partition: of SLURM, for jobs with a GPU; None elsewhere.
        gpu_model: of SLURM, like `gpu_partition`.
        longest: minutes that the scheduler allows a job, None for any number.
    """

    def __init__(
        self, run: Run, gpu_partition: str | None = None, gpu_model: str | None = None, longest: int | None = None
    ) -> None:
        self._train = run.config["train"]
        self._partition, self._model, self._longest = gpu_partition, gpu_model, longest

    def of(self, size: Callable[..., Ask], **fixed: Any) -> dict[str, Any]:
        """Memory and minutes, more of them at each attempt.

        Args:
            size: a method of `JobSizes`, or a function of `resources`, called with the job's inputs and wildcards of
                its parameters' names; a wildcard has precedence over an input of the same name.
            fixed: arguments that are neither input nor wildcard.
        """

        def ask(wildcards: Any, named_input: Any) -> Ask:
            return call_by_name(size, {**dict(named_input.items()), **dict(wildcards.items()), **fixed})

        # Snakemake calls them with arguments of these names.
        return {
            "mem_mb": with_signature(lambda wildcards, input, attempt: ask(wildcards, input).memory(attempt)),
            "runtime": with_signature(
                lambda wildcards, input, attempt: ask(wildcards, input).runtime(attempt, self._longest)
            ),
        }

    def on_gpu(self, size: Callable[..., Ask], **fixed: Any) -> dict[str, Any]:
        """The resources of a job with one GPU."""
        of_slurm = {"gpu_model": self._model, "slurm_partition": self._partition}
        return {"gpu": 1, **of_slurm, **self.of(size, **fixed)}

    def training(self, size: Callable[..., Ask]) -> dict[str, Any]:
        """The resources of a training. On several nodes it asks for GPUs per node, on one for their number."""
        gpus, nodes = self._train["gpus"], self._train["nodes"]
        resources_of_job = {**self.on_gpu(size), "gpu": gpus, "gres": None, "nodes": nodes, "slurm_extra": WARNING}
        if nodes == 1:
            return resources_of_job
        gres = ":".join(["gpu", *filter(None, [self._model]), str(gpus)])
        return {**resources_of_job, "gpu": None, "gpu_model": None, "gres": gres}
