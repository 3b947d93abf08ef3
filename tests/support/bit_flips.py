"""Flips single bits of every kind of file that one stage writes and another reads, and reads it as the latter does.

    python tests/support/bit_flips.py --flips 500

prints, for each kind, how many flips ended in a sentence for the user, in another error, in the same values (bits that
nobody reads), and in other values that were used without a word, which no flip may.
"""

import argparse
import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_rows import full_rows
from small_store import random_samples, small_dataset, write_store
from tiny import tiny_clip

from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, write_json
from bandbridge.ingest.plan import load_plan, make_plan, save_plan
from bandbridge.ingest.readers import Planned
from bandbridge.ingest.records import load_records
from bandbridge.metrics.intervals import Estimate
from bandbridge.models.clip import load_clip, save_clip
from bandbridge.models.weights import load_metadata, load_weights, save_weights
from bandbridge.reporting.page.quarantine import read_quarantine
from bandbridge.reporting.tables.curves import read_curves
from bandbridge.scoring.curve import Point, write_curve
from bandbridge.scoring.draws import HeadlineDraws, load_draws, save_draws
from bandbridge.scoring.rows import read_rows, write_rows
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings, load_embeddings, save_embeddings
from bandbridge.store.heads import Head, load_head, save_head

SENTENCE, ERROR, HARMLESS, USED = OUTCOMES = ("sentence", "other error", "harmless", "used")
SPLITS = {"train": 9, "val": 4, "test": 5}


@dataclass(frozen=True)
class Kind:
    """Files of one kind, and what a later stage reads of them."""

    files: list[Path]
    read: Callable[[], Any]


def kinds(folder: Path) -> dict[str, Kind]:
    """Make a small file of every kind."""
    made = {}
    store = folder / "demo_land_cover.zarr"
    _write_store(store)
    arrays = [path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json"]
    shards = [path for path in arrays if path.parent.name == "s2"]

    names = set(Store(store).attrs)  # an attribute of another name is read by nobody

    def read_store() -> list[Any]:
        opened = Store(store)
        splits = [opened.split(name) for name in SPLITS]
        tables = [(split.ids, split.labels, split.lat, split.lon) for split in splits]
        return [
            {name: opened.attrs[name] for name in names},
            tables,
            [split.read(np.arange(len(split))) for split in splits],
        ]

    made["shards of pixels"] = Kind(shards, read_store)
    tables = [path for path in arrays if path not in shards and {"id", "lat", "lon"} & {*path.parts}]
    made["ids, places"] = Kind(tables, read_store)
    made["labels"] = Kind([path for path in arrays if any("labels" in part for part in path.parts)], read_store)
    made["zarr.json of stores"] = Kind(sorted(store.rglob("zarr.json")), read_store)
    share = folder / "parts" / store.name / "0-of-1" / "records.npz"
    made["records of conversion"] = Kind([share], lambda: vars(load_records(share)))
    made["quarantine list"] = Kind(
        [store.with_suffix(".csv")], lambda: astuple(read_quarantine(store.with_suffix(".csv"), SPLITS))
    )
    made |= {**_embeddings(folder), **_arrays(folder), **_weights(folder), **_texts(folder)}
    return made


def _write_store(path: Path) -> None:
    dataset = small_dataset("demo_land_cover", SPLITS)
    places = np.random.default_rng(1).uniform(-60, 60, (sum(SPLITS.values()), 2))
    samples = [
        (split, replace(sample, lat=lat, lon=lon))
        for (split, sample), (lat, lon) in zip(random_samples(dataset, SPLITS, 24, 0), places.tolist(), strict=True)
    ]
    write_store(path, dataset, samples)


def _embeddings(folder: Path) -> dict[str, Kind]:
    path = folder / "demo.val.zarr"
    rng = np.random.default_rng(2)
    attrs = {"encoder": "demo@0.5", "alpha": 0.5, "store_digest": "0f" * 32, "weights_digest": {"clip": "1e" * 32}}
    ids = np.array([f"scene-é{index}" for index in range(40)])
    save_embeddings(path, Embeddings(rng.normal(size=(40, 32)).astype(np.float32), ids, attrs))

    def read() -> list[Any]:
        loaded = load_embeddings(path)
        return [loaded.embedding, loaded.ids, {key: loaded.attrs[key] for key in attrs}]

    files = [file for file in path.rglob("*") if file.is_file()]
    metadata = [file for file in files if file.name == "zarr.json"]
    chunks = [file for file in files if file not in metadata]
    return {"embeddings": Kind(chunks, read), "zarr.json of embeddings": Kind(metadata, read)}


def _arrays(folder: Path) -> dict[str, Kind]:
    rng = np.random.default_rng(3)
    head, draws = folder / "head.npz", folder / "zero-shot.draws.npz"
    classes = ("Forest", "Industrial buildings", "Forêt")
    vectors = rng.normal(size=(3, 32)).astype(np.float32)
    save_head(head, Head(vectors, 100.0, classes, (("a forest",), ("works", "a plant"), ("bois",)), -10.5))
    meta = {"metric": "map", "n": {"test": 90, "val": 80}, "seed": 0, "resamples": 60, "store_digest": "0f" * 32}
    resampled = {split: rng.uniform(size=60) for split in meta["n"]}
    save_draws(draws, HeadlineDraws(meta, {split: Estimate(0.5, 0.49, 0.02, 40, 39) for split in meta["n"]}, resampled))
    return {
        "heads": Kind([head], lambda: astuple(load_head(head))),
        "draws": Kind([draws], lambda: astuple(load_draws(draws))),
    }


def _weights(folder: Path) -> dict[str, Kind]:
    path = folder / "model.safetensors"
    rng = torch.Generator().manual_seed(4)
    weights = {f"blocks.{number}.weight": torch.randn(8, 12, generator=rng) for number in range(5)}
    save_weights(
        path, weights, {"clip": "demo", "precision": "float32", "bandbridge": '{"student": {"bands": ["B02"]}}'}
    )

    def read() -> list[Any]:
        metadata = load_metadata(path)
        return [metadata["clip"], metadata["bandbridge"], load_weights(path)]

    made = {"weights": Kind([path], read)}
    directory = folder / "patched"
    save_clip(tiny_clip(), directory, {"alpha": "0.5"})

    def read_clip() -> list[Any]:
        clip = load_clip(directory)
        return [clip.model_cfg, clip.preprocess_cfg, clip.model.state_dict()]

    files = [file for file in directory.iterdir() if not file.name.startswith(".")]
    return {**made, "patched CLIPs": Kind(files, read_clip)}


def _texts(folder: Path) -> dict[str, Kind]:
    rows, selected, plan, sources = (folder / name for name in ("part.csv", "selected.json", "plan.csv", "files.json"))
    write_rows(rows, islice(full_rows(), 40))
    write_json(
        selected,
        {
            "line": "vit",
            "datasets": ["digits"],
            "alpha": 0.4,
            "criterion": "mean",
            "reason": "the best mean on validation data",
        },
    )
    write_json(sources, [{"file": "a.zip", "sha256": "0f" * 32}])
    curve = folder / "curve.csv"
    write_curve(
        curve, [Point(at / 10, "map", 0.5 + at / 50, *[0.25] * 3, "map", 0.5, 0.5, 0.5) for at in range(11)], 0.4
    )
    dataset = small_dataset("demo_land_cover")
    planned = [Planned(f"{split}-{at}", split) for split in SPLITS for at in range(7)]
    save_plan(plan, make_plan(dataset, [*planned, Planned("train-0", "val")]))
    return {
        "parts of metrics.csv": Kind([rows], lambda: read_rows([rows]).to_csv()),
        "curve.csv, selected.json": Kind(
            [curve, selected],
            lambda: [(c.points.to_csv(), c.selected, c.reason) for c in read_curves([curve], [selected])],
        ),
        "plans, lists of sources": Kind(
            [plan, sources], lambda: [astuple(load_plan(plan, dataset)), read_json(sources)]
        ),
    }


def plain(value: Any) -> Any:
    """The same as something that == compares, element by element and bit by bit."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tolist() if value.dtype.kind == "O" else value.tobytes())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flip(kind: Kind, flips: int, seed: int) -> Counter[str]:
    """Flip so many bits, one at a time, anywhere in the kind's files; how the reading of each ended."""
    expected = plain(kind.read())
    rng = np.random.default_rng(seed)
    sizes = [path.stat().st_size for path in kind.files]
    outcomes: Counter[str] = Counter()
    for position in rng.choice(8 * sum(sizes), min(flips, 8 * sum(sizes)), replace=False).tolist():
        number, at = 0, position // 8
        while at >= sizes[number]:
            at, number = at - sizes[number], number + 1
        path = kind.files[number]
        content = path.read_bytes()
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << position % 8]) + content[at + 1 :])
        try:
            outcomes[HARMLESS if plain(kind.read()) == expected else USED] += 1
        except UserError:
            outcomes[SENTENCE] += 1
        except Exception:
            outcomes[ERROR] += 1
        finally:
            path.write_bytes(content)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flips", type=int, default=500, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| file | {' | '.join(OUTCOMES)} |\n|---|{'--:|' * len(OUTCOMES)}")
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stdout(nowhere):
            made = kinds(Path(folder))
        for name, kind in made.items():
            with contextlib.redirect_stdout(nowhere):
                outcomes = flip(kind, arguments.flips, arguments.seed)
            total += outcomes
            print(f"| {name} | {' | '.join(str(outcomes[key]) for key in OUTCOMES)} |", flush=True)
    print(f"| all | {' | '.join(str(total[key]) for key in OUTCOMES)} |")


if __name__ == "__main__":
    main()
