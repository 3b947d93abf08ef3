"""The stage `apply` of the workflow: a run's model on a scene, or on images."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bandbridge.base.files import whole_file, write_json
from bandbridge.use.agreement import compare_with_polygons
from bandbridge.use.archive import embed_images
from bandbridge.use.colours import class_colours
from bandbridge.use.mapping import map_scene
from bandbridge.use.model import Model
from bandbridge.use.picture import map_picture
from bandbridge.use.scenes import Reading
from bandbridge.use.sources import load


def apply_map(
    folder: Path,
    settings: Mapping[str, Any],
    entry: Mapping[str, Any],
    embed: Mapping[str, Any],
    cover: Path,
    summary: Path,
    store: Path | None = None,
) -> None:
    """Write a map, and a JSON summary of it for the report.

    Args:
        folder: of the model.
        settings: see `config.apply.apply_settings`.
        entry: see `config.apply.applications`.
        embed: `batch_size` and `precision`.
        cover: path of the map.
        summary: path of the JSON file.
        store: of the data set that the model was trained on, for the agreement on its test samples.
    """
    model = _model(folder, settings, embed)
    labels = model.labels(entry["labels"], entry["templates"])
    done = map_scene(
        model, Path(entry["images"]), labels, cover, window=entry["window"], stride=entry["stride"],
        scores=entry["scores"], reading=_reading(entry),
    )  # fmt: skip
    polygons = entry["polygons"]
    everywhere, on_test = compare_with_polygons(cover, labels.names, polygons, store) if polygons else (None, None)
    picture, width = map_picture(cover)
    drawn = summary.with_suffix(".png")
    with whole_file(drawn) as part:
        part.write_bytes(picture)
    colours = class_colours(labels.names)
    content = {
        "name": cover.stem,
        "map": cover.name,
        "model": model.card.title,
        "measure": done.measure,
        "window": done.window,
        "stride": done.stride,
        "no_data": done.no_data,
        "areas": [{**asdict(area), "colour": colour} for area, colour in zip(done.areas, colours, strict=True)],
        "picture": drawn.name,
        "picture_width": width,
        "polygons": polygons["file"] if polygons else None,
        "agreement": None if everywhere is None else asdict(everywhere),
        "test_agreement": None if on_test is None else asdict(on_test),
    }
    write_json(summary, content)


def apply_archive(
    folder: Path, settings: Mapping[str, Any], entry: Mapping[str, Any], embed: Mapping[str, Any], archive: Path
) -> None:
    """Write an archive of embeddings; for the arguments see `apply_map`."""
    model = _model(folder, settings, embed)
    done = embed_images(
        model, [Path(entry["images"])], archive, size=entry["window"], stride=entry["stride"], reading=_reading(entry)
    )
    print(f"{done.rows:,} embeddings; {len(done.refused.images):,} images could not be used.")


def _model(folder: Path, settings: Mapping[str, Any], embed: Mapping[str, Any]) -> Model:
    return load(folder, settings=settings, precision=embed["precision"], batch_size=embed["batch_size"])


def _reading(entry: Mapping[str, Any]) -> Reading:
    bands = entry["bands"]
    return Reading(tuple(bands) if bands else None, entry["scale"], entry["offset"], entry["crs"])
