"""`apply`: what a run's models are applied to."""

from typing import Annotated, Literal

from pydantic import Field

from bandbridge.base.model_types import AboveZero, Number, Section, Text, UserPath, key

PixelCount = Annotated[int, Field(ge=1, le=100_000)]
Label = Annotated[str, Field(min_length=1, max_length=80)]


class Polygons(Section):
    """Known classes to compare a map with."""

    file: UserPath = key("GeoPackage, GeoJSON or Shapefile")
    class_field: Text = key("its column that holds the class")
    class_map: dict[str, str | None] = key("value of the field -> label, or null to leave it out", default={})


class Application(Section):
    """Images, and what is made of them."""

    images: UserPath = key(
        "a raster, a folder of bands, a SAFE product, a VRT or a STAC item; for an archive also a folder of images"
    )
    model: str | None = key(
        "a student, or `patched`; null for the first student, or the patched CLIP where there is none", default=None
    )
    makes: Literal["map", "archive"] = key(
        "a map of the scene, or an archive of embeddings to search in", default="map"
    )
    labels: list[Label] | None = key("classes in words; null for those of the model's training", default=None)
    templates: str | None = key("a file of workflow/prompts/; null for those of the model's training", default=None)
    window: PixelCount | None = key(
        "side of a window; null for that of the training samples", unit="pixels", default=None
    )
    stride: PixelCount | None = key(
        "from one window to the next; null for the window's side", unit="pixels", default=None
    )
    scores: bool = key("write the scores of all classes beside the map", default=False)
    bands: list[str] | None = key("names of the image's bands in its order; null for what the file says", default=None)
    scale: AboveZero | None = key(
        "stored values times this, plus the offset, are in the model's unit; null for what the files state",
        default=None,
    )
    offset: Number = key("see scale", default=0.0)
    crs: str | None = key("of images that state no reference system", default=None)
    polygons: Polygons | None = key("known classes to compare the map with", default=None)
