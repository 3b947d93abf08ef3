"""Encoders other than our own: loaded, fed, and run over stores."""

import copy

import numpy as np
import open_clip
import pytest
import timm
import torch
from small_store import COUNTS, load_script, make_store
from tiny import tiny_clip
from torch import nn
from torchvision import transforms
from torchvision.transforms import functional as F

from bandbridge.base.errors import UserError
from bandbridge.base.files import checksum
from bandbridge.catalogue.datasets import load_nomenclature, prompt_set
from bandbridge.catalogue.encoders import MARKER, encoder_content, encoder_names, facts_of, load_encoder_facts
from bandbridge.models import clip as clips
from bandbridge.models import preprocessing as views
from bandbridge.models.backbones import new_backbone
from bandbridge.models.clip import load_clip
from bandbridge.models.external.fetch import fetch_encoder
from bandbridge.models.external.inputs import band_input, image_input, normalise
from bandbridge.models.external.load import MODEL_FILE, PATCH_FILE, PATCH_WEIGHT, load
from bandbridge.models.external.satmae import new_satmae
from bandbridge.models.text_heads import build_head
from bandbridge.models.weights import load_weights
from bandbridge.store.embeddings import load_embeddings

TINY_VIT = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}
RECIPE = {"batch_size": 5, "precision": "float32"}


pytestmark = pytest.mark.usefixtures("tiny_architectures")


@pytest.fixture(scope="module")
def bands_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("s2"), "eurosat_ms")


@pytest.fixture(scope="module")
def pictures_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("rgb"), "resisc45", side=20)


def content_of(name, size=16, **values):
    content = copy.deepcopy(encoder_content(name))
    content["input"].update(size=size, **({"resize_to": size + 2} if "resize_to" in content["input"] else {}))
    return content | values


def widened_clip(channels=10, seed=0):
    """A tiny CLIP whose patch embedding sees that many bands."""
    clip = tiny_clip(seed)
    old = clip.model.visual.conv1
    clip.model.visual.conv1 = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, bias=False)
    return clip.model


def fetched(content, tmp_path, state):
    path = tmp_path / f"{content['name']}.pt"
    torch.save(state, path)
    directory = tmp_path / "encoders" / content["name"]
    fetch_encoder(content, tmp_path, directory, checkpoint=str(path))
    return directory


def stored(store, split="test", count=4):
    return torch.from_numpy(store.split(split).read(np.arange(count)))


# --- what a network is fed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", encoder_names())
def test_an_architecture_of_the_catalogue_is_one_that_its_library_has(name):
    facts = load_encoder_facts(name)
    if facts.kind == "timm":
        assert timm.is_model(facts.architecture)
    elif facts.kind == "open_clip":
        assert facts.architecture in open_clip.list_models()


def test_pictures_are_prepared_as_torchvision_does():
    facts = load_encoder_facts("dinov2-vit-b-14")
    recipe = facts.normalisation
    rgb = torch.randint(0, 256, (2, 3, 40, 60), dtype=torch.uint8)
    clip_like = views.clip_input(rgb, 224, recipe.mean, recipe.std)
    assert torch.equal(image_input(facts, rgb), clip_like)
    stretched = facts_of(content_of("dinov2-vit-b-14", 24) | {"input": input_of("dinov2-vit-b-14", 24, "square", 30)})
    resized = F.resize(rgb.float(), [30, 30], transforms.InterpolationMode.BICUBIC, antialias=True).clamp(0, 255) / 255
    expected = F.normalize(F.center_crop(resized, [24, 24]), recipe.mean, recipe.std)
    assert torch.allclose(image_input(stretched, rgb), expected, atol=1e-5)


def input_of(name, size, resize, resize_to):
    return {**encoder_content(name)["input"], "size": size, "resize": resize, "resize_to": resize_to}


def test_llama3_ms_clip_sees_standardised_bands_in_its_own_order(bands_store):
    facts = load_encoder_facts("llama3-ms-clip-base")
    pixels = stored(bands_store)
    values = band_input(facts, pixels, bands_store.bands)
    recipe = facts.normalisation
    own_order = torch.stack([pixels[:, bands_store.bands.index(band)].float() for band in facts.bands], dim=1)
    published = transforms.Compose(
        [
            transforms.Resize([224], transforms.InterpolationMode.BICUBIC, antialias=True),
            transforms.CenterCrop(224),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )
    assert torch.allclose(values, published(own_order), atol=1e-4)


def test_satmae_sees_two_deviations_as_levels_of_eight_bits_then_resized(bands_store):
    facts = load_encoder_facts("satmae-vit-l-8")
    pixels = stored(bands_store)
    own_order = torch.stack([pixels[:, bands_store.bands.index(band)].float() for band in facts.bands], dim=1).numpy()
    mean = np.array(facts.normalisation.mean, np.float32).reshape(-1, 1, 1)
    std = np.array(facts.normalisation.std, np.float32).reshape(-1, 1, 1)
    levels = np.clip((own_order - (mean - 2 * std)) / (4 * std) * 255, 0, 255).astype(np.uint8)
    stretched = normalise(torch.from_numpy(own_order), facts.normalisation).numpy() * 255
    # A value on the edge of a level may fall to either side of it.
    assert np.abs(stretched - levels).max() < 1.01
    assert np.mean(np.abs(stretched - levels) > 0.01) < 0.001
    published = transforms.Compose(
        [transforms.Resize(109, transforms.InterpolationMode.BICUBIC, antialias=True), transforms.CenterCrop(96)]
    )
    values = band_input(facts, pixels, bands_store.bands)
    assert values.shape == (4, 10, 96, 96)
    assert torch.allclose(values, published(torch.from_numpy(levels).float() / 255), atol=1.5 / 255)


def test_dofa_sees_digital_numbers_as_eight_bit_pictures():
    facts = load_encoder_facts("dofa-vit-b-16")
    pixels = torch.full((1, 9, 4, 4), 8160.0)
    values = band_input(facts, pixels, facts.bands)[0, :, 0, 0]
    mean, std = torch.tensor(facts.normalisation.mean), torch.tensor(facts.normalisation.std)
    assert torch.allclose(values, (255 - mean) / std, atol=1e-3)


@pytest.mark.parametrize(("name", "band"), [("ssl4eo-moco-vit-s-16", "B10"), ("llama3-ms-clip-base", "B08")])
def test_a_band_that_the_data_lack_is_zero_after_normalisation(bands_store, name, band):
    facts = load_encoder_facts(name)
    delivered = [other for other in bands_store.bands if other != band]
    kept = [bands_store.bands.index(other) for other in delivered]
    values = band_input(facts, stored(bands_store)[:, kept], delivered)
    at = facts.bands.index(band)
    assert not values[:, at].any()
    everything = band_input(facts, stored(bands_store), bands_store.bands)
    others = [number for number in range(facts.channels) if number != at]
    assert torch.equal(values[:, others], everything[:, others])
    assert everything[:, at].any()


# --- loaded and run ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clip_for_ten_bands_embeds_as_the_widened_model_does(tmp_path, bands_store):
    model = widened_clip()
    # As published: the same model under three names, and a temperature beside it.
    state = {"temperature": torch.tensor(0.07)}
    for prefix in ("clip_base_model.model.", "text_encoder.model.", "image_encoder.model."):
        state |= {prefix + name: value for name, value in model.state_dict().items()}
    content = content_of("llama3-ms-clip-base", architecture="tiny")
    encoder = load(fetched(content, tmp_path, state))
    seen = encoder.view(bands_store)
    values = encoder.inputs(stored(bands_store), seen)
    with torch.inference_mode():
        assert torch.allclose(encoder.encode(values), model.encode_image(values), atol=1e-6)
    assert values.shape == (4, 10, 16, 16)


@pytest.mark.slow
def test_the_directory_of_a_clip_for_bands_serves_heads_as_any_clips(tmp_path):
    model = widened_clip()
    state = {f"clip_base_model.model.{name}": value for name, value in model.state_dict().items()}
    directory = fetched(content_of("llama3-ms-clip-base", architecture="tiny"), tmp_path, state)
    clip = load_clip(directory)
    tokens = clip.tokenizer(["a river", "a forest"])
    with torch.inference_mode():
        assert torch.equal(clip.model.encode_text(tokens), model.encode_text(tokens))
    assert not clip.model.visual.conv1.weight.any()  # nobody takes it for an encoder of pictures
    head = build_head(clip, load_nomenclature("eurosat-10"), prompt_set(["a photo of {}."]))
    assert head.weights.shape == (10, 8)
    assert torch.equal(load_weights(directory / PATCH_FILE)[PATCH_WEIGHT], model.visual.conv1.weight)


def test_a_patch_embedding_of_other_bands_is_refused(tmp_path):
    state = {f"clip_base_model.model.{name}": value for name, value in widened_clip(12).state_dict().items()}
    with pytest.raises(
        UserError, match=r"visual\.conv1\.weight is \(16, 12, 8, 8\); expected one of the 10 input\.bands"
    ):
        fetched(content_of("llama3-ms-clip-base", architecture="tiny"), tmp_path, state)


def test_a_checkpoint_without_the_prefix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"weights\.prefix 'clip_base_model\.model\.'; the first is "):
        fetched(content_of("llama3-ms-clip-base", architecture="tiny"), tmp_path, widened_clip().state_dict())


def test_a_timm_encoder_is_loaded_without_its_classifier(tmp_path, bands_store):
    torch.manual_seed(0)
    model = new_backbone("vit_tiny_patch16_224", 13, TINY_VIT).eval()
    state = {**model.state_dict(), "head.weight": torch.zeros(5, 16), "head.bias": torch.zeros(5)}
    content = content_of("ssl4eo-dino-vit-s-16", architecture="vit_tiny_patch16_224", options=TINY_VIT)
    encoder = load(fetched(content, tmp_path, state))
    values = encoder.inputs(stored(bands_store), encoder.view(bands_store))
    with torch.inference_mode():
        assert torch.equal(encoder.encode(values), model(values))
    assert (encoder.text_space, encoder.clip) == ("", None)


@pytest.mark.slow
def test_an_encoder_of_pictures_sees_photos_and_composites(tmp_path, bands_store, pictures_store):
    content = content_of("remoteclip-vit-b-32", architecture="tiny")
    encoder = load(fetched(content, tmp_path, tiny_clip().model.state_dict()))
    for store in (bands_store, pictures_store):
        seen, pixels = encoder.view(store), stored(store)
        rgb = views.rgb_image(pixels, seen.modality, seen.bands, seen.composite)
        values = encoder.inputs(pixels, seen)
        assert torch.equal(
            values, views.clip_input(rgb, 16, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        )


@pytest.mark.slow
def test_what_a_store_lacks_or_has_otherwise_is_said_once(tmp_path, bands_store, capsys):
    state = {f"clip_base_model.model.{name}": value for name, value in widened_clip().state_dict().items()}
    encoder = load(fetched(content_of("llama3-ms-clip-base", architecture="tiny"), tmp_path, state))
    capsys.readouterr()
    encoder.view(bands_store)
    assert capsys.readouterr().out == "llama3-ms-clip-base was trained on L2A; eurosat_ms is L1C.\n"


def test_a_directory_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"encoder\.json is missing"):
        load(tmp_path)


# --- SatMAE -----------------------------------------------------------------------------------------------------------


def satmae(depth=1):
    """The published network, but for its depth, and a checkpoint of its pretraining."""
    content = content_of("satmae-vit-l-8", size=96)
    content["input"]["resize_to"] = 109
    content["options"] = {**content["options"], "depth": depth}
    facts = facts_of(content)
    torch.manual_seed(0)
    model = new_satmae(facts.bands, facts.image_size, facts.options).eval()
    for value in model.parameters():
        nn.init.normal_(value, std=0.02)
    state = model.state_dict()
    with torch.no_grad():
        state["channel_cls_embed"].zero_()
    published = {name: value for name, value in state.items() if name != "channel_cls_embed"}
    published |= {"mask_token": torch.zeros(1, 1, 512), "decoder_embed.weight": torch.zeros(512, 1024)}
    return content, model, published


def test_satmae_has_the_names_and_shapes_of_the_published_checkpoint():
    _, _, published = satmae()
    shapes = {name: tuple(value.shape) for name, value in published.items()}
    assert shapes["pos_embed"] == (1, 145, 768)
    assert shapes["channel_embed"] == (1, 3, 256)
    assert shapes["cls_token"] == (1, 1, 1024)
    assert shapes["patch_embed.0.proj.weight"] == (1024, 4, 8, 8)
    assert shapes["patch_embed.2.proj.weight"] == (1024, 2, 8, 8)
    block = {name.removeprefix("blocks.0.") for name in shapes if name.startswith("blocks.0.")}
    layers = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert block == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert shapes["blocks.0.attn.qkv.weight"] == (3072, 1024)


@pytest.mark.slow
def test_satmae_is_loaded_from_a_pretraining_checkpoint(tmp_path, bands_store, capsys):
    content, model, published = satmae()
    encoder = load(fetched(content, tmp_path, {"model": published, "epoch": 199}))
    assert "2 of the decoder or a classifier not used" in capsys.readouterr().out
    values = encoder.inputs(stored(bands_store, count=2), encoder.view(bands_store))
    with torch.inference_mode():
        assert torch.equal(encoder.encode(values), model(values))
        assert encoder.encode(values).shape == (2, 1024)


@pytest.mark.slow
def test_satmaes_groups_see_their_own_bands_and_places():
    _, model, _ = satmae()
    values = torch.randn(1, 10, 96, 96)
    seen = []
    for number, embed in enumerate(model.patch_embed):
        embed.register_forward_hook(lambda _, group, __, number=number: seen.append((number, group[0])))
    tokens = []
    model.blocks.register_forward_pre_hook(lambda _, group: tokens.append(group[0]))
    last = []
    model.norm.register_forward_hook(lambda _, __, group: last.append(group))
    with torch.inference_mode():
        output = model(values)
        expected = [[0, 1, 2, 6], [3, 4, 5, 7], [8, 9]]
        assert all(torch.equal(group, values[:, expected[number]]) for number, group in seen)
        assert tokens[0].shape == (1, 1 + 3 * 144, 1024)
        # The third group's token of the fifth place, after the class token and two groups of 144.
        place = torch.cat([model.pos_embed[0, 5], model.channel_embed[0, 2]])
        patch = model.patch_embed[2](values[:, expected[2]])[0, 4]
        assert torch.allclose(tokens[0][0, 1 + 2 * 144 + 4], patch + place)
        assert torch.allclose(output, last[0][:, 1:].mean(dim=1))  # all tokens but the class token
        assert torch.allclose(
            tokens[0][0, 0], model.cls_token[0, 0] + nn.functional.pad(model.pos_embed[0, 0], (0, 256))
        )


@pytest.mark.slow
def test_a_checkpoint_of_another_depth_does_not_fit_satmae(tmp_path):
    content, _, published = satmae()
    content["options"]["depth"] = 2
    with pytest.raises(UserError, match=r"does not fit SatMAE's network: 12 missing \(blocks\.1\.norm1\.weight"):
        fetched(content, tmp_path, published)


# --- the scripts ------------------------------------------------------------------------------------------------------


def run_scripts(content, checkpoint, store, root, splits):
    marker = root / "encoders" / content["name"] / MARKER
    load_script("fetch_encoder").main(content, root / "archives", marker, checkpoint)
    paths = [root / "embeddings" / content["name"] / f"{store.attrs['dataset']}.{split}.zarr" for split in splits]
    markers = [path / "zarr.json" for path in paths]
    load_script("embed_encoder").main(marker, store.path / "zarr.json", RECIPE, splits, markers, 1)
    return marker.parent, [load_embeddings(path) for path in paths]


@pytest.mark.slow
def test_the_scripts_embed_a_store_of_pictures(tmp_path, pictures_store):
    model = tiny_clip().model
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    content = content_of("remoteclip-vit-b-32", architecture="tiny")
    directory, results = run_scripts(content, tmp_path / "mine.pt", pictures_store, tmp_path, ["val", "test"])
    for split, result in zip(["val", "test"], results, strict=True):
        samples = pictures_store.split(split)
        values = load(directory).inputs(torch.from_numpy(samples.read(np.arange(COUNTS[split]))), pictures_store)
        with torch.inference_mode():
            assert np.allclose(result.embedding, model.encode_image(values).numpy(), atol=1e-5)
        assert result.ids.tolist() == samples.ids.tolist()
        assert {key: value for key, value in result.attrs.items() if key not in ("bandbridge_version", "digest")} == {
            "encoder": "remoteclip-vit-b-32",
            "clip": "remoteclip-vit-b-32",
            "alpha": None,
            "dataset": "resisc45",
            "split": split,
            "modality": "rgb",
            "store_digest": pictures_store.digest,
            "weights_digest": {"open_clip": checksum(directory / clips.WEIGHTS_FILE)},
            "precision": "float32 (as configured)",
        }
    assert not list((tmp_path / "embeddings" / ".partial").iterdir())


def test_the_scripts_embed_a_store_of_bands_with_an_encoder_without_text(tmp_path, bands_store):
    torch.save(new_backbone("vit_tiny_patch16_224", 13, TINY_VIT).state_dict(), tmp_path / "vit.pth")
    content = content_of("ssl4eo-moco-vit-s-16", architecture="vit_tiny_patch16_224", options=TINY_VIT)
    directory, (result,) = run_scripts(content, tmp_path / "vit.pth", bands_store, tmp_path, ["test"])
    assert (result.attrs["clip"], result.attrs["alpha"], result.attrs["modality"]) == ("", None, "s2")
    assert result.attrs["weights_digest"] == {"encoder": checksum(directory / MODEL_FILE)}
    assert result.embedding.shape == (COUNTS["test"], 16)


def test_the_script_refuses_a_store_of_pictures_for_an_encoder_of_bands(tmp_path, pictures_store):
    torch.save(new_backbone("vit_tiny_patch16_224", 13, TINY_VIT).state_dict(), tmp_path / "vit.pth")
    content = content_of("ssl4eo-moco-vit-s-16", architecture="vit_tiny_patch16_224", options=TINY_VIT)
    with pytest.raises(UserError, match=r"ssl4eo-moco-vit-s-16 sees the bands B01 .*; resisc45 has rgb"):
        run_scripts(content, tmp_path / "vit.pth", pictures_store, tmp_path, ["test"])
