"""Align a multispectral student to the patched CLIP; the teacher is interpolated in memory."""

from pathlib import Path

from bandbridge import job
from bandbridge.clip import load_clip
from bandbridge.device import set_up
from bandbridge.heads import load_head
from bandbridge.paint import patch
from bandbridge.store import Store
from bandbridge.students import StudentSpec, save_student
from bandbridge.training.align import align
from bandbridge.training.loop import write_history
from bandbridge.training.recipes import AlignRecipe


def main(
    clip: Path,
    finetuned: Path,
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
) -> None:
    device = set_up(threads, seed)
    teacher = patch(load_clip(clip.parent), finetuned, alpha)
    spec, how = StudentSpec.from_config(student), AlignRecipe.from_config(recipe)
    trained, records = align(teacher, load_head(head), Store(store.parent, nomenclature), spec, how, seed, device)
    write_history(history, records)
    save_student(weights, trained, teacher.name)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
