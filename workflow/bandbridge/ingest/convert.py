"""Converting a share of a data set: from the archive straight into shard files; a killed job resumes."""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import bandbridge
from bandbridge.base.checksums import crc32c
from bandbridge.base.errors import did_you_mean
from bandbridge.base.reasons import without_made_up_names
from bandbridge.base.untrusted import visible
from bandbridge.catalogue.datasets import Dataset, conversion_facts, load_nomenclature
from bandbridge.catalogue.modalities import Modality
from bandbridge.catalogue.reader_options import min_valid_share
from bandbridge.ingest.names import plain
from bandbridge.ingest.nodata import not_measured, share, with_fill
from bandbridge.ingest.plan import SHARD, Shard
from bandbridge.ingest.radiometry import is_backscatter_in_decibels, store_unit
from bandbridge.ingest.readers import Rejected, Sample
from bandbridge.ingest.records import GOOD, MISSING, Records, save_records
from bandbridge.store.shard_writer import (
    BLOCK,
    LEVEL,
    Appender,
    ChunkFiles,
    chunk_hash,
    encode,
    read_index,
    with_crc,
    write_shard,
)

RGB_TYPES = ("uint8",)
BAND_TYPES = ("uint8", "uint16", "int16", "float32")
# Values of a sample of reflectance from 0 to 1 are below this; of digital numbers, never all of them.
SMALL = 4.0
ABSENT = "is planned, but is not in {}"
_JOURNAL = "journal.jsonl"


def shard_name(shard: Shard) -> str:
    return f"{shard.split}.{shard.number}"


def convert(
    dataset: Dataset,
    stream: str,
    shards: Sequence[Shard],
    samples: Iterable[Sample | Rejected],
    journal: "Journal",
    looked_in: str = "the archives",
) -> Records:
    """Write the samples of one stream to the shard files of the journal's directory.

    A sample is refused where it holds too few pixels with data, infinite numbers or one value only, its shape or number
    type is not the data set's, a label is unknown, or it occurs more than once. Memory does not grow with the pixels:
    each sample is compressed and appended when it is read. A conversion that was killed resumes from its journal; its
    result is the same.

    Args:
        stream: a modality of the data set, or its stream of labels.
        shards: this job's share of the plan.
        samples: those of the share that `journal.missing` names, in any order.
        looked_in: where they were looked for, for the reason of those that are missing.
    """
    where = {name: at for at, name in enumerate(name for shard in shards for name in shard.ids)}
    files = [shard_name(shard) for shard in shards for _ in shard.ids]
    modality = None if stream == dataset.label_stream else dataset.modality(stream)
    classes = {plain(name): number for number, name in enumerate(load_nomenclature(dataset.nomenclature).classes)}
    records = journal.records
    seen: set[int] = set()
    with journal, Appender(journal.directory) as appender:
        for sample in samples:
            at = where[sample.id]
            if at in seen:
                journal.write({"at": at, "reason": "is in the archives more than once"})
                continue
            seen.add(at)
            reason = sample.reason if isinstance(sample, Rejected) else _fault(sample, dataset, modality, classes)
            if reason or isinstance(sample, Rejected):
                journal.write({"at": at, "reason": without_made_up_names(reason or "")})
                continue
            line: dict[str, Any] = {"at": at, "form": None}
            if modality is not None and sample.pixels is not None:
                chunk = encode(sample.pixels if sample.valid is None else with_fill(sample.pixels, sample.valid))
                stored = with_crc(chunk)
                start = appender.append(f"{files[at]}.part", stored)
                line["form"] = " ".join(map(str, (*sample.pixels.shape, sample.pixels.dtype)))
                line |= {"place": [start, len(stored)], "hash": chunk_hash(chunk).hex()}
            line["labels"] = None if sample.labels is None else [classes[plain(name)] for name in sample.labels]
            line["centre"] = None if sample.lat is None or sample.lon is None else [sample.lat, sample.lon]
            line["date"] = sample.date
            line |= _of_pixels(sample, modality)
            journal.write(line)
        for at in np.flatnonzero(records.state == MISSING).tolist():
            journal.write({"at": at, "reason": ABSENT.format(looked_in)})
    if modality is not None:
        _finish(journal.directory, shards, records)
    return records


def _finish(directory: Path, shards: Sequence[Shard], records: Records) -> None:
    """Put the chunks of each file in order and close it with its index."""
    begin = 0
    for shard in shards:
        rows = np.arange(begin, begin + len(shard.ids))
        begin += len(shard.ids)
        source, target = directory / f"{shard_name(shard)}.part", directory / shard_name(shard)
        if (records.state[rows] != GOOD).all():
            source.unlink(missing_ok=True)
            continue
        if source.exists():
            records.place[rows] = write_shard(target, _chunks(source, rows, records))
            source.unlink()
        else:  # it was finished before the kill: the index has the places
            records.place[rows] = read_index(target, len(rows))


def _chunks(source: Path, rows: NDArray[np.int64], records: Records) -> Iterator[bytes | None]:
    with ChunkFiles() as files:
        for row in rows:
            start, length = map(int, records.place[row])
            good = records.state[row] == GOOD
            yield files.require(source, start, length, records.hash[row].tobytes()) if good else None


def _fault(sample: Sample, dataset: Dataset, modality: Modality | None, classes: Mapping[str, int]) -> str | None:
    """Why a sample cannot be stored, regardless of the others; None if it can."""
    if sample.labels is not None:
        unknown = [label for label in sample.labels if plain(label) not in classes]
        if unknown:
            guess = did_you_mean(unknown[0], classes)
            return (
                f"label {visible(' and '.join(unknown))} is not in {dataset.nomenclature}{'.' if guess else ''}{guess}"
            )
        if dataset.label_kind == "single" and len(sample.labels) != 1:
            return f"has {len(sample.labels)} labels, expected one"
    return None if modality is None else _pixel_fault(sample, modality, min_valid_share(dataset))


def _pixel_fault(sample: Sample, modality: Modality, least: float) -> str | None:
    pixels = sample.pixels
    if pixels is None:
        return "has no pixels"
    allowed = RGB_TYPES if modality.is_rgb else BAND_TYPES
    band_axis = 2 if modality.is_rgb else 0
    if pixels.ndim != 3 or pixels.size == 0 or pixels.shape[band_axis] != len(modality.bands):
        return f"shape is {pixels.shape}, expected 3 axes with {len(modality.bands)} bands"
    height, width = pixels.shape[:2] if modality.is_rgb else pixels.shape[1:]
    if modality.size is not None and (height, width) != modality.size:
        return f"is {height} x {width} pixels, expected {modality.size[0]} x {modality.size[1]}"
    if pixels.dtype.name not in allowed:
        advice = "; save them as float32 (gdal_translate -ot Float32; Earth Engine: toFloat())"
        if pixels.dtype.kind == "c":
            advice = "; save what is measured of them, such as amplitudes or decibels, as float32"
        advice = "" if modality.is_rgb else advice
        return f"pixels are {pixels.dtype}, expected {' or '.join(allowed)}{advice}"
    if sample.valid is not None and not sample.valid.all():
        with_data = share(_bands_first(sample.valid, modality))
        if with_data < least or not sample.valid.any():
            return f"{_percent(with_data)} of its pixels hold data in all bands, min_valid_share is {least:.0%}"
        pixels = pixels[sample.valid]
    if pixels.dtype.kind == "f" and not (finite := np.isfinite(pixels)).all():
        count = f"{np.count_nonzero(~finite):,} of {finite.size:,}"
        return f"{count} values are not finite numbers; where they mark missing data, make NaN of them"
    if not modality.is_rgb and (value := not_measured(pixels, store_unit(modality))) is not None:
        return f"a value is {value:g}, which is no measurement; if it marks missing data, state it as nodata"
    if (pixels == pixels.flat[0]).all():
        return f"every pixel is {pixels.flat[0]}"
    return None


def _bands_first(valid: NDArray[np.bool_], modality: Modality) -> NDArray[np.bool_]:
    return np.moveaxis(valid, -1, 0) if modality.is_rgb else valid


def _percent(part: float) -> str:
    """With enough digits that a share strictly between 0 and 1 never reads as 0 % or 100 %."""
    return f"{100 * part:.6g}%"


def _is_linear(values: NDArray[Any]) -> bool:
    """Whether values of radar are linear backscatter, most of which is below 1, rather than decibels of a city."""
    return bool(values.min() >= 0 and np.median(values) < 1)


def _of_pixels(sample: Sample, modality: Modality | None) -> dict[str, Any]:
    """What the journal keeps of a sample's pixels, except defaults."""
    if modality is None or sample.pixels is None:
        return {}
    facts: dict[str, Any] = {}
    if sample.valid is not None:
        facts["valid"] = share(_bands_first(sample.valid, modality))
    if sample.radiometry:
        facts["radiometry"] = sample.radiometry
    is_in_decibels = is_backscatter_in_decibels(modality)
    if sample.pixels.dtype.kind == "f" or is_in_decibels:
        values = sample.pixels if sample.valid is None else sample.pixels[sample.valid]
        facts["small"] = bool(_is_linear(values) if is_in_decibels else np.abs(values).max() < SMALL)
    if sample.grid is not None:
        facts["grid"] = [sample.grid.crs, *sample.grid.transform]
    return facts


# --- the journal ---------------------------------------------------------------------------------------------------


class Journal:
    """One line per converted sample, in the directory of its share, from which a killed conversion resumes.

    A sample's chunk is with the operating system before its line is, and each line begins with its CRC-32C. A line that
    is not whole and those after it, chunks that are not what was written (a power cut loses what had not reached the
    disk), and what follows the last whole chunk of a file are dropped, and their samples converted again.
    """

    def __init__(self, directory: Path, shards: Sequence[Shard], classes: int, identity: str) -> None:
        """Open a share's directory; its conversion is resumed if it was begun under the same `identity`."""
        self.directory = directory
        self._shards = shards
        self._path = directory / _JOURNAL
        ids = [name for shard in shards for name in shard.ids]
        self.records = Records.empty(len(ids), classes)
        self._file: IO[bytes] | None = None
        length = self._take_over(identity)
        if length == 0:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            self._path.write_bytes(_line({"identity": identity}))
        else:
            with self._path.open("r+b") as file:
                file.truncate(length)
            self._cut_files()
        self.missing = {name for at, name in enumerate(ids) if self.records.state[at] == MISSING}

    def _take_over(self, identity: str) -> int:
        """Read the journal up to its first incomplete line; returns that length in bytes, 0 if it cannot be used."""
        # Its files are appended to; one that is a link would lead to another user's.
        if not self._path.is_file() or any(file.is_symlink() for file in self.directory.iterdir()):
            return 0
        length = 0
        with self._path.open("rb") as file:
            for line in file:
                content = _content(line)
                if content is None:
                    break
                if length == 0 and content != {"identity": identity}:
                    return 0
                if length:
                    self.records.enter(content)
                length += len(line)
        return length

    def _cut_files(self) -> None:
        begin = 0
        for shard in self._shards:
            rows = slice(begin, begin + len(shard.ids))
            begin += len(shard.ids)
            part = self.directory / f"{shard_name(shard)}.part"
            if part.exists():
                self._forget_damaged(part, rows)
                good = self.records.state[rows] == GOOD
                ends = self.records.place[rows].sum(axis=1)[good]
                with part.open("r+b") as file:
                    file.truncate(int(ends.max(initial=0)))

    def _forget_damaged(self, part: Path, rows: slice) -> None:
        with ChunkFiles() as files:
            for row in np.flatnonzero(self.records.state[rows] == GOOD) + rows.start:
                start, length = map(int, self.records.place[row])
                if files.read(part, start, length, self.records.hash[row].tobytes()) is None:
                    self.records.state[row] = MISSING

    def write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(_line(line))
        self.records.enter(line)

    def __enter__(self) -> "Journal":
        self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()

    def remove(self) -> None:
        """Delete the journal, once the records are saved."""
        self._path.unlink()


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode()
    return f"{crc32c(text):08x} ".encode() + text + b"\n"


def _content(line: bytes) -> Any:
    """The content that `_line` wrote; None for an incomplete or damaged line."""
    stated, _, text = line.rstrip(b"\n").partition(b" ")
    whole = line.endswith(b"\n") and stated == f"{crc32c(text):08x}".encode()
    return json.loads(text) if whole else None


def identity(dataset: Dataset, stream: str, shards: Sequence[Shard], sources: Any) -> str:
    """What a share's content depends on, in short: a journal of another identity is not resumed."""
    facts = [conversion_facts(dataset), stream, sources]
    format_facts = [bandbridge.__version__, LEVEL, BLOCK, SHARD, "crc32c", "no data"]
    digest = hashlib.sha256(json.dumps([facts, format_facts], default=str, sort_keys=True).encode())
    for shard in shards:
        digest.update(f"\n{shard_name(shard)}\n".encode() + "\0".join(shard.ids).encode())
    return digest.hexdigest()


def convert_share(
    dataset: Dataset,
    stream: str,
    shards: Sequence[Shard],
    samples: Callable[[Collection[str]], Iterable[Sample | Rejected]],
    directory: Path,
    sources: Any,
    looked_in: str = "the archives",
) -> None:
    """Convert a share and save its records in `directory`, resuming where a killed job stopped.

    Args:
        samples: called with the ids that are still missing; returns the samples.
        sources: names and checksums of the archives, and the state of the user's own files.
        looked_in: as of `convert`.

    Raises:
        UserError: a chunk that was written before the kill has been damaged since.
    """
    classes = len(load_nomenclature(dataset.nomenclature).classes)
    journal = Journal(directory, shards, classes, identity(dataset, stream, shards, sources))
    records = convert(dataset, stream, shards, samples(journal.missing), journal, looked_in)
    save_records(directory / "records.npz", records)
    journal.remove()
