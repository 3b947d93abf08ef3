"""What a store holds beside its pixels: labels, ids, places, dates, names and wavelengths of bands, a table of all."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bandbridge.catalogue.datasets import Dataset, label_map, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.sensors import Sensor, sensor_of
from bandbridge.ingest.plan import Plan
from bandbridge.ingest.records import Records
from bandbridge.store.coordinates import write_places, write_wavelengths
from bandbridge.store.places import footprints, write_table
from bandbridge.store.zarr_files import write_array


@dataclass(eq=False)
class Split:
    """A split's samples that are in the store: their rows in the streams' records, their ids and labels."""

    name: str
    rows: NDArray[np.int64]
    ids: list[str]
    labels: NDArray[np.uint8]
    begin: int  # the split's first row in the plan


def axes_of(modality: Modality, first: bool) -> tuple[str, str, str]:
    if modality.is_rgb:
        return ("y", "x", "channel")
    return ("band", "y", "x") if first else (f"band_{modality.name}", f"y_{modality.name}", f"x_{modality.name}")


def write_places_of(group: zarr.Group, modality: Modality, first: bool, split: Split, records: Records) -> list[str]:
    """The grids of a modality's samples and the wavelengths of its bands; names of the coordinates."""
    suffix = "" if first else f"_{modality.name}"
    systems, transforms, shape = _grids(modality, split, records)
    names, attributes = write_places(group, suffix, shape, systems, transforms)
    group[modality.name].update_attributes(attributes)
    axis = next(axis for axis in axes_of(modality, first) if axis.startswith(("band", "channel")))
    return names + write_wavelengths(group, axis, suffix, wavelengths_of(modality, sensor_of(modality)))


def _grids(
    modality: Modality, split: Split, records: Records
) -> tuple[list[str], NDArray[np.float64], tuple[int, int]]:
    """Reference system and transform of each of a split's samples, and their height and width."""
    systems = [records.systems[number] if number >= 0 else "" for number in records.system[split.rows].tolist()]
    sides = records.forms[records.form[split.rows[0]]].split()[:3]
    height, width = map(int, sides[:2] if modality.is_rgb else sides[1:])
    has_grid = records.system[split.rows, None] >= 0
    return systems, np.where(has_grid, records.transform[split.rows], np.nan), (height, width)


def write_sample_table(
    path: Path, dataset: Dataset, splits: Sequence[Split], plan: Plan, streams: Mapping[str, Records]
) -> None:
    """One row per sample: id, split, path, labels, date, share of valid pixels, and where it lies."""
    first = dataset.primary
    records = streams[first.name]
    classes = np.array(load_nomenclature(dataset.nomenclature).classes, dtype=object)
    rows = np.concatenate([split.rows for split in splits])
    centre, date = _centres_and_dates(dataset, rows, streams)
    grids = [_grids(first, split, records) for split in splits]
    ids = [name for split in splits for name in split.ids]
    columns = {
        "id": ids,
        "split": [split.name for split in splits for _ in split.ids],
        "path": [plan.paths.get(name) for name in ids],
        "labels": [classes[row > 0].tolist() for split in splits for row in split.labels],
        "date": [text or None for text in date.tolist()],
        "valid_share": np.abs(records.valid[rows]),  # unknown is -1: all do
        "crs": [system or None for systems, _, _ in grids for system in systems],
    }
    systems = [system for split_systems, _, _ in grids for system in split_systems]
    transforms = np.concatenate([split_transforms for _, split_transforms, _ in grids])
    write_table(path, columns, footprints(grids[0][2], systems, transforms, centre))


def _centres_and_dates(
    dataset: Dataset, rows: NDArray[np.int64], streams: Mapping[str, Records]
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """(sample, 2) latitude and longitude, and ISO dates, each from the first stream that states it."""
    records = [streams[name] for name in dataset.streams]
    centre, date = records[0].centre[rows], records[0].date[rows]
    for other in records[1:]:
        centre = np.where(np.isnan(centre), other.centre[rows], centre)
        date = np.where(date == "", other.date[rows], date)
    return centre, date


def write_tables(
    group: zarr.Group, dataset: Dataset, split: Split, streams: Mapping[str, Records], digest: "hashlib._Hash"
) -> list[str]:
    """Labels in every nomenclature, ids, centres, dates, the names of the axes; the names of the coordinates."""
    digest.update(f"{split.name}\0".encode() + "\0".join(split.ids).encode())
    digest.update(split.labels.tobytes())
    write_coordinate(group, "id", _text(split.ids), ("sample",))
    native = load_nomenclature(dataset.nomenclature)
    for name in dataset.nomenclatures:
        nomenclature = load_nomenclature(name)
        labels = (split.labels.astype(np.uint16) @ label_map(native, nomenclature) > 0).astype(np.uint8)
        axis = "class" if name == native.name else f"class_{name}"
        write_coordinate(group, f"labels_{name}", labels, ("sample", axis))
        write_coordinate(group, axis, _text(nomenclature.classes), (axis,))
    for number, modality in enumerate(dataset.modalities):
        axis = next(axis for axis in axes_of(modality, number == 0) if axis.startswith(("band", "channel")))
        write_coordinate(group, axis, _text(modality.bands), (axis,))
    coordinates = ["id"]
    centre, date = _centres_and_dates(dataset, split.rows, streams)
    for column, (name, units) in enumerate((("lat", "degrees_north"), ("lon", "degrees_east"))):
        if not np.isnan(centre[:, column]).all():
            write_coordinate(group, name, np.ascontiguousarray(centre[:, column]), ("sample",), units=units)
            coordinates.append(name)
    if (date != "").any():
        write_coordinate(group, "date", _text(date.tolist()), ("sample",))
        coordinates.append("date")
    return coordinates


def write_coordinate(
    group: zarr.Group, name: str, values: NDArray[Any], dimensions: tuple[str, ...], **attributes: str
) -> None:
    write_array(group, name, values, dimensions, attributes=attributes)


def _text(values: Sequence[str]) -> NDArray[Any]:
    return np.array(values, dtype=np.dtypes.StringDType())


def wavelengths_of(modality: Modality, sensor: Sensor | None) -> list[float | None] | None:
    """In nanometres, one per band; None where none is known, or where they do not distinguish the bands (radar)."""
    by_name = {band.name: band.wavelength for band in sensor.bands} if sensor else {}
    wavelengths = [by_name.get(name) for name in modality.bands]
    return wavelengths if len({*wavelengths} - {None}) > 1 else None
