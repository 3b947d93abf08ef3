"""Search one coefficient per task that is patched in parallel, on validation data."""

from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.base.files import read_json, write_json
from bandbridge.base.progress import remark
from bandbridge.scoring.coefficients import Judge, ValidationTask, objective, search
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head


def main(
    clip: Path,
    finetuned: list[Path],
    selected: list[Path],
    heads: list[Path],
    stores: list[Path],
    tasks: list,
    alphas: list,
    select: dict,
    most: int,
    recipe: dict,
    coefficients: Path,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    judged = [
        ValidationTask(Store(store.parent, task["nomenclature"]), load_head(head), task["metric"])
        for task, head, store in zip(tasks, heads, stores, strict=True)
    ]
    judge, patched = Judge(clip.parent, finetuned, judged, **recipe), len(finetuned)
    before = judge.scores((0.0,) * patched)[patched:]

    def value(point: tuple) -> float:
        scores = judge.scores(point)
        return objective(scores[:patched], scores[patched:], before, select["criterion"], select["max_loss"])

    start = tuple(float(read_json(path)["alpha"]) for path in selected)
    best = search(value, start, [float(alpha) for alpha in alphas], most)
    if not best.is_complete:
        remark(f"The search of coefficients ended after {most} models (paint.most_models); a better one may exist.")
    tried = [{"coefficients": list(point), "value": worth} for point, worth in best.tried.items()]
    write_json(coefficients, {"coefficients": list(best.coefficients), "value": best.value, "tried": tried})


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
