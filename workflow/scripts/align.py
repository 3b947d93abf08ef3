"""Align a multispectral student to the patched CLIP; the teacher is interpolated in memory."""

from pathlib import Path

from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models.clip import load_clip
from bandbridge.models.device import set_up
from bandbridge.models.paint import patch
from bandbridge.models.students import StudentSpec, save_student
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head
from bandbridge.training import distributed
from bandbridge.training.align import align
from bandbridge.training.checkpoints import new_saving, remove_checkpoints
from bandbridge.training.history import precisions, write_history
from bandbridge.training.recipes import AlignRecipe


def main(
    clip: Path,
    finetuned: Path | None,
    alpha: float,
    head: Path,
    store: Path,
    nomenclature: str,
    student: dict,
    recipe: dict,
    weights: Path,
    history: Path,
    seed: int,
    threads: int,
    space: str,
    checkpoints: Path | None = None,
    monitor: Path | None = None,
    train: dict | None = None,
    processes: int = 1,
    nodes: int = 1,
    listing: list = (),
) -> None:
    if distributed.to_launch(processes, nodes):
        distributed.launch(Path(__file__), locals(), processes, nodes, Path(checkpoints or history.parent))
        return
    with distributed.world_from_environment() as world:
        device = set_up(threads, seed)
        teacher = patch(load_clip(clip.parent), finetuned, alpha)
        spec, how = StudentSpec.from_config(student), AlignRecipe.from_config(recipe)
        data = Store(store.parent, nomenclature)
        decisive = {"recipe": recipe, "seed": seed, "data": data.identity, "nomenclature": nomenclature, "head": head}
        decisive |= {"student": student, "first weights": list(listing), "clip": clip.parent / CONFIG_FILE}
        decisive |= {"finetuned": finetuned, "alpha": alpha}
        saving = new_saving(train, checkpoints, monitor, **decisive)
        trained, records = align(teacher, load_head(head), data, spec, how, seed, device, saving=saving, world=world)
        if world.is_first:
            write_history(history, records)
            save_student(weights, trained, space, "; ".join(precisions(records)))
        remove_checkpoints(saving, world)


if __name__ == "__main__":
    distributed.run(main, globals().get("snakemake"))
