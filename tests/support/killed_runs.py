"""Trains in separate processes, which may kill themselves, and writes weights and histories.

    python killed_runs.py <<< '{"folder": "run", "stage": "regression", "world": 2, "kills": [4, 7], "accumulate": 1}'

Each line of standard input is a training; a line of standard output with its folder alone says that it is done. Each
life but the last kills a process in the midst of the step that `kills` says, counted from where the life began.
Processes are forked, because each import of torch takes longer than such a training.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import torch
from regression import watched
from tiny import ALIGN, COMMON, FINETUNE, SCRATCH, STUDENT, MemoryStore, tiny_clip, tiny_head
from torch import nn

from bandbridge.models.students import StudentSpec, new_student
from bandbridge.training import checkpoints
from bandbridge.training.align import Alignment
from bandbridge.training.batches import KeptPixels, Source
from bandbridge.training.checkpoints import Saving
from bandbridge.training.contrastive import Pretraining
from bandbridge.training.distributed import ALONE, world_from_environment
from bandbridge.training.finetune import Finetuning
from bandbridge.training.history import write_history
from bandbridge.training.loop import fit
from bandbridge.training.recipes import AlignRecipe, FinetuneRecipe, Recipe, ScratchRecipe
from bandbridge.training.splits import store_source
from bandbridge.training.stages import Stage

CPU = torch.device("cpu")
EPOCHS = 8


class Regression(Stage):
    """A linear model with dropout on noisy samples."""

    def __init__(self):
        torch.manual_seed(0)
        layers = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.2), nn.Linear(5, 3)
        super().__init__("Regression", nn.Sequential(*layers))
        self.trained.register_parameter("idle", nn.Parameter(torch.ones(2)))  # that no loss depends on

    def forward(self, batch):
        pixels = batch.pixels["numbers"]
        if batch.draws is not None:
            pixels = pixels + batch.draws.uniform("noise", 4) - 0.5
        return {"loss": (self.trained(pixels) - batch.labels.float()).square().mean()}


def regression(accumulate, world=ALONE):
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(31, 4)).astype(np.float32)
    data = Source({"numbers": KeptPixels(pixels)}, (pixels[:, :3] > 0).astype(np.uint8), np.arange(31))
    recipe = Recipe.from_config(COMMON | {"batch_size": 8, "epochs": EPOCHS, "accumulate": accumulate})
    return Regression(), data, recipe


def finetuning(accumulate, world):
    store = MemoryStore(modality="rgb", train=130)
    recipe = FinetuneRecipe.from_config(FINETUNE | {"batch_size": 64, "epochs": 3, "accumulate": accumulate})
    return Finetuning(tiny_clip(), [tiny_head()], [store], recipe, CPU), store_source(store, "train"), recipe


def pretraining(accumulate, world):
    store = MemoryStore(modality="rgb", kind="single", train=130)
    recipe = ScratchRecipe.from_config(SCRATCH | {"batch_size": 64, "epochs": 2, "accumulate": accumulate})
    captions = [["rivers", "a river"], ["sand", "a beach"], ["forest", "trees"]]
    return Pretraining(tiny_clip(), captions, store, recipe, world), store_source(store, "train"), recipe


def infonce(accumulate, world):
    store = MemoryStore(train=130)
    recipe = AlignRecipe.from_config(
        ALIGN | {"batch_size": 64, "epochs": 2, "accumulate": accumulate, "loss": "infonce"}
    )
    student = new_student(StudentSpec.from_config(STUDENT | {"scaling": "reflectance"}), 8)
    stage = Alignment(tiny_clip(1), student, tiny_head(), store, recipe, CPU, world=world)
    return stage, store_source(store, "train"), recipe


STAGES = {"regression": regression, "finetuning": finetuning, "pretraining": pretraining, "infonce": infonce}


def life(folder, options, name, kill):
    """Train up to the kill or to the end; called in its own process."""
    torch.set_num_threads(1)
    calls = []

    def deadly(batch):
        calls.append(batch.draws is not None)
        if kill is not None and sum(calls) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    saving = Saving(folder / f"checkpoints-{name}", minutes=60, keep=2, identity="a run")
    asked = []
    # Every third step, so that a kill costs up to two.
    checkpoints.Checkpoints.due = property(lambda _: asked.append(0) or len(asked) % 3 == 0)
    with world_from_environment() as world:
        torch.manual_seed(0)
        stage, data, recipe = STAGES[options["stage"]](options["accumulate"], world)
        watched(stage, deadly)
        history = fit(stage, data, data, recipe, 5, CPU, saving=saving, world=world)
        if world.is_first:
            torch.save(stage.trained.state_dict(), folder / f"{name}.pt")
            write_history(folder / f"{name}.jsonl", history)


def lives(folder, options, name, kills):
    for kill in [*kills, None]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for rank in range(options["world"]):
            child = os.fork()
            if not child:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(options["world"])}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                try:
                    life(folder, options, name, kill if rank == options["world"] - 1 else None)
                    code = 0
                except RuntimeError as error:  # gloo's, when the other process is gone
                    print(error, file=sys.stderr)
                    code = 3
                os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        expected = 0 if kill is None else -signal.SIGKILL
        assert codes[-1] == expected, codes
        assert kill is not None or codes[0] == 0, codes


if __name__ == "__main__":
    # Before the processes fork: with torch._dynamo, which optimizers load, it takes longer than they train.
    import open_clip  # noqa: F401

    for line in sys.stdin:
        training = json.loads(line)
        lives(Path(training["folder"]), training, "whole", [])
        if training["kills"]:
            lives(Path(training["folder"]), training, "killed", training["kills"])
        print(training["folder"], flush=True)
