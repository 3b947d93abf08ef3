"""Joining the converted shares of a data set into one Zarr store; shard files are hard-linked, not copied."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

import bandbridge
from bandbridge.base.checksums import damaged
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_directory, whole_file
from bandbridge.base.progress import remark
from bandbridge.base.reasons import group_reasons
from bandbridge.base.untrusted import as_cell
from bandbridge.catalogue.datasets import Dataset, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.sensors import sensor_of
from bandbridge.config.sharing import settings_of
from bandbridge.ingest.convert import shard_name
from bandbridge.ingest.pixel_facts import (
    PixelFacts,
    copies,
    displaced,
    elsewhere,
    encoded_fill,
    facts_of_pixels,
    fill_of,
    unlike_most,
)
from bandbridge.ingest.plan import SHARD, Plan, Refused, Shard
from bandbridge.ingest.records import BAD, GOOD, Records, load_records
from bandbridge.ingest.sample_tables import (
    Split,
    axes_of,
    wavelengths_of,
    write_coordinate,
    write_places_of,
    write_sample_table,
    write_tables,
)
from bandbridge.store.coordinates import CF
from bandbridge.store.dataset import CONVENTIONS, valid_share_name
from bandbridge.store.places import TABLE
from bandbridge.store.shard_writer import BLOCK, LEVEL, ChunkFiles, write_shard
from bandbridge.store.zarr_files import finish_group

MOST_REASONS = 20  # lines of an error


@dataclass(eq=False)
class _Stream:
    """All records of one stream in the order of the plan, and the shard files that they refer to."""

    records: Records
    files: list[Path]


def assemble(
    path: Path,
    dataset: Dataset,
    plan: Plan,
    shares: Mapping[str, Sequence[Path]],
    provenance: Mapping[str, Any],
    quarantine: Path,
    max_quarantined_share: float,
) -> None:
    """Make a data set's store of its converted shares, and list what is not in it.

    The store is a Zarr version 3 group with a group per split. A modality's array is (sample, band, y, x), or (sample,
    y, x, channel) for 'rgb', one chunk per sample, `SHARD` samples per shard; samples are sorted by id. For each
    nomenclature `labels_<nomenclature>` is (sample, class) uint8; `id`, and `lat`, `lon`, `date` where known, are
    (sample,); `band` or `channel`, and `class`, name the axes, with the modality's or nomenclature's name added from
    the second on. The `digest` in its attributes depends only on the samples, not on how many jobs converted them or
    from what archive. Every chunk and every zarr.json has a checksum, see `zarr_files`.

    Args:
        shares: of each stream, the directories of all jobs in their order.
        provenance: further attributes of the store, such as `sources` with their checksums.
        quarantine: CSV file with the columns id, split, reason; it is kept if this raises.
        max_quarantined_share: of all planned samples.

    Raises:
        UserError: more samples in quarantine than allowed, or a split without samples.
    """
    streams = {name: _load(plan, directories) for name, directories in shares.items()}
    reasons = _reasons(dataset, streams)
    splits, refused = _divide(dataset, plan, streams, reasons)
    refused = sorted([*plan.refused, *refused], key=lambda item: (item.split, item.id, item.reason))
    _write_quarantine(quarantine, refused)
    _check_enough(dataset, splits, refused, quarantine, max_quarantined_share)
    with whole_directory(path) as part:
        root = zarr.create_group(part)
        records = {name: stream.records for name, stream in streams.items()}
        digest = hashlib.sha256()
        kept = np.concatenate([split.rows for split in splits])
        fills = {item.name: fill_of(streams[item.name].records, kept) for item in dataset.modalities}
        for split in splits:
            group = root.create_group(split.name)
            coordinates = write_tables(group, dataset, split, records, digest)
            for number, modality in enumerate(dataset.modalities):
                folder, stream = part / split.name / modality.name, streams[modality.name]
                _write_pixels(group, folder, modality, number == 0, split, plan, stream, digest, fills[modality.name])
                coordinates += write_places_of(group, modality, number == 0, split, stream.records)
            group.attrs["coordinates"] = " ".join(coordinates)  # so that xarray reads them as such
        main = next((split.name for split in splits if split.name == "train"), splits[0].name)
        pixels = {
            item.name: facts_of_pixels(
                item, part / main / item.name, main, streams[item.name].records, kept, fills[item.name]
            )
            for item in dataset.modalities
        }
        for split in splits:
            for name, pixel_facts in pixels.items():
                if pixel_facts.units:
                    root[f"{split.name}/{name}"].attrs["units"] = pixel_facts.units
        remarks = [sentence for pixel_facts in pixels.values() for sentence in pixel_facts.remarks]
        remarks += [sentence for name in pixels for sentence in copies(name, splits, records[name])]
        remarks += displaced(records[dataset.primary.name], splits)
        for sentence in remarks:
            remark(f"{dataset.name}: {sentence}")
        counts = {split.name: len(split.rows) for split in splits}
        facts = {**_facts(dataset, pixels, remarks), **provenance, "counts": counts, "quarantined": len(refused)}
        # Through JSON: options may hold what YAML knows and JSON does not, such as a date.
        root.update_attributes(json.loads(json.dumps({**facts, "digest": digest.hexdigest()}, default=str)))
        finish_group(root, part)
        with whole_file(part / TABLE, checked=True) as table:
            write_sample_table(table, dataset, splits, plan, records)


def _load(plan: Plan, directories: Sequence[Path]) -> _Stream:
    parts = [load_records(directory / "records.npz") for directory in directories]
    files: list[Path] = []
    for job, directory in enumerate(directories):
        files += [directory / shard_name(shard) for shard in plan.share(job, len(directories))]
    whole = Records.empty(0, parts[0].labels.shape[1])
    begin = 0
    for part in parts:
        # Each share has its own list of forms.
        translated = [
            whole.forms.index(form) if form in whole.forms else _added(whole.forms, form) for form in part.forms
        ]
        part.form = np.array([*translated, -1], np.int16)[part.form]
        for numbers, names in (("made", "radiometries"), ("system", "systems")):
            all_names: list[str] = getattr(whole, names)
            places = [
                all_names.index(name) if name in all_names else _added(all_names, name) for name in getattr(part, names)
            ]
            setattr(part, numbers, np.array([*places, -1], np.int16)[getattr(part, numbers)])
        whole.reasons |= {begin + at: reason for at, reason in part.reasons.items()}
        begin += len(part.state)
    for name in (item.name for item in fields(Records) if item.name not in Records.OF_A_SHARE):
        setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
    return _Stream(whole, files)


def _added(forms: list[str], form: str) -> int:
    forms.append(form)
    return len(forms) - 1


# --- what is kept --------------------------------------------------------------------------------------------------


def _reasons(dataset: Dataset, streams: Mapping[str, _Stream]) -> dict[int, str]:
    """Row of the plan -> why the sample is not in the store."""
    reasons: dict[int, str] = {}
    for name in dataset.streams:
        records = streams[name].records
        several = len(dataset.streams) > 1
        for at in np.flatnonzero(records.state == BAD).tolist():
            reasons.setdefault(at, f"{name}: {records.reasons[at]}" if several else records.reasons[at])
        if name == dataset.label_stream:
            continue
        odd = chain(_unusual(dataset.modality(name), records), unlike_most(dataset.modality(name), records))
        other = elsewhere(streams[dataset.primary.name].records, records) if name != dataset.primary.name else ()
        for at, reason in chain(odd, other):
            reasons.setdefault(at, f"{name}: {reason}" if several else reason)
    labelled = np.any([streams[name].records.labelled for name in dataset.streams], axis=0)
    for at in np.flatnonzero(~labelled).tolist():
        reasons.setdefault(at, "has no labels")
    return reasons


def _unusual(modality: Modality, records: Records) -> Iterator[tuple[int, str]]:
    """Rows whose shape or number type is not that of most samples, and a sentence."""
    good = records.state == GOOD
    counts = {form: int((records.form[good] == number).sum()) for number, form in enumerate(records.forms)}
    usual = max(counts, key=lambda form: (counts[form], form), default="")
    for at in np.flatnonzero(good & (records.form != (records.forms.index(usual) if usual else -1))).tolist():
        advice = "; the option picture_size brings images to one size" if modality.is_rgb else ""
        yield at, f"is {_form(records.forms[records.form[at]])}, most are {_form(usual)}{advice}"


def _form(form: str) -> str:
    *shape, dtype = form.split()
    return f"{' x '.join(shape)} {dtype}"


def _divide(
    dataset: Dataset, plan: Plan, streams: Mapping[str, _Stream], reasons: Mapping[int, str]
) -> tuple[list[Split], list[Refused]]:
    refused, splits, begin = [], [], 0
    labels = _labels(dataset, streams)
    for name, ids in plan.ids.items():
        rows = np.arange(begin, begin + len(ids))
        kept = np.array([row for row in rows.tolist() if row not in reasons], np.int64)
        refused += [Refused(ids[row - begin], name, reasons[row]) for row in rows.tolist() if row in reasons]
        splits.append(Split(name, kept, [ids[row - begin] for row in kept.tolist()], labels[kept], begin))
        begin += len(ids)
    return splits, refused


def _labels(dataset: Dataset, streams: Mapping[str, _Stream]) -> NDArray[np.uint8]:
    """Labels of all planned samples, each from the first stream that states them."""
    records = [streams[name].records for name in dataset.streams]
    labels = records[0].labels.copy()
    labelled = records[0].labelled.copy()
    for other in records[1:]:
        new = other.labelled & ~labelled
        labels[new] = other.labels[new]
        labelled |= new
    return labels


def _write_quarantine(path: Path, refused: Sequence[Refused]) -> None:
    with whole_file(path, checked=True) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "reason"])
        writer.writerows([as_cell(item.id), item.split, as_cell(item.reason)] for item in refused)


def _check_enough(
    dataset: Dataset, splits: Sequence[Split], refused: Sequence[Refused], quarantine: Path, limit: float
) -> None:
    total = sum(len(split.rows) for split in splits) + len(refused)
    if len(refused) > limit * total:
        raise UserError(
            f"{dataset.name}: {len(refused):,} of {total:,} samples are in quarantine (limit {limit:.2%}):\n"
            f"{_counted_reasons(refused)}\nAll of them: {quarantine}. "
            "Fix the data, or raise preprocess.max_quarantined_share"
        )
    empty = [split.name for split in splits if not len(split.rows)]
    if empty:
        counts = ", ".join(f"{split.name} {len(split.rows)}" for split in splits)
        listed = f"\n{len(refused):,} are in quarantine ({quarantine}):\n{_counted_reasons(refused)}"
        raise UserError(
            f"{dataset.name}: no samples for {', '.join(empty)} (found: {counts}); "
            f"change the data set's options so that each split has some, or its list of splits{listed * bool(refused)}"
        )


def _counted_reasons(refused: Sequence[Refused]) -> str:
    """One line per reason: the number of samples, the reason, and an example."""
    reasons = group_reasons((item.id, item.split, item.reason) for item in refused)
    counted = [(reason.counts.total(), f"{reason.text} (for example {reason.examples[0]})") for reason in reasons]
    if rest := sum(count for count, _ in counted[MOST_REASONS:]):
        counted[MOST_REASONS:] = [(rest, "for other reasons")]
    width = max((len(f"{count:,}") for count, _ in counted), default=0)
    return "\n".join(f"  {count:>{width},}  {text}" for count, text in counted)


# --- the store -----------------------------------------------------------------------------------------------------


def _write_pixels(  # noqa: PLR0913 (each is one fact of the array)
    group: zarr.Group,
    folder: Path,
    modality: Modality,
    first: bool,
    split: Split,
    plan: Plan,
    stream: _Stream,
    digest: "hashlib._Hash",
    fill: int | float | None,
) -> None:
    records = stream.records
    *shape, dtype = records.forms[records.form[split.rows[0]]].split()
    sides = tuple(map(int, shape))
    length = min(SHARD, len(split.rows))
    array = group.create_array(
        modality.name,
        shape=(len(split.rows), *sides),
        chunks=(1, *sides),
        shards=(length, *sides),
        dtype=dtype,
        compressors=[
            BloscCodec(cname="zstd", clevel=LEVEL, shuffle="bitshuffle", blocksize=BLOCK),
            Crc32cCodec(),
        ],
        # Flat names, so that a shard is one file and no folders.
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=("sample", *axes_of(modality, first)),
        fill_value=fill if fill is not None else 0,
    )
    if fill is not None:
        array.attrs["_FillValue"] = encoded_fill(fill)
        shares = np.abs(records.valid[split.rows])  # unknown is -1: all do
        write_coordinate(group, valid_share_name(modality.name, first), shares, ("sample",))
        digest.update(f"{modality.name} fill {fill}".encode())
    digest.update(f"{modality.name} {shape} {dtype}".encode() + records.hash[split.rows].tobytes())
    shards = [shard for shard in plan.shards() if shard.split == split.name]
    files = dict(zip([shard_name(shard) for shard in plan.shards()], stream.files, strict=True))
    with ChunkFiles() as chunks:
        for number, start in enumerate(range(0, len(split.rows), length)):
            rows = split.rows[start : start + length]
            target = folder / f"c.{number}.0.0.0"
            if records.has_crc[rows].all() and _is_whole(rows, number, length, split, shards):
                _link(files[shard_name(shards[number])], target)
                continue
            held = (
                chunks.require(
                    files[f"{split.name}.{(row - split.begin) // SHARD}"],
                    int(records.place[row, 0]),
                    int(records.place[row, 1]),
                    records.hash[row].tobytes(),
                    bool(records.has_crc[row]),
                )
                for row in rows
            )
            write_shard(target, chain(held, [None] * (length - len(rows))))


def _is_whole(rows: NDArray[np.int64], number: int, length: int, split: Split, shards: Sequence[Shard]) -> bool:
    """Whether a shard of the store is, sample for sample, the shard of the same number that was converted."""
    planned = len(shards[number].ids)
    return (
        len(rows) == planned == length and rows[0] == split.begin + number * SHARD and rows[-1] == rows[0] + planned - 1
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise damaged(source, "it is missing", source.parent) from error
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _facts(dataset: Dataset, pixels: Mapping[str, PixelFacts], remarks: Sequence[str]) -> dict[str, Any]:
    nomenclatures = {name: load_nomenclature(name) for name in dataset.nomenclatures}
    return {
        "Conventions": CF,
        "conventions": CONVENTIONS,
        "dataset": dataset.name,
        "title": dataset.title,
        "modalities": {item.name: _modality_facts(item, pixels[item.name]) for item in dataset.modalities},
        **({"remarks": remarks} if remarks else {}),
        "nomenclatures": {name: item.classes for name, item in nomenclatures.items()},
        "label_kind": dataset.label_kind,
        "headline": dataset.headline,
        "unlabelled": dataset.unlabelled,
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "cite": dataset.cite,
        "options": dict(dataset.options),
        "conversion": settings_of(dataset),  # another run compares its own with these
        "bandbridge_version": bandbridge.__version__,
    }


def _modality_facts(modality: Modality, pixels: PixelFacts) -> dict[str, Any]:
    sensor = sensor_of(modality)
    return {
        "sensor": sensor.title if sensor else None,
        "product": modality.product,
        "bands": modality.bands,
        "zero_bands": modality.zero_bands,
        "composite": pixels.composite.facts() if pixels.composite else None,
        "resolution": sensor.resolution if sensor else None,
        "units": pixels.units,
        "wavelengths": wavelengths_of(modality, sensor),
        **pixels.stated,
    }
