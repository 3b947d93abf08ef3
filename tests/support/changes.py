"""Changes of the small configuration, each with the jobs that must run after it."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clones import SMALL, Clone

from bandbridge.catalogue.datasets import merged

VIEWS = ["collect_metrics", "report", "tables"]
STORE = ["download", "plan", "convert", "preprocess"]
PROMPT_SETS = ["mine", "plain"]
ALPHAS = SMALL["paint"]["alphas"]
PROBES = ["score_probe", "score_few_shot", "score_knn"]
# Scores of every encoder of `shown_encoders`, on every data set.
EACH_SHOWN = ["score_gap", "score_text_retrieval"]
SHOWN = [*EACH_SHOWN, "score_words", "gallery", "projection"]


def _bring_another_crop(clone: Clone) -> None:
    """The scene again, as a data set with another name."""
    shutil.copytree(clone.root / "data/archives/scene_crop", clone.root / "data/archives/other_crop")
    datasets = clone.root / "workflow" / "datasets"
    other = (datasets / "scene_crop.yaml").read_text().replace("name: scene_crop", "name: other_crop")
    (datasets / "other_crop.yaml").write_text(other)


@dataclass(frozen=True)
class Change:
    """A user's edit, and the rules of the jobs that then run, one entry per job, sorted."""

    config: dict[str, Any]
    jobs: list[str]
    files: Callable[[Clone], None] = field(default=lambda clone: None)

    def make(self, clone: Clone) -> None:
        self.files(clone)
        clone.configure(self.config)


CHANGES = {
    "nothing": Change({}, []),
    "a title": Change({"report": {"title": "Another"}}, ["report"]),
    "a retrieval k": Change(
        {"evaluate": {"retrieval": {"ks": [1, 2]}}}, sorted(["check_samples", "score_retrieval", *VIEWS])
    ),
    "a word": Change(
        {"evaluate": {"words": {"datasets": {"scene_crop": {"forest": ["trees", "woodland"]}}}}},
        # The zero-shot model, the patched one and the student.
        sorted(["words_head", *3 * ["score_words"], "gallery", *VIEWS]),
    ),
    "a template": Change(
        {"prompts": {"mine": ["land use: {}", "{} from above"]}},
        # Every alpha, and the student.
        sorted(["zero_shot_head", *["score_zero_shot"] * (len(ALPHAS) + 1), "score_gains", *VIEWS]),
    ),
    "the alignment's learning rate": Change(
        {"align": {"learning_rate": 0.002}},
        sorted(
            [
                *("align", "embed_student", *["score_zero_shot"] * len(PROMPT_SETS), *PROBES, *SHOWN),
                *("score_retrieval", "score_gains", *VIEWS),
            ]
        ),
    ),
    "an evaluation data set": Change(
        {"evaluate": {"datasets": {"other_crop": ["plain"]}}},
        sorted(
            [
                *(*STORE, "check_samples", "zero_shot_head", "embed_sweep_other_crop_new", "embed_student"),
                *(*["score_zero_shot"] * (len(ALPHAS) + 1), "score_retrieval", "score_gains"),
                # The zero-shot model, the patched one and the student; galleries and projections are of students alone.
                *(*3 * EACH_SHOWN, "gallery", "projection", *VIEWS),
            ]
        ),
        _bring_another_crop,
    ),
}


def together(*names: str) -> Change:
    """Some of `CHANGES` at once, none of which has files and no two of which run jobs of one rule, but for views."""
    config: dict[str, Any] = {}
    jobs: Counter[str] = Counter()
    for name in names:
        config = merged(config, CHANGES[name].config)
        jobs |= Counter(CHANGES[name].jobs)
    return Change(config, sorted(jobs.elements()))


SEVERAL = together("a title", "a retrieval k", "a word")

# A plan also lists what may follow from a selection that has yet to run, so these are known after a run.
ALPHA = Change(
    {"paint": {"alphas": [*ALPHAS, 0.75]}},
    sorted(
        [
            *("embed_sweep_digits_new", "embed_sweep_scene_crop_new", *["score_zero_shot"] * (len(PROMPT_SETS) + 1)),
            *("select_alpha", *VIEWS),
        ]
    ),
)
