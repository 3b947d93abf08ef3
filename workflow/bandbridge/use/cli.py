"""The commands of `bandbridge`, one function each. Heavy libraries load when needed."""

import gc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bandbridge import __version__
from bandbridge.base import limits, progress
from bandbridge.base.errors import UserError
from bandbridge.base.untrusted import visible

if TYPE_CHECKING:
    from bandbridge.use.model import Model
    from bandbridge.use.scenes import Reading

INTERRUPTED = 130  # exit status after Ctrl-C
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Use a model: classify, search and map satellite images with words. "
    "MODEL is a run's folder, a model in it, an exported folder, an encoder's name, local-dir:FOLDER or "
    "hf-hub:OWNER/NAME.",
)

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Such as results/demo, or results/demo/align/ms-vit.")
]
ImagesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGES...", help="Images, folders of images or of bands, SAFE products, VRTs, STAC items, stores."
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        help="Classes: \"forest, water\", a nomenclature's name, or a .txt file; without it, the model's own."
    ),
]
TemplatesOption = Annotated[
    str | None, typer.Option(help="A prompt set, a template with {}, or none; without it, the model's own.")
]
BandsOption = Annotated[
    str | None,
    typer.Option(help="Names of an image's bands in its order, such as B02,B03,B04,-; - to skip one."),
]
ScaleOption = Annotated[
    float | None, typer.Option(help="Stored values times this are in the model's unit; without it, what files state.")
]
OffsetOption = Annotated[float, typer.Option(help="Added after --scale.")]
CrsOption = Annotated[str | None, typer.Option(help="Of images that state none, such as EPSG:32633.")]
CompositeOption = Annotated[
    str | None, typer.Option(help="Bands of an RGB image and the value that becomes white, such as B04,B03,B02:3000.")
]
TextModelOption = Annotated[
    str | None, typer.Option(help="The CLIP for words, if the model has none: a folder, or ViT-B-32:openai.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; without it, the GPU where there is one.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
BatchOption = Annotated[int, typer.Option(help="Images encoded at a time.")]
WindowOption = Annotated[int | None, typer.Option(help="Side of windows in pixels.")]
StrideOption = Annotated[int | None, typer.Option(help="Pixels from one window to the next; without it, --window.")]


def main() -> None:
    """Run a command; an error that the user can fix is printed as one paragraph."""
    gc.disable()  # until a model is loaded: libraries are no garbage, and looking for any takes a fifth of the start
    try:
        with progress.reporting("bandbridge", None):
            app(prog_name="bandbridge")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("Interrupted. map and embed resume when the same command is repeated.", file=sys.stderr)
        raise
    except UserError as error:
        _stop(str(error))
    except Exception as error:
        if cure := limits.cure_of(error):
            _stop(cure)
        raise


def _stop(message: str) -> None:
    # It may contain names from files of others, which could control a terminal.
    print("Error: " + "\n".join(visible(line.expandtabs()) for line in message.splitlines()), file=sys.stderr)
    sys.exit(1)


def _version(is_requested: bool) -> None:
    if is_requested:
        print(f"bandbridge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def info(
    model: ModelArgument, text_model: TextModelOption = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Describe a model: bands, units, classes, scores, licence.

    Example: bandbridge info results/demo
    """
    from bandbridge.use.summary import as_json as in_json
    from bandbridge.use.summary import as_text

    loaded = _load(model, device="cpu", precision="float32", text=text_model)
    print(in_json(loaded) if as_json else as_text(loaded))


@app.command()
def classify(
    model: ModelArgument,
    images: ImagesArgument,
    out: Annotated[Path, typer.Option(help="Where to write: .csv, .parquet, .geojson or .gpkg.")],
    labels: LabelsOption = None,
    templates: TemplatesOption = None,
    top: Annotated[int, typer.Option(help="Labels per image, the best first.")] = 1,
    window: WindowOption = None,
    stride: StrideOption = None,
    bands: BandsOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = 0.0,
    crs: CrsOption = None,
    composite: CompositeOption = None,
    text_model: TextModelOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
    batch_size: BatchOption = 128,
) -> None:
    """Label images with words, zero-shot.

    Example: bandbridge classify results/demo tiles/ --labels "forest, water, houses" --top 2 --out labels.csv
    """
    from bandbridge.use.classify import classify_images
    from bandbridge.use.results import MAPS, TABLES, must_be_writable

    must_be_writable(out, (*TABLES, *MAPS), images)
    if top < 1:
        raise UserError(f"--top is {top}; expected 1 or more.")
    loaded = _load(
        model, device=device, precision=precision, batch_size=batch_size, text=text_model, composite=composite
    )
    chosen = loaded.labels(labels, templates)
    reading = _reading(bands, scale, offset, crs)
    done = classify_images(loaded, images, chosen, out, top=top, size=window, stride=stride, reading=reading)
    _report(done, out, f"{done.rows:,} images labelled ({chosen.measure})")


@app.command()
def embed(
    model: ModelArgument,
    images: ImagesArgument,
    out: Annotated[Path, typer.Option(help="The archive to write, .parquet.")],
    window: WindowOption = None,
    stride: StrideOption = None,
    bands: BandsOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = 0.0,
    crs: CrsOption = None,
    composite: CompositeOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
    batch_size: BatchOption = 128,
) -> None:
    """Embed images, or their windows, into a searchable archive: GeoParquet, also for geopandas and DuckDB.

    Example: bandbridge embed results/demo scene/ --window 16 --out archive.parquet
    """
    from bandbridge.use.archive import embed_images
    from bandbridge.use.results import must_be_writable

    must_be_writable(out, (".parquet",), images)
    loaded = _load(model, device=device, precision=precision, batch_size=batch_size, composite=composite)
    reading = _reading(bands, scale, offset, crs)
    done = embed_images(loaded, images, out, size=window, stride=stride, reading=reading)
    _report(done, out, f"{done.rows:,} embeddings of {loaded.dim} values")


@app.command()
def search(
    archive: Annotated[Path, typer.Argument(help="An archive of bandbridge embed.")],
    text: Annotated[list[str] | None, typer.Option(help="Words to find; may be repeated.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An image to find similar ones of; may be repeated.")] = None,
    not_text: Annotated[list[str] | None, typer.Option(help="Words that hits should not be like.")] = None,
    not_image: Annotated[list[Path] | None, typer.Option(help="Images that hits should not be like.")] = None,
    top: Annotated[int, typer.Option(help="How many hits.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Where to write: .csv, .parquet, .geojson, .gpkg or .html.")] = None,
    model: Annotated[str | None, typer.Option(help="MODEL, if it has moved since the archive was made.")] = None,
    templates: TemplatesOption = None,
    bands: BandsOption = None,
    text_model: TextModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Find images in an archive by words or by images, exactly.

    Example: bandbridge search archive.parquet --text "a lake" --not-text "a river" --out hits.html
    """
    from bandbridge.use.archive import open_archive
    from bandbridge.use.bands import stated_bands
    from bandbridge.use.hits import ENDINGS, described, write_hits
    from bandbridge.use.results import must_be_writable
    from bandbridge.use.search import Query, must_match, query_vector
    from bandbridge.use.search import search as find

    if out is not None:
        must_be_writable(out, ENDINGS, [archive, *(image or ()), *(not_image or ())])
    opened = open_archive(archive)
    loaded = _load(model or opened.about["model"], device=device, precision="float32", text=text_model)
    must_match(loaded, opened)
    query = Query(tuple(text or ()), tuple(image or ()), tuple(not_text or ()), tuple(not_image or ()))
    vector = query_vector(loaded, query, templates, stated_bands(bands) or opened.about["reading"]["bands"])
    hits = find(opened, vector, top)
    if out is not None:
        write_hits(out, opened, hits, str(query))
        print(f"{len(hits)} hits for {query}: {out}")
        return
    for hit in hits:
        row = described(hit)
        place = "" if row["lat"] is None else f"  {row['lat']:.5f} {row['lon']:.5f}"
        where = row["sample"] or f"{row['path']} row {row['row']} col {row['col']}"
        print(f"{hit.rank:4d}  {hit.cosine:.3f}  {visible(where)}{place}")


@app.command(name="map")
def map_(
    model: ModelArgument,
    scene: Annotated[Path, typer.Argument(help="A raster, a folder of bands, a SAFE product, a VRT, a STAC item.")],
    out: Annotated[Path, typer.Option(help="The map to write, .tif.")],
    labels: LabelsOption = None,
    templates: TemplatesOption = None,
    window: WindowOption = None,
    stride: StrideOption = None,
    scores: Annotated[bool, typer.Option("--scores", help="Write <out>.scores.tif as well, a band per class.")] = False,
    bands: BandsOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = 0.0,
    crs: CrsOption = None,
    composite: CompositeOption = None,
    text_model: TextModelOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
    batch_size: BatchOption = 128,
) -> None:
    """Map a scene: the best label of every window, as a cloud-optimised GeoTIFF on the scene's grid.

    A call that was killed resumes when repeated. Without --window, windows are as large as the training samples.

    Example: bandbridge map results/demo scene/ --labels "forest, water, fields" --stride 4 --out cover.tif
    """
    from bandbridge.use.cover import scores_file
    from bandbridge.use.mapping import map_scene
    from bandbridge.use.results import must_be_writable
    from bandbridge.use.summary import area_table

    for written in (out, scores_file(out)) if scores else (out,):
        must_be_writable(written, (".tif", ".tiff"), [scene])
    loaded = _load(
        model, device=device, precision=precision, batch_size=batch_size, text=text_model, composite=composite
    )
    chosen = loaded.labels(labels, templates)
    reading = _reading(bands, scale, offset, crs)
    done = map_scene(loaded, scene, chosen, out, window=window, stride=stride, scores=scores, reading=reading)
    print(area_table(done))


@app.command()
def explore(
    model: ModelArgument,
    source: Annotated[
        Path, typer.Argument(metavar="SCENE|ARCHIVE", help="A scene, or an archive of bandbridge embed (.parquet).")
    ],
    window: WindowOption = None,
    stride: StrideOption = None,
    port: Annotated[int, typer.Option(help="Of the page; 0 for a free one.", min=0, max=65_535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    bands: BandsOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = 0.0,
    crs: CrsOption = None,
    composite: CompositeOption = None,
    text_model: TextModelOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
    batch_size: BatchOption = 128,
) -> None:
    """Type words and see a scene, or an archive, by its similarity to them: a page on this machine alone.

    Example: bandbridge explore results/demo scene/ --window 16 --stride 8
    """
    if importlib.util.find_spec("panel") is None:
        raise UserError("bandbridge explore needs Panel, which is not installed: pip install 'bandbridge[explore]'")
    from bandbridge.use.explore import explored

    loaded = _load(
        model, device=device, precision=precision, batch_size=batch_size, text=text_model, composite=composite
    )
    with explored(loaded, source, window, stride, _reading(bands, scale, offset, crs)) as content:
        from bandbridge.use.explore_page import serve

        serve(content, port, browser)


@app.command()
def export(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(help="Where to write the model.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx as well, compared with torch.")] = False,
    push: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Upload it to the model hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the hub's repository as a private one.")] = False,
    composite: CompositeOption = None,
    text_model: TextModelOption = None,
) -> None:
    """Write a model as a self-contained folder: metadata, model card, STAC item; timm and open_clip load it.

    Example: bandbridge export results/demo/align/ms-vit my-model --onnx
    """
    from bandbridge.use import export as exporting

    loaded = _load(model, device="cpu", precision="float32", text=text_model, composite=composite)
    for remark in exporting.export(loaded, folder, onnx=onnx):
        print(remark)
    print(f"{loaded.name}: {folder}")
    if push is not None:
        print(f"uploaded: {exporting.push(folder, push, private)}")


def _load(model: str, **options: Any) -> "Model":
    from bandbridge.use.sources import load

    loaded = load(model, **options)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    return loaded


def _reading(bands: str | None, scale: float | None, offset: float, crs: str | None) -> "Reading":
    from bandbridge.use.bands import stated_bands
    from bandbridge.use.scenes import Reading

    return Reading(stated_bands(bands), scale, offset, crs)


def _report(done: Any, out: Path, what: str) -> None:
    print(f"{what}: {out}")
    if done.refused.windows:
        print(f"{done.refused.windows:,} windows left out: less than half of their pixels have values.")
    if done.refused_file is not None:
        print(f"{len(done.refused.images):,} images could not be used; the reasons: {done.refused_file}")
