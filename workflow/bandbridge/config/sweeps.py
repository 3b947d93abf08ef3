"""Which models of a PAINT line are encoded by one job, in one pass over a data set's pixels."""

from collections.abc import Callable
from pathlib import Path

from bandbridge.base.paths import zero_shot
from bandbridge.config.run import Run

ZERO_SHOT = "zero_shot"


def sweep_batches(
    run: Run, line: str, dataset: str, exists: Callable[[Path], bool] = Path.exists
) -> dict[str, list[str]]:
    """Name of a batch -> the models that its job encodes a data set with.

    Models that are encoded already form one batch, whose job runs only when one of its inputs has changed, and new
    ones another, so that adding an alpha encodes only that alpha; `embed.models_per_job` divides both further. The
    zero-shot model has its own batch where the alphas of a line's parts are chosen against it, or seeds share it.
    """

    def is_encoded(model: str) -> bool:
        paths = (run.embeddings(model, dataset, split) for split in run.scored_splits(dataset))
        return all(exists(Path(path)) for path in paths)

    of_line = run.models_of(line)
    start = zero_shot(line)
    alone = [start] if run.lines[line].parts or (run.shares_zero_shot and start in of_line) else []
    models = [model for model in of_line if model not in alone]
    encoded = [model for model in models if is_encoded(model)]
    new = [model for model in models if model not in encoded]
    size = run.config["embed"]["models_per_job"] or len(run.alphas)
    batches = {
        "_".join([name, *([str(start // size)] * (len(group) > size))]): group[start : start + size]
        for name, group in (("encoded", encoded), ("new", new))
        for start in range(0, len(group), size)
    }
    return {**batches, **({ZERO_SHOT: alone} if alone else {})}


def sweeps(run: Run, first: bool = True) -> list[tuple[str, str, str, list[str]]]:
    """Every job that encodes with models of a line: (line, data set, name of the batch, models).

    Args:
        run: the run, of one seed.
        first: whether it is of the first seed, whose jobs include those that all seeds share.
    """
    return [
        (line, dataset, batch, models)
        for line in run.lines
        for dataset in run.evaluated
        if dataset in run.datasets_of(line)
        for batch, models in sweep_batches(run, line, dataset).items()
        if first or batch != ZERO_SHOT or not run.shares_zero_shot
    ]
