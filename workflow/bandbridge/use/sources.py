"""Loading MODEL: a run's folder, a model in it, an exported folder, an encoder's name, or a model of a hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bandbridge.base.errors import UserError, did_you_mean
from bandbridge.base.files import checksum
from bandbridge.catalogue.datasets import Composite
from bandbridge.catalogue.encoders import MARKER, encoder_content, encoder_names, load_encoder_facts, must_be_pinned
from bandbridge.catalogue.sensors import SENSOR_BANDS, SENSORS
from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models import preprocessing as views
from bandbridge.models.clip import WEIGHTS_FILE, Clip, load_clip
from bandbridge.models.device import best_device, cast_layers, settle_precision
from bandbridge.models.external.inputs import band_input, image_input
from bandbridge.models.external.load import Encoder
from bandbridge.models.external.load import load as load_encoder
from bandbridge.models.students import Student, load_student
from bandbridge.models.weights import load_metadata
from bandbridge.use import exported, published, runs
from bandbridge.use.bands import RGB
from bandbridge.use.cache import cache_folder
from bandbridge.use.card import Card, read_card
from bandbridge.use.inputs import student_inputs
from bandbridge.use.model import ImageSide, Model
from bandbridge.use.scenes import PICTURE, BandSet
from bandbridge.use.text_side import TextSide, must_match, text_folder

HUB, LOCAL_DIR = "hf-hub:", "local-dir:"


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a model; exactly one is not None."""

    student: Student | None = None
    clip: Clip | None = None
    encoder: Encoder | None = None


@dataclass(frozen=True, eq=False)
class _Loaded:
    parts: Parts
    card: Card
    digest: str
    text: TextSide | None


def load(
    source: str | Path,
    *,
    device: str | None = None,
    precision: str = "auto",
    batch_size: int = 128,
    text: str | Path | None = None,
    composite: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """A model that is ready to use.

    Args:
        source: a run's folder (its student), `align/<student>` or `paint/<line>/patched` in one, an exported folder, a
            folder or name of an encoder of workflow/encoders, an open_clip model directory, 'local-dir:<folder>',
            'hf-hub:<owner>/<name>', or a checkpoint of the method's authors.
        device: 'cpu', 'cuda', 'cuda:1'; None for the GPU where there is one.
        precision: 'auto', 'float32', 'bfloat16' or 'float16', see `device.settle_precision`.
        batch_size: images encoded at a time.
        text: an open_clip model directory, or '<architecture>:<weights>' of open_clip, whose text encoder belongs to
            the model, where the model has none beside it.
        composite: how bands become an RGB image for an encoder of those: 'B04,B03,B02:3000', red, green and blue
            and the value that becomes white; None for the model's own.
        settings: the configuration of the model's run, if the run has not written it yet.

    Raises:
        UserError: there is no such model, or it cannot be loaded; the message lists what was looked for.
    """
    torch_device = _device(device)
    settled = settle_precision(precision, torch_device)
    if batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; expected 1 or more.")
    loaded = _load(str(source), settings)
    card = loaded.card if composite is None else replace(loaded.card, composite=parse_composite(composite))
    card = _with_sensor(card)
    image = _image_side(loaded.parts, card)
    image.network.to(torch_device).eval().requires_grad_(False)
    cast_layers(image.network, settled.name)
    words = loaded.text if text is None else TextSide.in_folder(lambda: text_folder(str(text)))
    return Model(
        name=card.name,
        source=str(source),
        card=card,
        image=image,
        digest=loaded.digest,
        device=torch_device,
        precision=settled,
        batch_size=batch_size,
        _words=words and replace(words, load=lambda: must_match(words.load(), image.dim, card.name)),
        parts=loaded.parts,
    )


def parse_composite(text: str) -> dict[str, Any]:
    """'B04,B03,B02:3000' as bands and divisor.

    Raises:
        UserError: the text has another form.
    """
    bands, _, white = text.partition(":")
    names = [name.strip() for name in bands.split(",")]
    try:
        divisor = float(white)
    except ValueError:
        divisor = 0.0
    if len(names) != 3 or not all(names) or divisor <= 0:
        raise UserError(
            f"--composite is '{text}'; expected the bands of red, green and blue and the value that becomes white, "
            "such as B04,B03,B02:3000."
        )
    return {"bands": tuple(names), "divisor": divisor}


def _device(name: str | None) -> torch.device:
    if name is None:
        return best_device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count()
        raise UserError(
            f"--device is '{name}', which this machine does not have ({count} GPUs); name cpu, or leave it out."
        ) from error
    return device


# --- by kind of source ------------------------------------------------------------------------------------------------


def _load(source: str, settings: Mapping[str, Any] | None) -> _Loaded:
    if source.startswith(HUB):
        return _folder(_from_hub(source.removeprefix(HUB)), settings)
    path = Path(source.removeprefix(LOCAL_DIR)).expanduser()
    if path.is_dir():
        return _folder(path, settings)
    if path.is_file():
        return _file(path, settings)
    if source in encoder_names():
        return _encoder(_fetched(source))
    names = encoder_names()
    raise UserError(
        f"MODEL is '{source}': no such file or folder, and no encoder of workflow/encoders ({', '.join(names)}). Name "
        "a run's folder (results/demo), a model in it (results/demo/align/ms-vit, results/demo/paint/<line>/patched), "
        f"an exported folder, local-dir:<folder> or hf-hub:<owner>/<name>.{did_you_mean(source, names)}"
    )


def _folder(path: Path, settings: Mapping[str, Any] | None) -> _Loaded:
    if card := read_card(path):
        return _exported(path, card)
    if (path / MARKER).is_file():
        return _encoder(path)
    if model := runs.model_of(path):
        return _of_run(model, settings)
    if (path / CONFIG_FILE).is_file():
        return _open_clip(path)
    if runs.is_run(path):
        return _of_run(runs.only_model(path), settings)
    if seeds := runs.seeds_in(path):
        raise UserError(f"{path} is a run with several seeds; name one of {', '.join(map(str, seeds))}.")
    contents = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    raise UserError(
        f"{path} is no model: it has none of bandbridge.json (exported), {CONFIG_FILE} (open_clip), {MARKER}, align/ "
        f"or paint/ (a run); it has {contents}."
    )


def _file(path: Path, settings: Mapping[str, Any] | None) -> _Loaded:
    if path.name in ("model.safetensors", WEIGHTS_FILE, "bandbridge.json", CONFIG_FILE):
        return _folder(path.parent, settings)
    model, card = published.load_checkpoint(path)
    parts = Parts(student=model) if isinstance(model, Student) else Parts(clip=model)
    return _Loaded(parts, card, checksum(path), None)


def _of_run(model: runs.RunModel, settings: Mapping[str, Any] | None) -> _Loaded:
    settings = settings or runs.settings_of(model.run)
    if model.kind == "clip":
        clip = load_clip(model.folder)
        card = runs.describe(model, {}, settings)
        return _Loaded(Parts(clip=clip), card, checksum(model.folder / WEIGHTS_FILE), TextSide(lambda: clip))
    weights = model.folder / "model.safetensors"
    student, metadata = load_student(weights), load_metadata(weights)
    facts = {"bands": student.spec.bands, "clip": metadata.get("clip"), "precision": metadata.get("precision")}
    card = runs.describe(model, facts, settings)
    folder = runs.part_of(model.run, "clip") / str(metadata.get("clip"))
    return _Loaded(Parts(student=student), card, checksum(weights), TextSide.in_folder(lambda: folder))


def _exported(path: Path, card: Card) -> _Loaded:
    if card.kind == "student":
        student, digest = exported.load_exported_student(path)
        text = path / exported.TEXT_FOLDER
        words = TextSide.in_folder(lambda: text) if text.is_dir() else None
        return _Loaded(Parts(student=student), card, digest, words)
    if card.kind == "encoder":
        return replace(_encoder(path), card=card)
    return replace(_open_clip(path), card=card)


def _open_clip(path: Path) -> _Loaded:
    clip = load_clip(path)
    card = Card(clip.name, "clip", clip.name)
    return _Loaded(Parts(clip=clip), card, checksum(path / WEIGHTS_FILE), TextSide(lambda: clip))


def _encoder(path: Path) -> _Loaded:
    encoder = load_encoder(path)
    facts = encoder.facts
    card = Card(
        name=facts.name,
        kind="encoder",
        title=facts.title,
        bands=facts.bands,
        product=facts.product,
        data={"licence": facts.licence, "attribution": facts.attribution, "cite": facts.cite},
    )
    clip = encoder.clip
    digest = "+".join(encoder.weights_digest.values())
    return _Loaded(Parts(encoder=encoder), card, digest, None if clip is None else TextSide(lambda: clip))


def _fetched(name: str) -> Path:
    """The folder of a published encoder, whose weights are fetched once into the cache."""
    from bandbridge.models.external.fetch import fetch_encoder

    folder = cache_folder() / "encoders" / name
    if not (folder / MARKER).is_file():
        archives = cache_folder() / "archives" / "encoders"
        facts = load_encoder_facts(name)
        source = facts.source
        if source and source.manual and not source.urls and not (archives / source.file).exists():
            raise UserError(
                f"{name}: {source.file} has to be copied manually. {source.manual.strip()}\nTo: "
                f"{archives / source.file}"
            )
        try:
            must_be_pinned(facts, archives)
        except UserError as error:
            where = archives / source.file if source else archives
            raise UserError(
                f"{error}\nOr download the file yourself and copy it to {where}: your copy is used."
            ) from error
        fetch_encoder(encoder_content(name), archives, folder)
    return folder


def _from_hub(name: str) -> Path:
    """The local copy of a model of the hub, fetched if it is missing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"hf-hub:{name} cannot be fetched ({error}). Without a network, copy the model's folder to this machine "
            "and name the folder."
        ) from error


# --- input of each kind of encoder ------------------------------------------------------------------------------------


def _with_sensor(card: Card) -> Card:
    """The card with the sensor of its bands, if it names none."""
    if card.sensor is not None or not (bands := card.bands or (card.composite or {}).get("bands", ())):
        return card
    for sensor in SENSORS.values():
        if set(bands) <= {band.name for band in sensor.bands}:
            return replace(
                card,
                sensor=sensor.title,
                units=card.units or sensor.units,
                resolution=card.resolution or sensor.resolution,
            )
    return card


def _image_side(parts: Parts, card: Card) -> ImageSide:
    if student := parts.student:
        spec = student.spec
        may_lack = () if spec.fill == "error" else tuple(band for band in spec.bands if band in SENSOR_BANDS)
        bands = BandSet(spec.bands, may_lack, card.units, card.resolution)
        return ImageSide(student, (bands,), student_inputs(student), student, spec.image_size, student.embed_dim)
    if clip := parts.clip:
        prepare, takes = _rgb_input(clip.inputs, card)
        return ImageSide(clip.visual, takes, prepare, clip.visual, clip.image_size, clip.embed_dim)
    assert parts.encoder is not None
    return _encoder_side(parts.encoder, card)


def _rgb_input(
    inputs: Callable[[Tensor], Tensor], card: Card
) -> tuple[Callable[[Tensor, tuple[str, ...]], Tensor], tuple[BandSet, ...]]:
    """How bands become the input of an RGB encoder: by the composite, if one is known."""
    if card.composite is None:
        return lambda pixels, bands: inputs(pixels), (PICTURE,)
    composite = Composite.from_facts(card.composite)

    def prepare(pixels: Tensor, bands: tuple[str, ...]) -> Tensor:
        return inputs(pixels if bands == RGB else views.rgb_composite(pixels, bands, composite))

    return prepare, (BandSet(composite.bands, (), card.units, card.resolution), PICTURE)


def _encoder_side(encoder: Encoder, card: Card) -> ImageSide:
    facts, clip = encoder.facts, encoder.clip
    if facts.is_rgb:
        prepare, takes = _rgb_input(clip.inputs if clip is not None else lambda rgb: image_input(facts, rgb), card)
    else:
        may_lack = facts.bands if facts.fill == "zero" else ()
        takes = (BandSet(facts.bands, may_lack, card.units, card.resolution),)

        def prepare(pixels: Tensor, bands: tuple[str, ...]) -> Tensor:
            return band_input(facts, pixels, bands)

    with torch.inference_mode():
        dim = encoder.encode(torch.zeros(1, facts.channels, facts.image_size, facts.image_size)).shape[1]
    network: nn.Module = encoder.model
    return ImageSide(network, takes, prepare, encoder.encode, facts.image_size, int(dim))
