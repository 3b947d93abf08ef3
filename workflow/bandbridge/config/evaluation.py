"""Which encoder is scored on what, and what the report shows of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from bandbridge.base.paths import EncoderName, chosen_on, zero_shot
from bandbridge.config.lines import model_at
from bandbridge.config.networks import fine_tunes, student_files
from bandbridge.config.run import Chosen, Run
from bandbridge.config.scored import neighbours_asked, shots_asked


class Evaluation:
    """The scores, tables and figures of a run; for names, paths and `chosen` see `Run`.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.paths = run.paths
        self._settings: Mapping[str, Any] = run.config["evaluate"]

    # --- what is scored ----------------------------------------------------------------------------------------------

    def encoders_of(self, dataset: str) -> list[str]:
        """The encoders that are scored zero-shot on a data set, whichever alpha is chosen."""
        run = self.run
        models = [model for line in run.lines if dataset in run.datasets_of(line) for model in run.models_of(line)]
        others = [name for name in run.others_of(dataset) if run.has_text(name)]
        return [*models, *run.students_of(dataset), *others]

    def shown_encoders(self, dataset: str) -> list[str]:
        """The encoders with all scores, whichever alpha is chosen: all but the patched models."""
        return [*map(zero_shot, self.run.clips), *self.run.students_of(dataset), *self.run.others_of(dataset)]

    def is_scored(self, encoder: str, dataset: str) -> bool:
        """Whether one of our encoders is scored on a data set."""
        name = EncoderName.if_on_a_line(encoder)
        if name is None:
            return encoder in self.run.students_of(dataset)
        return name.alpha == 0 or dataset in self.run.datasets_of(name.line)

    def zero_shot(self, encoder: str, dataset: str, ending: str = "csv") -> list[str]:
        """An encoder's zero-shot scores on a data set, in every nomenclature with every prompt set."""
        return [
            self.paths.zero_shot(encoder, dataset, nomenclature, prompts, ending)
            for nomenclature in self.run.nomenclatures(dataset)
            for prompts in self.run.evaluated[dataset]
        ]

    def all_zero_shot(self) -> list[str]:
        """The zero-shot scores of the encoders of `encoders_of`."""
        return [
            path
            for dataset in self.run.evaluated
            for encoder in self.encoders_of(dataset)
            for path in self.zero_shot(encoder, dataset)
        ]

    def tables_of(self, encoder: str, dataset: str) -> list[str]:
        """The scores of one encoder on one data set, except zero-shot classification."""
        return [self.paths.scores(encoder, *parts) for parts in self.scores_of(encoder, dataset)]

    def scores_of(self, encoder: str, dataset: str) -> list[tuple[str, ...]]:
        """(kind, data set, nomenclature and prompt set where it has any) of the same scores."""
        return [*self._test_scores(encoder, dataset), *self._probe_scores(dataset)]

    def _test_scores(self, encoder: str, dataset: str) -> list[tuple[str, ...]]:
        """(kind, data set, nomenclature and prompt set where it has any) of each score on the test split."""
        if "test" not in self.run.splits(dataset):
            return []
        settings, nomenclatures = self._settings, self.run.nomenclatures(dataset)
        kinds: list[tuple[str, ...]] = []
        if settings["retrieval"] and encoder in self.run.students:
            kinds.append(("retrieval", dataset))
        if settings["gap"]:
            kinds.append(("gap", dataset))
        if self.run.has_text(encoder):
            prompts = self.run.main_prompts(dataset)
            if settings["text_retrieval"]:
                kinds += [("text-retrieval", dataset, nomenclature, prompts) for nomenclature in nomenclatures]
            if dataset in self.run.words:
                kinds.append(("words", dataset, nomenclatures[0], prompts))
        return kinds

    def probed(self) -> list[str]:
        """The data sets on which classifiers learn from frozen embeddings."""
        return [dataset for dataset in self.run.evaluated if self._probe_scores(dataset)]

    def _probe_scores(self, dataset: str) -> list[tuple[str, ...]]:
        """(kind, data set, nomenclature) of each score of classifiers on frozen embeddings."""
        probe = self._settings["linear_probe"]
        if dataset not in (probe or {}).get("datasets", []):
            return []
        kinds = ["linear-probe", *(["few-shot"] if probe["shots"] else []), *(["knn"] if self._settings["knn"] else [])]
        return [(kind, dataset, nomenclature) for kind in kinds for nomenclature in self.run.nomenclatures(dataset)]

    def shown_tables(self) -> list[str]:
        """The scores of the encoders of `shown_encoders`, except zero-shot classification."""
        return [
            path
            for dataset in self.run.evaluated
            for encoder in self.shown_encoders(dataset)
            for path in self.tables_of(encoder, dataset)
        ]

    def tables_of_the_chosen(self, chosen: Chosen) -> list[str]:
        """The same scores of the patched models."""
        models = [chosen(line) for line in self.run.patched.values()]
        return [
            path
            for model in models
            if EncoderName.parse(model).alpha != 0
            for dataset in self.run.evaluated
            for path in self.tables_of(model, dataset)
        ]

    def samples(self) -> list[str]:
        """The count of samples of every data set that is scored."""
        return [self.paths.shared.samples(dataset) for dataset in self.run.evaluated]

    def neighbours(self, dataset: str) -> list[dict[str, Any]]:
        """The settings that need a number of samples of a data set, see `neighbours_asked`."""
        return neighbours_asked(self.run.config, dataset, bool(self.run.students_of(dataset)))

    def shots(self, dataset: str) -> list[int]:
        """Samples per class that probes on a data set learn from."""
        return shots_asked(self.run.config, dataset)

    # --- what scores read --------------------------------------------------------------------------------------------

    def embeddings(self, encoder: str, dataset: str, chosen: Chosen) -> list[str]:
        """An encoder's embeddings of the splits that are scored."""
        return [self.run.encoded(encoder, dataset, split, chosen) for split in self.run.scored_splits(dataset)]

    def head(self, encoder: str, dataset: str, nomenclature: str, prompts: str) -> str:
        """The class vectors in an encoder's space."""
        return self.run.clip_paths.head(self.run.space_of(encoder), dataset, nomenclature, prompts)

    def heads(
        self,
        encoder: str,
        dataset: str,
        nomenclature: str = "",
        prompts: str = "",
        parts: Sequence[tuple[str, str]] = (),
    ) -> list[str]:
        """The class vectors of each of `parts`, nomenclatures with prompt sets; of the one where there are none."""
        return [self.head(encoder, dataset, *part) for part in parts or [(nomenclature, prompts)]]

    def words_head(self, encoder: str, dataset: str, prompts: str) -> str:
        """The vectors of words in an encoder's space."""
        return self.run.clip_paths.words_head(self.run.space_of(encoder), dataset, prompts)

    def teachers_embeddings(self, student: str, dataset: str, chosen: Chosen) -> str:
        """The embeddings of the test split by a student's teacher."""
        return self.run.encoded(chosen(self.run.teacher(student)), dataset, "test", chosen)

    def students_embeddings(self, student: str, dataset: str, chosen: Chosen) -> str:
        """The embeddings of the test split by a student."""
        return self.run.encoded(student, dataset, "test", chosen)

    def sides_of_the_gap(self, encoder: str, dataset: str, chosen: Chosen) -> dict[str, str]:
        """An encoder's embeddings of the test split, and those that they are compared with, by name.

        A student's are compared with its teacher's, those of a CLIP with zero-shot CLIP's and with class vectors.
        """
        run = self.run
        embeddings = run.encoded(encoder, dataset, "test", chosen)
        if encoder in run.students:
            return {"rgb": self.teachers_embeddings(encoder, dataset, chosen), "multispectral": embeddings}
        sides = {"rgb": embeddings}
        if encoder not in run.others:
            sides["zero_shot"] = run.embeddings(zero_shot(run.clip_of(encoder)), dataset, "test")
        if run.has_text(encoder):
            sides["head"] = self.head(encoder, dataset, run.nomenclature(dataset), run.main_prompts(dataset))
        return sides

    # --- gains -------------------------------------------------------------------------------------------------------

    def references(self) -> dict[str, dict[str, str]]:
        """Encoder -> kind of gain -> reference encoder; `<line>@selected` is the model that is chosen on a line."""
        run = self.run
        # Where alpha is only 0, a line has one model, which is zero-shot CLIP.
        moving = run.lines if any(run.alphas) else {}
        scored_students = {student for dataset in run.evaluated for student in run.students_of(dataset)}
        return {
            **{model_at(line, max(run.alphas)): {"gain": zero_shot(line.clip)} for line in moving.values()},
            **{chosen_on(name): {"gain": zero_shot(line.clip)} for name, line in moving.items()},
            **{
                student: {
                    "gain": zero_shot(clip),
                    **({"gain_over_patched": chosen_on(run.patched[clip])} if moving else {}),
                }
                for student, (_, clip) in run.students.items()
                if student in scored_students
            },
        }

    def starts(self) -> dict[str, str]:
        """Line -> its model at alpha 0."""
        return {name: model_at(line, 0) for name, line in self.run.lines.items()}

    def compared_draws(self, chosen: Chosen) -> list[str]:
        """The headlines on half-samples of all encoders with a gain, and of their references."""
        chosen_models = {chosen_on(line): chosen(line) for line in self.run.lines}
        references = self.references()
        encoders = {*references, *(other for kinds in references.values() for other in kinds.values())}
        return [
            path
            for encoder in sorted({chosen_models.get(name, name) for name in encoders})
            for dataset in self.run.evaluated
            if self.is_scored(encoder, dataset)
            for path in self.zero_shot(encoder, dataset, ending="draws.npz")
        ]

    # --- the report --------------------------------------------------------------------------------------------------

    def trainings(self) -> list[dict[str, Any]]:
        """The trainings of a run in their order: `history`, `kind`, `name`, and `datasets` where it has several.

        `kind` is 'clip', 'finetune' or 'align'.
        """
        run, by_file = self.run, student_files(self.run.config)
        scratch = [
            {"kind": "clip", "name": clip, "history": run.clip_paths.clip(clip, "history.jsonl")} for clip in run.clips
        ]
        finetunings = [
            {
                "kind": "finetune",
                "name": name,
                "datasets": line.datasets,
                "history": self.paths.finetuned(name, line.tag, "history.jsonl"),
            }
            for name, line in run.lines.items()
            if not line.parts and fine_tunes(run.config)
        ]
        alignments = [
            {"kind": "align", "name": student, "history": self.paths.aligned(student, "history.jsonl")}
            for student, (name, _) in run.students.items()
            if name not in by_file
        ]
        return [*(scratch if run.scratch else []), *finetunings, *alignments]

    def histories(self) -> list[str]:
        return [training["history"] for training in self.trainings()]

    def pictured(self) -> list[tuple[str, str]]:
        """The galleries and projections of the report: (subject, data set), where the subject is an encoder or a line.

        One for each student, and one for a patched CLIP on data sets that none of its students sees.
        """
        run = self.run
        return [
            (subject, dataset)
            for dataset in run.evaluated
            if "test" in run.scored_splits(dataset)
            for clip, line in run.patched.items()
            for subject in ([name for name in run.students_of(dataset) if run.clip_of(name) == clip] or [line])
        ]

    def report_parts(self, kind: str) -> list[str]:
        """The galleries, or the projections."""
        return [self.paths.report_part(kind, subject, dataset) for subject, dataset in self.pictured()]

    def pictured_line(self, subject: str) -> str:
        """The line of a student's teacher, or the line itself."""
        return self.run.teacher(subject) if subject in self.run.students else subject

    def pictured_patched(self, subject: str, dataset: str, chosen: Chosen) -> str:
        """The embeddings of the patched model."""
        return self.run.encoded(chosen(self.pictured_line(subject)), dataset, "test", chosen)

    def pictured_zero_shot(self, subject: str, dataset: str) -> str:
        """The embeddings of zero-shot CLIP."""
        clip = self.run.lines[self.pictured_line(subject)].clip
        return self.run.embeddings(zero_shot(clip), dataset, "test")

    def pictured_student(self, subject: str, dataset: str, chosen: Chosen) -> list[str]:
        """A student's embeddings; empty where the subject is a line."""
        return [self.run.encoded(subject, dataset, "test", chosen)] if subject in self.run.students else []

    def pictured_head(self, subject: str, dataset: str) -> str:
        """The vectors of the class names that are shown beside the embeddings."""
        clip = self.run.lines[self.pictured_line(subject)].clip
        return self.run.clip_paths.head(clip, dataset, self.run.nomenclature(dataset), self.run.main_prompts(dataset))

    def pictured_words(self, subject: str, dataset: str) -> list[str]:
        """The vectors of the words that a gallery shows beside the class names; empty where there are none."""
        if dataset not in self.run.words:
            return []
        clip = self.run.lines[self.pictured_line(subject)].clip
        return [self.run.clip_paths.words_head(clip, dataset, self.run.main_prompts(dataset))]
