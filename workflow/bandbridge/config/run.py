"""Everything that the rules ask of a valid configuration."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bandbridge.base.alphas import alpha_name
from bandbridge.base.files import read_json
from bandbridge.base.paths import EncoderName, zero_shot
from bandbridge.catalogue.encoders import EncoderFacts, encoder_content, load_encoder_facts, sees
from bandbridge.catalogue.text_towers import load_text_tower, tower_folder
from bandbridge.config.lines import align_task, final_lines, lines, model_at, nomenclature_of
from bandbridge.config.networks import (
    clips,
    first_weights,
    locked_tower,
    other_encoders,
    patched_files,
    published_weights,
    student_facts,
    student_files,
    students,
    unpinned_encoders,
)
from bandbridge.config.resources import clip_architecture
from bandbridge.config.run_data import RunData

# Line -> the encoder that was chosen on it. A rule that calls it waits for the choice.
Chosen = Callable[[str], str]


class Run(RunData):
    """A run as its configuration describes it: its data sets (`RunData`), models and PAINT lines, and their files.

    Encoders, lines, students and data sets are named by text, as wildcards are; paths are those of `Paths`. A method
    with a parameter `chosen` depends on the alpha that is chosen on a line.

    Args:
        config: a valid configuration.

    Attributes:
        clips: id -> architecture, and where its weights come from.
        lines: name -> PAINT line.
        patched: CLIP -> the line that its patched model is on.
        students: encoder -> name in the configuration, CLIP that it is aligned to.
        others: name -> facts of an encoder that the run does not train.
        alphas: in ascending order.
        tower: the text tower that the CLIP is trained against, None for none.
        clip_paths: those of the CLIPs and heads: the seed's own, or shared by all seeds where the CLIP is loaded.
        taught: the data set that students are aligned on.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.clips = clips(config)
        self.lines = lines(config)
        self.patched = final_lines(config)
        self.students = students(config)
        self.alphas = sorted(config["paint"]["alphas"])
        self.tower = locked_tower(config)
        self.clip_paths = self.paths if self.scratch else self.paths.shared
        self.taught: str = align_task(config)["dataset"]

    @cached_property
    def others(self) -> dict[str, EncoderFacts]:
        checkpoints = other_encoders(self.config)
        return {name: load_encoder_facts(name, checkpoint) for name, checkpoint in checkpoints.items()}

    # --- models ------------------------------------------------------------------------------------------------------

    def clip_of(self, encoder: str) -> str:
        """The CLIP whose embedding space a student or a model on a line maps to."""
        if encoder in self.students:
            return self.students[encoder][1]
        return self.lines[EncoderName.parse(encoder).line].clip

    def space_of(self, encoder: str) -> str:
        """The owner of the space that an encoder maps to: another encoder itself, or a CLIP."""
        return encoder if encoder in self.others else self.clip_of(encoder)

    def has_text(self, encoder: str) -> bool:
        """Whether an encoder's space has a text encoder, and so class names."""
        return encoder not in self.others or self.others[encoder].has_text

    def text_model(self, clip: str) -> str:
        """The open_clip directory whose text encoder makes heads."""
        if clip in self.others:
            return self.paths.shared.encoder(clip, "open_clip_config.json")
        return self.clip_paths.clip(clip)

    def architecture_name(self, clip: str) -> str:
        """The name of a CLIP's architecture."""
        return self.clips[clip][0]

    def architecture(self, clip: str) -> dict[str, Any] | None:
        """The content of the file of a CLIP's architecture, None where there is no file."""
        return clip_architecture(self.clips[clip][0])

    def clip_source(self, clip: str) -> str:
        """Where a CLIP's weights come from."""
        return self.clips[clip][1]

    def fetched_clips(self) -> list[str]:
        """The CLIPs that are loaded rather than trained."""
        return [] if self.scratch else [self.clip_paths.clip(clip) for clip in self.clips]

    def tower_files(self) -> list[str]:
        """The files of the text tower that a CLIP is trained against; empty without one."""
        if self.tower is None:
            return []
        folder = tower_folder(self.config["data_root"], self.tower)
        return [str(folder / file) for file in load_text_tower(self.tower).files]

    def student_name(self, student: str) -> str:
        """A student's name in the configuration, from its name among the encoders."""
        return self.students[student][0]

    def student(self, student: str) -> dict[str, Any]:
        """A student's keys in the configuration, without its alignment recipe."""
        return student_facts(self.config, self.student_name(student))

    def pretrained(self, student: str) -> str | None:
        """The weights that a student starts from, as configured."""
        return first_weights(self.config).get(self.student_name(student))

    def first_weights(self, student: str) -> list[str]:
        """The file of a student's published weights; empty where it starts from no such weights."""
        path = published_weights(self.config, self.pretrained(student))
        return [] if path is None else [str(path)]

    def checked_first_weights(self, student: str) -> list[str]:
        """The report that a student's first weights fit its network; empty where it starts from random weights."""
        return [self.paths.aligned(student, "first_weights.json")] if self.pretrained(student) else []

    @cached_property
    def fetched_weights(self) -> dict[str, str]:
        """File of published weights that students start from -> its encoder."""
        encoders = first_weights(self.config).values()
        return {path.name: name for name in encoders if (path := published_weights(self.config, name))}

    def fetched_facts(self, file: str) -> dict[str, Any]:
        """The facts that the download of a file of published weights depends on."""
        encoder = self.fetched_weights[file]
        return encoder_content(encoder, unpinned=self.is_unpinned(encoder))

    def is_unpinned(self, encoder: str) -> bool:
        """Whether the user has agreed to weights without a published checksum."""
        return encoder in unpinned_encoders(self.config)

    # --- models by file ----------------------------------------------------------------------------------------------

    @property
    def patched_files(self) -> dict[str, str]:
        """CLIP -> the file of its patched image encoder; empty where CLIPs are fine-tuned here."""
        return patched_files(self.config)

    def patched_file(self, line: str) -> str:
        """The file of a line's patched image encoder, where it is not fine-tuned here."""
        return self.patched_files[self.lines[line].clip]

    def student_file(self, student: str) -> str:
        """The file of a student that is not aligned here."""
        return student_files(self.config)[self.student_name(student)]

    @property
    def students_by_file(self) -> list[str]:
        """The students that are not aligned here."""
        return [student for student, (name, _) in self.students.items() if name in student_files(self.config)]

    @property
    def trained_students(self) -> list[str]:
        """The students that are aligned here."""
        return [student for student in self.students if student not in self.students_by_file]

    # --- PAINT lines -------------------------------------------------------------------------------------------------

    def tag(self, line: str) -> str:
        """A line's data sets as a part of paths."""
        return self.lines[line].tag

    def of_line(self, line: str, file: str) -> str:
        """A file of the choice of alpha on a line."""
        return self.paths.paint(line, self.tag(line), file)

    def of_each_line(self, file: str) -> list[str]:
        return [self.of_line(line, file) for line in self.lines]

    def finetuned(self, line: str) -> str:
        """The weights at a line's end: from its own fine-tuning, or from the sum of other lines' task vectors."""
        if self.lines[line].parts:
            return self.of_line(line, "sum.safetensors")
        return self.paths.finetuned(line, self.tag(line))

    def ends(self, line: str) -> list[str]:
        """The same as an input; empty where alpha is only 0, so that the line ends where it starts."""
        return [self.finetuned(line)] if any(self.alphas) else []

    def finetuned_parts(self, line: str) -> list[str]:
        """The weights at the ends of a line's parts."""
        return [self.finetuned(part) for part in self.lines[line].parts]

    def selected_parts(self, line: str) -> list[str]:
        """The choices of alpha on a line's parts."""
        return [self.of_line(part, "selected.json") for part in self.lines[line].parts]

    def coefficients(self, line: str) -> list[str]:
        """What the task vectors of a line's parts are multiplied by: their own alphas, or a joint search's."""
        if self.config["paint"].get("coefficients") == "jointly":
            return [self.of_line(line, "coefficients.json")]
        return self.selected_parts(line)

    def judging_tasks(self, line: str) -> list[dict[str, Any]]:
        """The tasks that a joint search of coefficients is judged by: those of its parts, then the supported ones."""
        return [*self.stated_patching(line), *self.stated_kept(line)]

    def judging_heads(self, line: str) -> list[str]:
        return [self.task_head(self.lines[line].clip, task) for task in self.judging_tasks(line)]

    def judging_stores(self, line: str) -> list[str]:
        return [self.paths.store(task["dataset"]) for task in self.judging_tasks(line)]

    def line_end(self, line: str, alpha: str) -> list[str]:
        """The weights at a line's end as an input of encoding at an alpha; empty at 0, where the line starts."""
        return [] if alpha == "0" else [self.finetuned(line)]

    def task_head(self, clip: str, task: Mapping[str, Any]) -> str:
        """The head that stays frozen while an image encoder learns a task."""
        return self.clip_paths.head(clip, task["dataset"], nomenclature_of(task), task["prompts"])

    def patching_heads(self, line: str) -> list[str]:
        """The heads of a line's patching tasks."""
        facts = self.lines[line]
        return [self.task_head(facts.clip, task) for task in facts.patching]

    def patching_stores(self, line: str) -> list[str]:
        return [self.paths.store(task["dataset"]) for task in self.lines[line].patching]

    def patching_nomenclatures(self, line: str) -> list[str]:
        return [nomenclature_of(task) for task in self.lines[line].patching]

    def align_head(self, student: str) -> str:
        """The head under which a student is aligned."""
        return self.task_head(self.clip_of(student), align_task(self.config))

    def stated_patching(self, line: str) -> list[dict[str, Any]]:
        """A line's patching tasks, with nomenclature and headline metric."""
        return [self._stated(task) for task in self.lines[line].patching]

    def stated_kept(self, line: str) -> list[dict[str, Any]]:
        """The tasks that must not suffer, with nomenclature and headline metric."""
        return [self._stated(task) for task in self.lines[line].kept]

    def _stated(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """A task with its nomenclature, also where the configuration leaves it out, and headline metric."""
        metric = self.dataset(task["dataset"]).headline
        return {**task, "nomenclature": nomenclature_of(task), "metric": metric}

    def scores_to_choose_by(self, line: str) -> list[str]:
        """The zero-shot scores that alpha is chosen by on a line."""
        facts = self.lines[line]
        return [
            self.paths.zero_shot(model_at(facts, alpha), task["dataset"], nomenclature_of(task), task["prompts"])
            for task in (*facts.patching, *facts.kept)
            for alpha in self.alphas
        ]

    @property
    def alpha_names(self) -> list[str]:
        return [alpha_name(alpha) for alpha in self.alphas]

    def models_of(self, line: str) -> list[str]:
        """A line's models among the encoders, without those that it shares with other lines."""
        names = [model_at(self.lines[line], alpha) for alpha in self.alphas]
        return [name for name in names if EncoderName.parse(name).line == line]

    def datasets_of(self, line: str) -> list[str]:
        """The data sets that a line's models are scored on: all, or its tasks' if it is a part of another line."""
        facts = self.lines[line]
        if any(line in other.parts for other in self.lines.values()):
            return [task["dataset"] for task in (*facts.patching, *facts.kept)]
        return list(self.evaluated)

    def alpha_if_chosen(self, line: str) -> float | None:
        """The alpha that is chosen on a line, None before: for params, which Snakemake also evaluates earlier."""
        selected = Path(self.of_line(line, "selected.json"))
        return read_json(selected)["alpha"] if selected.exists() else None

    def teacher(self, student: str) -> str:
        """The line on which a student's teacher is chosen."""
        return self.patched[self.clip_of(student)]

    def teachers_alpha(self, student: str) -> float | None:
        """The alpha of a student's teacher, None before it is chosen."""
        return self.alpha_if_chosen(self.teacher(student))

    # --- encoding ----------------------------------------------------------------------------------------------------

    def students_of(self, dataset: str) -> list[str]:
        """The students that can encode a data set: it has the modality that they see."""
        modalities = self.dataset(dataset).modalities
        seen = {modality.name for modality in modalities} - {"rgb"}
        return [name for name in self.students if (self.student(name).get("modality") or modalities[0].name) in seen]

    def others_of(self, dataset: str) -> list[str]:
        """The other encoders that can encode a data set."""
        return [name for name, facts in self.others.items() if sees(facts, self.dataset(dataset))]

    def embeddings(self, encoder: str, dataset: str, split: str) -> str:
        """An encoder's embeddings of a split: the seed's own, or those that all seeds share."""
        paths = self.paths.shared if encoder in self._of_all_seeds else self.paths
        return paths.embeddings(encoder, dataset, split)

    @property
    def shares_zero_shot(self) -> bool:
        """Whether several seeds share the embeddings of zero-shot CLIP: it is loaded, not trained."""
        return self.paths.shared is not self.paths and self.scratch is None

    @cached_property
    def _of_all_seeds(self) -> frozenset[str]:
        """The encoders that do not depend on the seed."""
        return frozenset([*self.others, *(map(zero_shot, self.clips) if self.scratch is None else ())])

    def start_of(self, line: str, chosen: Chosen) -> dict[str, str]:
        """The open_clip directory of the model that a line starts at: CLIP, or the chosen model of another line."""
        facts, files = self.lines[line], ("open_clip_config.json", "open_clip_model.safetensors")
        if facts.start:
            chosen(facts.start)
            config, weights = (self.of_line(facts.start, f"patched/{file}") for file in files)
        else:
            config, weights = (self.clip_paths.clip(facts.clip, file) for file in files)
        return {"clip": config, "clip_weights": weights}

    def ends_of(self, line: str, chosen: Chosen) -> dict[str, Any]:
        """Both ends of a line, once alpha is chosen on it: an unchanged choice reruns nothing that depends on it."""
        chosen(line)
        return {**self.start_of(line, chosen), "finetuned": self.ends(line)}

    def teachers_ends(self, student: str, chosen: Chosen) -> dict[str, Any]:
        """Both ends of the line that a student's teacher is on."""
        return self.ends_of(self.teacher(student), chosen)

    def aligned(self, student: str, chosen: Chosen) -> str:
        """A student's weights.

        Jobs that depend on the alignment must themselves wait for alpha: Snakemake evaluates only waiting jobs again,
        and would otherwise rerun the rest although the choice has not changed.
        """
        chosen(self.teacher(student))
        return self.paths.aligned(student)

    def encoded(self, encoder: str, dataset: str, split: str, chosen: Chosen) -> str:
        """An encoder's embeddings of a split, as an input."""
        if encoder in self.students:
            chosen(self.teacher(encoder))  # for the reason stated in `aligned`
        return self.embeddings(encoder, dataset, split)
