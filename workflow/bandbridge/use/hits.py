"""Results of a search, as a table or as a page with thumbnails that opens without a network."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from numpy.typing import NDArray

from bandbridge.base.data_uris import data_uri
from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file
from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.modalities import Composite
from bandbridge.catalogue.sensors import composite
from bandbridge.store.dataset import Store
from bandbridge.use.archive import Archive
from bandbridge.use.bands import RGB
from bandbridge.use.images import Outline, centre, is_store
from bandbridge.use.results import MAPS, TABLES, write_table
from bandbridge.use.scenes import PICTURE, BandSet, Reading, open_scene
from bandbridge.use.search import Hit

ENDINGS = (*TABLES, *MAPS, ".html")
THUMBNAIL = 160  # pixels of a side
BRIGHTEST = 98  # percentile that becomes white in thumbnails without a composite
COLOURS = ("red", "green", "blue")
PHOTO = Composite(COLOURS, divisor=255.0)  # of 8-bit images


def write_hits(out: Path, archive: Archive, hits: Sequence[Hit], query: str) -> None:
    """Write hits as .csv, .parquet, .geojson, .gpkg or .html, by the ending of `out`."""
    if out.suffix.lower() == ".html":
        entries = [shown(archive, hit) for hit in hits]
        page = template("hits.html.j2").render(query=query, archive=archive, hits=entries)
        with whole_file(out) as part:
            part.write_text(page, encoding="utf-8")
        return
    outlines = [outline_of(hit.record["geometry"]) for hit in hits]
    write_table(out, [described(hit) for hit in hits], outlines)


def described(hit: Hit) -> dict[str, Any]:
    """A hit's columns; its centre in degrees, None where no place is known."""
    outline = outline_of(hit.record["geometry"])
    columns = {key: value for key, value in hit.record.items() if key != "geometry"}
    return {"rank": hit.rank, "cosine": hit.cosine, **columns, **centre(outline)}


def outline_of(geometry: bytes | None) -> Outline | None:
    """The ring of a polygon in well-known binary."""
    if geometry is None:
        return None
    from shapely import from_wkb

    return tuple((float(x), float(y)) for x, y in from_wkb(geometry).exterior.coords)


def thumbnail(archive: Archive, record: Mapping[str, Any]) -> bytes:
    """A window as a PNG in red, green and blue.

    Raises:
        UserError: its image is missing or has no such bands.
    """
    scaled_pixels = as_colours(*_pixels(archive, record))
    from PIL import Image

    image = Image.fromarray(scaled_pixels)
    scale = THUMBNAIL / max(image.size)
    resized = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.NEAREST
    )
    content = io.BytesIO()
    resized.save(content, "PNG")
    return content.getvalue()


def as_colours(pixels: NDArray[Any], recipe: Composite | None) -> NDArray[np.uint8]:
    """(y, x, 3) uint8 of red, green and blue (3, y, x), by a composite's black and white; None to stretch."""
    if recipe is None:
        low, high = np.percentile(pixels, (100 - BRIGHTEST, BRIGHTEST)).tolist()
        recipe = Composite(COLOURS, ranges=((low, max(high, low + 1e-6)),) * 3)
    return np.moveaxis(composite(pixels, recipe.bands, recipe), 0, -1)


def picture_bands(archive: Archive) -> tuple[BandSet, Composite | None]:
    """The bands of an archive's images that are drawn as red, green and blue, and how, where that is known."""
    facts, bands = archive.about.get("composite"), tuple(archive.about["bands"])
    if facts:
        recipe = Composite.from_facts(facts)
        return BandSet(recipe.bands), recipe
    return BandSet(("B04", "B03", "B02") if {"B04", "B03", "B02"} <= set(bands) else (bands * 3)[:3]), None


def reading_of(archive: Archive) -> Reading:
    """What the user stated about the images when the archive was made."""
    stated = archive.about["reading"]
    return Reading(**{**stated, "bands": tuple(stated["bands"] or ()) or None})


def _pixels(archive: Archive, record: Mapping[str, Any]) -> tuple[NDArray[Any], Composite | None]:
    """Red, green and blue (3, y, x) of a record's window, and how they are shown, where that is known."""
    path, (takes, recipe) = Path(record["path"]), picture_bands(archive)
    if record["sample"]:
        return _of_sample(path, record["sample"], takes.bands, recipe)
    with open_scene(path, (takes, PICTURE), reading_of(archive)) as scene:
        pixels, _ = scene.read(record["row"], record["col"], record["height"], record["width"])
        return pixels, PHOTO if scene.bands == RGB else recipe


def _of_sample(
    path: Path, sample: str, rgb_bands: tuple[str, ...], recipe: Composite | None
) -> tuple[NDArray[Any], Composite | None]:
    store, pixels = read_sample(path, sample)
    if store.modality == "rgb":
        return np.moveaxis(pixels, -1, 0), PHOTO
    if recipe is None and store.composite is not None:
        rgb_bands, recipe = store.composite.bands, store.composite
    chosen = [store.bands.index(name) for name in rgb_bands or store.bands[:3]]
    return pixels[chosen], recipe


def read_sample(path: Path, sample: str) -> tuple[Store, NDArray[Any]]:
    """A sample of a split of a store, by its id, and the store.

    Raises:
        UserError: one of them is missing.
    """
    if not is_store(path):
        raise UserError(f"{path} not found")
    store = Store(path.parent)
    samples = store.split(path.name)
    rows = np.flatnonzero(samples.ids == sample)
    if not len(rows):
        raise UserError(f"{path} has no sample {sample}; embed the store again.")
    return store, samples.read(rows[:1])[0]


def shown(archive: Archive, hit: Hit) -> dict[str, Any]:
    """What a page shows of a hit: its columns, and its thumbnail as a data URI or a remark on why there is none."""
    try:
        image, remark = data_uri(thumbnail(archive, hit.record), "image/png"), ""
    except UserError as error:
        image, remark = "", str(error)
    row = described(hit)
    place = f"{row['path']}, row {row['row']}, column {row['col']}"
    return {**row, "place": place, "image": image, "remark": remark}


def template(name: str) -> Template:
    """A template of workflow/report."""
    loader = FileSystemLoader(WORKFLOW / "report")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(name)
