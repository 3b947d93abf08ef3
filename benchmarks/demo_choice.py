"""Candidate settings of the demo's patching, compared by validation samples alone.

    python benchmarks/demo_choice.py candidates.yaml [--seeds 0 1] [--data data]

Trains the stand-in CLIP, fine-tunes it and scores the line between the two, in float32 on one thread, without the rest
of the workflow. `candidates.yaml` maps names to changes of config.yaml (`clip.scratch`, `finetune`) and of the scene's
`composite` (divisor or ranges); `{now: {}}` is config.yaml as it is. The stores and the text tower in `data` must
exist: make the demo first. Words are scored by their 10 nearest of 169 samples, about as large a part as 20 of test.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from bandbridge.base.alphas import alpha_name
from bandbridge.catalogue.datasets import Composite, load_nomenclature, merged, prompt_set
from bandbridge.config.scored import prompts
from bandbridge.metrics.classification import unit_rows
from bandbridge.metrics.resampled import headline_score
from bandbridge.metrics.text_retrieval import retrieval_by_words
from bandbridge.models.clip import Clip, new_clip
from bandbridge.models.device import set_up
from bandbridge.models.embed import encode_split
from bandbridge.models.paint import interpolate
from bandbridge.models.preprocessing import rgb_image
from bandbridge.models.text_heads import build_head, build_words_head
from bandbridge.scoring.selection import select_alpha
from bandbridge.store.dataset import Store
from bandbridge.training.contrastive import pretrain
from bandbridge.training.finetune import finetune
from bandbridge.training.recipes import FinetuneRecipe, ScratchRecipe

ROOT = Path(__file__).parents[1]
NEAREST = 10
CPU = torch.device("cpu")


class Stretched(Store):
    """A store whose RGB images are made in another way."""

    stretch: Composite | None = None

    @property
    def composite(self) -> Composite | None:
        return self.stretch or super().composite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    print("| candidate | seed | alpha | scene | words | scene, alpha 1 | words, alpha 1 | digits | lost, by alpha |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|---|")
    for name, changes in yaml.safe_load(options.candidates.read_text(encoding="utf-8")).items():
        composite = changes.pop("composite", None)
        for seed in options.seeds:
            print(f"| {name} | {seed} | {row(merged(config, changes), composite, seed, options.data)} |", flush=True)


def row(config: dict[str, Any], composite: dict[str, Any] | None, seed: int, data: Path) -> str:
    """Train, and score every alpha on validation samples."""
    scene, digits = Stretched(data / "zarr" / "demo_land_cover.zarr"), Store(data / "zarr" / "digits.zarr")
    scene.stretch = Composite.from_facts(composite) if composite else None
    sets = {role: prompt_set(prompts(config, task["prompts"])) for role, task in config["tasks"].items()}
    of_scene, of_digits = (load_nomenclature(store.nomenclature) for store in (scene, digits))
    clip = stand_in(config["clip"], data, digits, sets["supported"].templates, seed)
    heads = build_head(clip, of_scene, sets["patching"]), build_head(clip, of_digits, sets["supported"])
    words = config["evaluate"]["words"]["datasets"][scene.attrs["dataset"]]
    words_head = build_words_head(clip, words, sets["patching"])
    stands_for = [scene.classes.index(label) for label, of_class in words.items() for _ in of_class]
    zero_shot = {name: tensor.clone() for name, tensor in clip.visual.state_dict().items()}
    recipe = FinetuneRecipe.from_config({**config["finetune"], "precision": "float32"})
    finetune(clip, [heads[0]], [scene], recipe, seed, CPU)
    tuned = {name: tensor.clone() for name, tensor in clip.visual.state_dict().items()}
    alphas, patching, kept, lifts = config["paint"]["alphas"], [], [], []
    for alpha in alphas:
        clip.visual.load_state_dict(interpolate(zero_shot, tuned, alpha))
        images, labels = embedded(clip, scene), scene.split("val").labels
        patching.append(headline_score(scene.headline, labels, images @ heads[0].weights.T))
        truth = digits.split("val").labels.argmax(axis=1)
        kept.append(float(np.mean(truth == (embedded(clip, digits) @ heads[1].weights.T).argmax(axis=1))))
        lifts.append(np.nanmean(retrieval_by_words(words_head.weights, images, labels, stands_for, NEAREST).lift))
    select = config["paint"]["select"]
    chosen, _ = select_alpha(alphas, patching, [kept], select["criterion"], select["max_loss"], select["alpha"])
    at = alphas.index(chosen)
    lost = " ".join(str(round((kept[0] - share) * len(truth))) for share in kept)
    scores = f"{100 * patching[at]:.1f} | {lifts[at]:.1f} | {100 * patching[-1]:.1f} | {lifts[-1]:.1f}"
    return f"{alpha_name(chosen)} | {scores} | {100 * kept[0]:.1f} | {lost}"


def stand_in(section: dict[str, Any], data: Path, digits: Store, templates: tuple[str, ...], seed: int) -> Clip:
    """The CLIP that config.yaml's `clip` describes, trained."""
    set_up(1, seed)
    clip = new_clip(section["name"], data / "archives" / "text_towers" / section["scratch"]["text"])
    recipe = {key: value for key, value in section["scratch"].items() if key not in ("dataset", "prompts", "text")}
    nomenclature = load_nomenclature(digits.nomenclature)
    pretrain(
        clip, nomenclature, templates, digits, ScratchRecipe.from_config({**recipe, "precision": "float32"}), seed, CPU
    )
    return clip


def embedded(clip: Clip, store: Store) -> NDArray[np.float32]:
    """(n, dim) of unit length: embeddings of a store's validation samples."""

    def prepare(pixels: torch.Tensor) -> torch.Tensor:
        return clip.inputs(rgb_image(pixels, store.modality, store.bands, store.composite))

    (vectors,) = encode_split(store, "val", prepare, [lambda: clip.visual], 128, "float32", CPU)
    return unit_rows(vectors)


if __name__ == "__main__":
    main()
