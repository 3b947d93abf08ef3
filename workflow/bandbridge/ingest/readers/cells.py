"""Cells of a table of samples: paths, classes, splits, places and dates, each with an error that names its row."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas

from bandbridge.base.errors import UserError
from bandbridge.base.untrusted import decimal_number, has_unseen, leads_out
from bandbridge.catalogue.option_models import TableOptions
from bandbridge.ingest.label_lists import flag, is_list, names_in, whole
from bandbridge.ingest.names import plain, with_slashes
from bandbridge.ingest.stac import HREF, AssetFacts, facts_of

SPLITS = ("train", "val", "test")
# How names of splits begin, 'training', 'development' and 'holdout' among them.
BEGINNINGS = {"tr": "train", "va": "val", "dev": "val", "te": "test", "hold": "test"}
# What people write between several classes of a cell.
SEPARATORS = ("|", ";", ",", "/", " ")


def labels_of(
    cells: Mapping[str, Any],
    options: TableOptions,
    class_columns: Mapping[str, str],
    classes: Mapping[str, str | None],
    where: str,
) -> tuple[str, ...] | None:
    """The classes of a row; None where it had some and all are mapped to null."""
    if options.label or options.labels:
        cell = cells[options.label or str(options.labels)]
        several = isinstance(cell, list | tuple | np.ndarray)
        names = [text_of(item) for item in cell] if several else _names(text_of(cell), options, classes, where)
    else:
        names = [name for column, name in class_columns.items() if _flag(cells[column], where, column)]
    names = [plain(name) for name in names if name.strip()]
    # A column of whole numbers that a program took for floats: '1.0' is the class or the key '1'.
    names = [name if name in classes or whole(name) not in classes else whole(name) for name in names]
    kept = [classes.get(name, name) for name in names]
    if names and all(name is None for name in kept):
        return None
    return tuple(dict.fromkeys(name for name in kept if name is not None))


def _names(text: str, options: TableOptions, classes: Mapping[str, str | None], where: str) -> list[str]:
    if plain(text) in classes or (options.label and not is_list(text)):
        return [text]
    for other in () if is_list(text) or options.separator in text else SEPARATORS:
        if other in text and all(plain(name) in classes for name in names_in(text, other)):
            raise UserError(
                f"{where}: {options.labels} is '{text}', and separator is '{options.separator}'; state \"{other}\" as "
                "the option separator"
            )
    return names_in(text, options.separator)


def _flag(value: Any, where: str, column: str) -> bool:
    says_yes = flag(text_of(value))
    if says_yes is None:
        raise UserError(f"{where}: {column} is '{value}', expected 0 or 1")
    return says_yes


def split_of_cell(value: Any, options: TableOptions, where: str) -> str | None:
    """The split of a row; None where it is left out."""
    text = text_of(value)
    key = text if text in options.split_names else whole(text)
    split = options.split_names.get(key, text.lower() if text.lower() in SPLITS else text)
    if split is None or split in SPLITS:
        return split
    meant = next((split for word, split in BEGINNINGS.items() if text.lower().startswith(word)), SPLITS[0])
    key = text or "''"
    raise UserError(
        f"{where}: {options.split} is '{text}', expected {', '.join(SPLITS)}. Other names are translated by the option "
        f"split_names, as in {{{key}: {meant}}}, or {{{key}: null}}, which leaves such rows out"
    )


def inner_path(value: Any, where: str, column: str, images: Path) -> str:
    """A path below the images' folder; empty where the cell is."""
    text = with_slashes(text_of(value))
    if "://" in text:
        address = urlsplit(text)
        if address.scheme != "file":
            raise UserError(
                f"{where}: {column} is '{text}', an address, and nothing is fetched for a table: download the files, "
                "and give their folder with the option archive"
            )
        text = unquote(address.path)
    if text[:1] == "/" and Path(text).is_relative_to(images):
        text = str(Path(text).relative_to(images))
    parts = text.split("/")
    if text and leads_out(text) and ".." not in parts:
        raise UserError(
            f"{where}: {column} is '{text}', an absolute path that is not below {images}: write the part below the "
            "images' folder or archive into the table, or give the folder with the option archive"
        )
    if text and (leads_out(text) or has_unseen(text)):
        raise UserError(
            f"{where}: {column} is '{text}', expected a path below the images' folder or archive, {images}, without "
            "'..'; give the folder with the option archive"
        )
    # As archives' members are named; a path object for each cell of a large table takes long.
    return str(PurePosixPath(text)) if "" in parts[1:] or "." in parts else text


def items_of(
    cells: Mapping[str, Any], paths: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], where: str
) -> dict[str, AssetFacts]:
    """File -> what the asset that names it in a STAC item states of it.

    Args:
        paths, columns: modality -> files, and the columns that name them.
    """
    items = {}
    for name, modality_columns in columns.items():
        for path, column in zip(paths[name], modality_columns, strict=True):
            asset = column.removesuffix(HREF)
            try:
                facts = facts_of(cells.get(asset), cells) if path and asset != column else None
            except ValueError as error:
                raise UserError(f"{where}: {asset}: {error}") from error
            if facts is not None:
                items[path] = facts
    return items


def degrees_of(value: Any, limit: int, where: str, column: str) -> float | None:
    text = text_of(value)
    if not text:
        return None
    # A decimal comma, where semicolons or tabs part the cells.
    degrees = decimal_number(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    if degrees is None or abs(degrees) > limit:
        raise UserError(f"{where}: {column} is '{text}', expected degrees from -{limit} to {limit}")
    return degrees


def date_of(value: Any, where: str, column: str) -> str | None:
    text = text_of(value)
    try:
        return text if not text or datetime.fromisoformat(text) else None
    except ValueError as error:
        raise UserError(f"{where}: {column} is '{text}', expected a date like 2024-06-01") from error


def text_of(value: Any) -> str:
    """A cell as text; empty where there is no value."""
    if value is None or value is pandas.NaT or value is pandas.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, datetime) and value == datetime(value.year, value.month, value.day, tzinfo=value.tzinfo):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    # A column of whole numbers with gaps is one of floats in pandas.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
