"""Names of encoders and paths of files: both are made here, and nothing else takes a path apart.

Paths are text, because rules and their params hold text. Any part of one may be a wildcard of Snakemake such as
'{dataset}'.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from bandbridge.base.alphas import alpha_name, parse_alpha
from bandbridge.base.errors import UserError

# In place of an alpha in the name of a line's model at the alpha that will be chosen.
CHOSEN = "selected"


@dataclass(frozen=True)
class EncoderName:
    """A model on a PAINT line, '<line>@<alpha>' as text: 'demo-clip@0.5'.

    Two names are equal where their texts are. Encoders that are on no line (students, encoders of others) have names
    without '@'.
    """

    line: str
    alpha: float

    def __str__(self) -> str:
        return f"{self.line}@{alpha_name(self.alpha)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that has this text.

        Raises:
            UserError: no name has it.
        """
        line, at, alpha = text.rpartition("@")
        if not line or not at or "@" in line:
            raise UserError(f"'{text}' is not the name of a model on a line; expected <line>@<alpha>, such as clip@0.5")
        return cls(line, parse_alpha(alpha))

    @classmethod
    def if_on_a_line(cls, text: str) -> Self | None:
        """The same; None for an encoder that is on no line."""
        return cls.parse(text) if "@" in text else None


def is_on_a_line(encoder: str) -> bool:
    """Whether an encoder is on a PAINT line; students and encoders of others are not."""
    return EncoderName.if_on_a_line(encoder) is not None


def zero_shot(clip: str) -> str:
    """The name of a CLIP's zero-shot model."""
    return str(EncoderName(clip, 0))


def chosen_on(line: str) -> str:
    """'<line>@selected', the line's model at the alpha that is chosen, while that is not known."""
    return f"{line}@{CHOSEN}"


def line_chosen_on(name: str) -> str | None:
    """The line of '<line>@selected'; None for any other name."""
    line, _, alpha = name.rpartition("@")
    return line if alpha == CHOSEN else None


def one_of(names: Iterable[str]) -> str:
    """The pattern of a wildcard that stands for one of these names, and for nothing where there are none."""
    return "|".join(map(re.escape, names)) or "none"


class RunPaths:
    """What a run writes below its folder `results/<run>`.

    Args:
        folder: that folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @property
    def folder(self) -> str:
        """The folder of the run's results."""
        return self._folder

    def results(self, path: str) -> str:
        """A file of the run's folder."""
        return f"{self.folder}/{path}"

    @property
    def metrics(self) -> str:
        """The table of all numbers."""
        return self.results("metrics.csv")

    @property
    def config(self) -> str:
        """The configuration that the run was made with."""
        return self.results("config.yaml")

    @property
    def report(self) -> str:
        """The report's page."""
        return self.results("report/index.html")

    def clip(self, clip: str, file: str = "open_clip_config.json") -> str:
        """A file of the zero-shot CLIP, an open_clip model directory."""
        return self.results(f"clip/{clip}/{file}")

    def encoder(self, encoder: str, file: str = "encoder.json") -> str:
        """A file of an encoder that is not made here."""
        return self.results(f"encoders/{encoder}/{file}")

    def head(self, clip: str, dataset: str, nomenclature: str, prompts: str) -> str:
        """The class vectors of a nomenclature in a prompt set."""
        return self.results(f"heads/{clip}/{dataset}.{nomenclature}.{prompts}.npz")

    def words_head(self, clip: str, dataset: str, prompts: str) -> str:
        """The vectors of a data set's words."""
        return self.results(f"heads/{clip}/words/{dataset}.{prompts}.npz")

    def finetuned(self, line: str, tag: str, file: str = "model.safetensors") -> str:
        """A file of the fine-tuning at a line's end; `tag` names the line's data sets."""
        return self.results(f"finetune/{line}.{tag}/{file}")

    def paint(self, line: str, tag: str, file: str) -> str:
        """A file of the choice of alpha on a line."""
        return self.results(f"paint/{line}.{tag}/{file}")

    def aligned(self, student: str, file: str = "model.safetensors") -> str:
        """A file of a student's alignment."""
        return self.results(f"align/{student}/{file}")

    def embeddings(self, encoder: str, dataset: str, split: str) -> str:
        """The root metadata of a group of embeddings."""
        return self.results(f"embeddings/{encoder}/{dataset}.{split}.zarr/zarr.json")

    def samples(self, dataset: str) -> str:
        """The count of a data set's samples against what its scores ask for."""
        return self.results(f"samples/{dataset}.json")

    def scores(self, encoder: str, *parts: str, ending: str = "csv") -> str:
        """Scores of an encoder: `parts` are the kind, the data set, and what it was scored in and with."""
        return self.results(f"metrics/{encoder}/{'.'.join(parts)}.{ending}")

    def zero_shot(self, encoder: str, dataset: str, nomenclature: str, prompts: str, ending: str = "csv") -> str:
        """Zero-shot scores; with the ending 'draws.npz' the headline on each half-sample."""
        return self.scores(encoder, "zero-shot", dataset, nomenclature, prompts, ending=ending)

    @property
    def tables(self) -> str:
        """The folder of a paper's tables, as CSV, Markdown and LaTeX."""
        return self.results("tables")

    def report_part(self, kind: str, subject: str, dataset: str) -> str:
        """What the report shows of an encoder's embeddings of a data set: a gallery or a projection."""
        return self.results(f"report_parts/{kind}.{subject}.{dataset}.json")

    def applied(self, name: str, ending: str) -> str:
        """What an entry of `apply` makes: a map (tif), its picture and facts for the report, an archive."""
        return self.results(f"apply/{name}.{ending}")


class Paths(RunPaths):
    """Every path of a run: of its own files, and of what it shares with other runs.

    Where the configuration lists several seeds, they are the paths of the one in `seed`, below the run's own folders.

    Args:
        config: a valid configuration, for its roots, the run's name and its seeds.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._name = f"{config['run']}/seed-{config['seed']}" if config.get("seeds") else str(config["run"])

    @cached_property
    def shared(self) -> "Paths":
        """The paths of what all seeds of the run share; the same paths where it has one seed."""
        return Paths({**self._config, "seeds": []}) if self._config.get("seeds") else self

    @property
    def folder(self) -> str:
        """The folder of the run's results."""
        return f"{self._config['results_root']}/{self._name}"

    @cached_property
    def run_logs(self) -> str:
        """The folder of its logs and benchmarks."""
        return f"{self.log_root}/{self._name}"

    @cached_property
    def log_root(self) -> str:
        """The folder of all runs' logs."""
        return str(self._config["log_root"])

    @cached_property
    def comparisons(self) -> str:
        """The folder of comparisons of runs."""
        return f"{self._config['results_root']}/comparisons"

    @cached_property
    def downloads(self) -> str:
        """The folder of all downloads."""
        return f"{self._config['data_root']}/archives"

    @cached_property
    def stores(self) -> str:
        """The folder of all stores."""
        return str(self._config["store_root"] or f"{self._config['data_root']}/zarr")

    def logs(self, path: str) -> str:
        """A log or a benchmark of one of the run's jobs."""
        return f"{self.run_logs}/{path}"

    def archives(self, name: str) -> str:
        """A folder of downloads, which may be read-only: nothing else is written there."""
        return f"{self.downloads}/{name}"

    def weights(self, file: str) -> str:
        """Published weights of an encoder, as they were fetched."""
        return f"{self.downloads}/encoders/{file}"

    def files(self, dataset: str) -> str:
        """The list of a data set's files with their checksums."""
        return f"{self.stores}/{dataset}.files.json"

    def plan(self, dataset: str) -> str:
        """The samples that a data set should have."""
        return f"{self.stores}/parts/{dataset}/plan.csv"

    def converted(self, dataset: str, stream: str, share: int | str, shares: int | str) -> str:
        """What a conversion leaves until the store is joined of it, and after: the store's pixels are links to it."""
        return f"{self.stores}/parts/{dataset}/{stream}.{share}-of-{shares}/records.npz"

    def store(self, dataset: str) -> str:
        """A store's root metadata, which is written last: the store is whole where it exists."""
        return f"{self.stores}/{dataset}.zarr/zarr.json"

    def quarantine(self, dataset: str) -> str:
        """The list of the samples that were left out of a store."""
        return f"{self.stores}/{dataset}.quarantine.csv"
