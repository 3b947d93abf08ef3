"""Backbones and their checkpoints, against timm itself."""

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn
from tiny import same_weights

from bandbridge.base.errors import UserError
from bandbridge.catalogue.sensors import STUDENT_BANDS
from bandbridge.models.backbones import load_backbone, new_backbone, widen_rgb

TINY = {"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}
FOUR = ("B02", "B03", "B04", "B08")


def tiny(channels=4, **changes):
    return new_backbone("vit_tiny_patch16_224", channels, TINY | changes)


def saved(path, content):
    torch.save(content, path)
    return path


def under(prefix, weights):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def heads(prefix):
    return under(prefix, {"0.weight": torch.zeros(8, 16), "1.bias": torch.zeros(8)})


LAYOUTS = {
    "timm": lambda w: w | heads("head."),
    "torchgeo": lambda w: dict(w),
    "moco-v3": lambda w: {
        "epoch": 100,
        "arch": "vit_small",
        "state_dict": under("module.base_encoder.", w)
        | heads("module.base_encoder.head.")
        | under("module.momentum_encoder.", {name: value + 1 for name, value in w.items()})
        | heads("module.predictor."),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    },
    "moco-v2": lambda w: {"state_dict": under("module.encoder_q.", w) | under("module.encoder_k.", w)},
    "dino": lambda w: {
        "student": under("module.backbone.", {name: value + 1 for name, value in w.items()}),
        "teacher": under("backbone.", w) | heads("head.mlp."),
    },
    "open_clip": lambda w: under("visual.trunk.", w) | heads("text.transformer."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_backbone_is_found_in_the_layouts_of_training_programs(tmp_path, layout):
    weights = tiny().state_dict()
    trunk = tiny()
    load_backbone(trunk, saved(tmp_path / "checkpoint.pth", LAYOUTS[layout](weights)), FOUR)
    assert same_weights(trunk.state_dict(), weights)


@pytest.mark.slow
def test_the_true_vit_small_with_13_bands_embeds_as_timms_own(tmp_path):
    torch.manual_seed(5)
    theirs = timm.create_model("vit_small_patch16_224", in_chans=13).eval()
    content = {name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}
    trunk = new_backbone("vit_small_patch16_224", 13, {}).eval()
    report = load_backbone(trunk, saved(tmp_path / "moco.pth", content), STUDENT_BANDS)
    assert report == "moco.pth: 150 tensors loaded; none unused"
    values = torch.randn(1, 13, 224, 224)
    with torch.inference_mode():
        assert torch.equal(trunk(values), theirs.forward_head(theirs.forward_features(values), pre_logits=True))


def test_other_families_of_timm_take_any_bands(tmp_path):
    theirs = timm.create_model("resnet10t", in_chans=2).eval()
    trunk = new_backbone("resnet10t", 2, {}).eval()
    report = load_backbone(trunk, saved(tmp_path / "resnet.pth", theirs.state_dict()), ("VV", "VH"))
    assert report.endswith("2 not used (fc)")
    values = torch.randn(1, 2, 32, 32)
    assert torch.equal(trunk(values), theirs.forward_head(theirs.forward_features(values), pre_logits=True))


def test_a_backbone_that_does_not_fit_is_refused_with_the_names(tmp_path):
    weights = tiny().state_dict()
    del weights["norm.weight"]
    weights |= {"extra": torch.zeros(1), "blocks.0.norm1.weight": torch.zeros(32)}
    with pytest.raises(
        UserError, match=r"norm1\.weight is \(32,\), expected.*1 missing \(norm\.weight\); 1 unknown \(extra\)"
    ):
        load_backbone(tiny(), saved(tmp_path / "moco.pth", weights), FOUR)


def test_a_deeper_backbone_is_refused(tmp_path):
    path = saved(tmp_path / "moco.pth", under("module.base_encoder.", tiny(depth=2).state_dict()))
    with pytest.raises(UserError, match=r"12 unknown \(blocks\.1\.norm1"):
        load_backbone(tiny(), path, FOUR)


def test_an_rgb_checkpoint_for_more_bands_is_refused_with_the_way_out(tmp_path):
    path = saved(tmp_path / "rgb.pth", tiny(3).state_dict())
    with pytest.raises(UserError, match=r"patch_embed\.proj\.weight is \(16, 3, 8, 8\).*widen_rgb to true.* 4 bands"):
        load_backbone(tiny(), path, FOUR)


@pytest.mark.parametrize("options", [{}, {"no_embed_class": True}, {"reg_tokens": 2, "class_token": True}])
def test_position_embeddings_of_another_grid_are_resampled_and_reported(tmp_path, options):
    weights = tiny(img_size=48, **options).state_dict()
    trunk = tiny(**options)
    report = load_backbone(trunk, saved(tmp_path / "moco.pth", weights), FOUR)
    assert "pos_embed resampled from 6 x 6 to 4 x 4" in report
    prefix = trunk.pos_embed.shape[1] - 16
    expected = resample_abs_pos_embed(weights["pos_embed"], [4, 4], num_prefix_tokens=prefix)
    assert torch.equal(trunk.pos_embed, expected)
    assert torch.equal(trunk.pos_embed[:, :prefix], weights["pos_embed"][:, :prefix])


def test_resampled_positions_are_those_that_timm_loads_itself(tmp_path):
    weights = tiny(img_size=48).state_dict()
    path = saved(tmp_path / "moco.pth", weights)
    trunk = tiny()
    load_backbone(trunk, path, FOUR)
    assert same_weights(trunk.state_dict(), dict(checkpoint_filter_fn(weights, tiny())))


def test_positions_of_no_square_grid_are_another_shape(tmp_path):
    weights = tiny().state_dict() | {"pos_embed": torch.zeros(1, 12, 16)}
    with pytest.raises(UserError, match=r"pos_embed is \(1, 12, 16\), expected \(1, 17, 16\)"):
        load_backbone(tiny(), saved(tmp_path / "moco.pth", weights), FOUR)


def test_rgb_weights_go_to_their_bands_and_their_mean_to_the_others():
    weight = torch.tensor([3.0, 6.0, 12.0]).view(1, 3, 1, 1)
    widened = widen_rgb(weight, ("B02", "B03", "B04", "B08", "B11", "B12"))
    assert widened.flatten().tolist() == [6.0, 3.0, 1.5, 3.5, 3.5, 3.5]
    assert widened.sum() == weight.sum()


def test_red_green_and_blue_alone_are_only_put_in_order():
    weight = torch.randn(5, 3, 2, 2)
    assert torch.equal(widen_rgb(weight, ("B04", "B03", "B02")), weight)
    assert torch.equal(widen_rgb(weight, ("blue", "green", "red")), weight.flip(1))


def test_radar_gets_the_mean_of_the_colours():
    weight = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    assert widen_rgb(weight, ("VV", "VH")).flatten().tolist() == [4.5, 4.5]


@given(
    st.integers(0, 2**31),
    st.permutations(STUDENT_BANDS).flatmap(lambda b: st.integers(0, 10).map(lambda n: tuple(sorted(b[:n])))),
)
def test_equal_bands_activate_as_a_grey_picture_did(seed, others):
    torch.manual_seed(seed)
    weight, grey = torch.randn(4, 3, 2, 2), torch.randn(1, 1, 6, 6)
    bands = ("B04", "B03", "B02", *(band for band in others if band not in ("B02", "B03", "B04")))
    wide = torch.nn.functional.conv2d(grey.expand(1, len(bands), 6, 6), widen_rgb(weight, bands))
    torch.testing.assert_close(wide, torch.nn.functional.conv2d(grey.expand(1, 3, 6, 6), weight), rtol=1e-4, atol=1e-5)


def test_a_clip_like_rgb_checkpoint_is_widened_to_all_bands(tmp_path):
    small = {"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}
    theirs = timm.create_model("vit_base_patch16_clip_224", num_classes=8, **small)
    trunk = new_backbone("vit_base_patch16_clip_224", 13, small)
    report = load_backbone(trunk, saved(tmp_path / "clip.pth", theirs.state_dict()), STUDENT_BANDS, widen=True)
    assert "patch_embed.proj.weight widened from RGB to 13 bands" in report
    values = torch.randn(2, 1, 32, 32)
    wide, rgb = trunk.eval()(values.expand(2, 13, 32, 32)), values.expand(2, 3, 32, 32)
    expected = theirs.eval().forward_head(theirs.forward_features(rgb), pre_logits=True)
    torch.testing.assert_close(wide, expected, rtol=1e-4, atol=1e-5)


def test_widening_a_checkpoint_of_all_bands_is_refused(tmp_path):
    path = saved(tmp_path / "moco.pth", tiny().state_dict())
    with pytest.raises(UserError, match=r"widen_rgb is true, but patch_embed\.proj\.weight is \(16, 4, 8, 8\)"):
        load_backbone(tiny(), path, FOUR, widen=True)
