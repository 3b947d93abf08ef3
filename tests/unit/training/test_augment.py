"""Random changes to training pictures, against torchvision's."""

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, ks_2samp
from tiny import draws
from torchvision.transforms import (
    ColorJitter,
    Compose,
    GaussianBlur,
    Lambda,
    RandomApply,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
)
from torchvision.transforms import functional as tv

from bandbridge.training import augment
from bandbridge.training.augment import Crops, blur, crop, draw_crops, jitter, recolour, rgb_view, shift_and_zoom
from bandbridge.training.recipes import Augmentation

N = 4000
PAPER = Augmentation(
    crop_scale=(0.9, 1.0),
    flip=0.5,
    jitter=(0.4, 0.4, 0.4),
    jitter_probability=0.8,
    greyscale_probability=0.2,
    blur_probability=0.4,
)


def highest(draws, name, low, high, *shape):
    """In place of random numbers: the largest."""
    return torch.full((len(draws), *shape), high)


def pictures(n, height=12, width=12, channels=3):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(7))


def boxes(*rows, height, width, flips=(False, False)):
    top, left, tall, wide = torch.tensor(rows, dtype=torch.float32).T
    down, across = (torch.full((len(rows),), flip) for flip in flips)
    return Crops(height, width, top, left, tall, wide, down, across)


@pytest.mark.parametrize("size", [8, 24])
def test_a_crop_is_torchvisions_resized_crop(size):
    values = pictures(3, 20, 30)
    rows = [(0, 0, 20, 30), (3, 5, 10, 12), (11, 0, 9, 30)]
    cut = crop(values, boxes(*rows, height=20, width=30), size)
    for row, picture, result in zip(rows, values, cut, strict=True):
        expected = tv.resized_crop(picture, *row, [size, size], tv.InterpolationMode.BICUBIC, antialias=True)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_flips_turn_the_result():
    values = pictures(1, 10, 10)
    plain = crop(values, boxes((1, 2, 7, 6), height=10, width=10), 16)
    turned = crop(values, boxes((1, 2, 7, 6), height=10, width=10, flips=(True, True)), 16)
    assert torch.equal(turned, plain.flip(-1, -2))


def test_the_whole_picture_in_its_own_size_stays_as_it_is():
    values = pictures(2, 9, 9)
    torch.testing.assert_close(crop(values, boxes((0, 0, 9, 9), (0, 0, 9, 9), height=9, width=9), 9), values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "scale"), [(64, 64, (0.9, 1.0)), (64, 64, (0.3, 1.0)), (40, 90, (0.8, 1.0))]
)
def test_crops_are_drawn_as_torchvision_draws_them(height, width, scale):
    crops = draw_crops(draws(N), height, width, scale, 0.5)
    torch.manual_seed(1)
    picture = torch.zeros(1, height, width)
    theirs = [RandomResizedCrop.get_params(picture, list(scale), [3 / 4, 4 / 3]) for _ in range(N)]
    expected = torch.tensor(theirs, dtype=torch.float32).T
    for name, other in zip(("top", "left", "rows", "columns"), expected, strict=True):
        values = getattr(crops, name)
        spread = other.std().item() * 4 / N**0.5 + 1e-6
        assert values.mean().item() == pytest.approx(other.mean().item(), abs=1.5 * spread), name
        assert values.std().item() == pytest.approx(other.std().item(), abs=1.5 * spread), name
        np.testing.assert_allclose(
            np.quantile(values, [0.05, 0.5, 0.95]), np.quantile(other, [0.05, 0.5, 0.95]), atol=1.5
        )


def test_drawn_crops_pass_the_kolmogorov_smirnov_test():
    crops = draw_crops(draws(N), 120, 120, (0.9, 1.0), 0.5)
    torch.manual_seed(1)
    picture = torch.zeros(1, 120, 120)
    theirs = [RandomResizedCrop.get_params(picture, [0.9, 1.0], [3 / 4, 4 / 3]) for _ in range(N)]
    for name, other in zip(("top", "left", "rows", "columns"), torch.tensor(theirs).T, strict=True):
        assert ks_2samp(getattr(crops, name), other).pvalue > 0.01, name


def test_a_crop_of_a_coarser_picture_shows_the_same_ground():
    crops = draw_crops(draws(50), 24, 24, (0.1, 0.5), 0.5)
    across = torch.arange(24.0).view(1, 1, 1, 24).expand(50, 2, 24, 24) / 24
    fine = torch.cat([across[:, :1], across[:, 1:].mT], dim=1)
    coarse = F.avg_pool2d(fine, 4)
    cut = crop(coarse, crops.on(6, 6), 16)
    # Half a coarse pixel at the edges of the crop, which no pixel lies beyond.
    assert (cut - crop(fine, crops, 16)).abs().max() < 0.5 / 6
    assert (cut - crop(fine, crops, 16)).abs().mean() < 0.02
    assert crops.on(24, 24) is crops


def test_crops_of_less_than_a_pixel_have_a_pixel():
    crops = draw_crops(draws(200), 64, 64, (0.0001, 0.0005), 0.5).on(3, 3)
    cut = crop(torch.ones(200, 1, 3, 3), crops, 4)
    torch.testing.assert_close(cut, torch.ones(200, 1, 4, 4))


def test_crops_lie_inside_the_picture_and_flips_are_even():
    crops = draw_crops(draws(N), 30, 50, (0.2, 1.0), 0.5)
    assert (crops.top >= 0).all()
    assert (crops.left >= 0).all()
    assert (crops.top + crops.rows <= 30).all()
    assert (crops.left + crops.columns <= 50).all()
    assert crops.flip_rows.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (crops.flip_rows == crops.flip_columns).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_jitter_is_torchvisions_in_distribution():
    picture = pictures(1)
    jittered = jitter(picture.expand(N, -1, -1, -1), (0.4, 0.4, 0.4), 1.0, draws(N))
    torch.manual_seed(1)
    transform = ColorJitter(0.4, 0.4, 0.4)
    expected = torch.stack([transform(picture[0]) for _ in range(N)])
    torch.testing.assert_close(jittered.mean(dim=0), expected.mean(dim=0), atol=0.02, rtol=0)
    torch.testing.assert_close(jittered.std(dim=0), expected.std(dim=0), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("which", "adjust"), [(0, tv.adjust_brightness), (1, tv.adjust_contrast), (2, tv.adjust_saturation)]
)
def test_a_single_jitter_is_torchvisions_adjustment(monkeypatch, which, adjust):
    monkeypatch.setattr(
        augment, "_uniform", lambda draws, name, low, high, *shape: torch.full((len(draws), *shape), high)
    )
    strengths = tuple(0.3 if index == which else 0.0 for index in range(3))
    values = pictures(2)
    torch.testing.assert_close(jitter(values, strengths, 1.0, draws(2)), adjust(values, 1.3), atol=1e-5, rtol=0)


def test_the_three_jitters_come_in_each_order_and_are_torchvisions_in_that_order(monkeypatch):
    monkeypatch.setattr(
        augment, "_uniform", lambda draws, name, low, high, *shape: torch.full((len(draws), *shape), high)
    )
    picture = pictures(1)
    jittered = jitter(picture.expand(N, -1, -1, -1), (0.4, 0.3, 0.2), 1.0, draws(N))
    adjust = ((tv.adjust_brightness, 1.4), (tv.adjust_contrast, 1.3), (tv.adjust_saturation, 1.2))
    counts = []
    for order in permutations(adjust):
        expected = picture
        for change, factor in order:
            expected = change(expected, factor)
        counts.append(int((jittered - expected).abs().amax(dim=(1, 2, 3)).lt(1e-5).sum()))
    assert sum(counts) == N
    assert chisquare(counts).pvalue > 0.01


def test_what_is_drawn_for_colour_and_blur_passes_the_kolmogorov_smirnov_test(monkeypatch):
    drawn = []
    draw = augment._uniform
    monkeypatch.setattr(augment, "_uniform", lambda *args: drawn.append(draw(*args)) or drawn[-1])
    rgb_view((pictures(1, 8, 8) * 255).to(torch.uint8).expand(N, -1, -1, -1), 8, PAPER, draws(N))
    *_, brightness, contrast, saturation, sigma = drawn
    torch.manual_seed(1)
    factors = [ColorJitter(0.4, 0.4, 0.4).get_params([0.6, 1.4], [0.6, 1.4], [0.6, 1.4], None)[1:4] for _ in range(N)]
    for own, theirs in zip((brightness, contrast, saturation), torch.tensor(factors).T, strict=True):
        assert ks_2samp(own, theirs).pvalue > 0.01
    assert ks_2samp(sigma, [GaussianBlur((3, 7), (0.1, 2.0)).get_params(0.1, 2.0) for _ in range(N)]).pvalue > 0.01


@pytest.mark.slow
def test_a_view_is_the_papers_chain_of_torchvision_in_distribution():
    count = 1500
    rgb = (pictures(1, 20, 20) * torch.tensor([0.9, 0.6, 0.3]).view(3, 1, 1) * 255).to(torch.uint8)
    view = rgb_view(rgb.expand(count, -1, -1, -1), 12, PAPER, draws(count))
    torch.manual_seed(1)
    chain = Compose(
        [
            RandomResizedCrop(12, (0.9, 1.0), interpolation=tv.InterpolationMode.BICUBIC),
            Lambda(lambda values: values.clamp(0, 1)),
            RandomHorizontalFlip(),
            RandomVerticalFlip(),
            RandomApply([ColorJitter(0.4, 0.4, 0.4)], 0.8),
            RandomGrayscale(0.2),
            RandomApply([GaussianBlur((3, 7), (0.1, 2.0))], 0.4),
        ]
    )
    expected = torch.stack([chain(rgb[0] / 255) for _ in range(count)])
    for measure in (
        lambda values: values.mean(dim=(1, 2, 3)),
        lambda values: values.std(dim=(1, 2, 3)),
        lambda values: (values[:, 0] - values[:, 2]).mean(dim=(1, 2)),
        lambda values: values.diff(dim=-1).abs().mean(dim=(1, 2, 3)),
        lambda values: values.diff(dim=-2).abs().mean(dim=(1, 2, 3)),
        lambda values: values[:, 1, 0, 0],
    ):
        assert ks_2samp(measure(view), measure(expected)).pvalue > 0.01


@pytest.mark.parametrize("change", ["view", "crop", "shift"])
def test_parts_of_a_batch_change_as_they_do_in_the_whole(change):
    rgb = (pictures(11, 20, 20) * 255).to(torch.uint8)

    def changed(rows, drawn):
        if change == "view":
            return rgb_view(rows, 16, PAPER, drawn)
        if change == "crop":
            return crop(rows / 255, draw_crops(drawn, 20, 20, (0.3, 1.0), 0.5), 16)
        return shift_and_zoom(recolour(rows, 0.5, drawn) / 255, 0.1, 0.1, drawn)

    whole = changed(rgb, draws(11))
    for begin, end in ((0, 4), (4, 7), (7, 11)):
        part = changed(rgb[begin:end], draws(11).rows(begin, end))
        torch.testing.assert_close(part, whole[begin:end], rtol=0, atol=1e-6)


def test_blur_is_torchvisions_with_a_sigma_each():
    values = pictures(3)
    sigma = torch.tensor([0.1, 0.8, 2.0])
    for picture, own, blurred in zip(values, sigma.tolist(), blur(values, sigma), strict=True):
        torch.testing.assert_close(blurred, tv.gaussian_blur(picture, [3, 7], [own, own]), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_each_change_comes_as_often_as_asked():
    values = pictures(1, 16, 16).expand(N, -1, -1, -1)
    rgb = (values * 255).to(torch.uint8)
    still = {"crop_scale": (1.0, 1.0), "flip": 0.0, "jitter": (0.0, 0.0, 0.0), "jitter_probability": 0.0}
    unchanged = rgb.float() / 255

    def share(**probabilities):
        recipe = Augmentation(**still, **({"greyscale_probability": 0.0, "blur_probability": 0.0} | probabilities))
        return (rgb_view(rgb, 16, recipe, draws(N)) - unchanged).abs().amax(dim=(1, 2, 3)).gt(1e-6).float().mean()

    assert share() == 0
    assert share(greyscale_probability=0.2).item() == pytest.approx(0.2, abs=0.02)
    # A sigma below 0.19, a twentieth of them, changes nothing that float32 shows.
    assert share(blur_probability=0.4).item() == pytest.approx(0.38, abs=0.025)


def test_a_view_is_a_picture_again_and_one_seed_gives_one_view():
    rgb = (pictures(6, 20, 20) * 255).to(torch.uint8)
    one, again, other = (rgb_view(rgb, 16, PAPER, draws(6, seed)) for seed in (0, 0, 1))
    assert one.shape == (6, 3, 16, 16)
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_shift_and_zoom_move_by_no_more_than_asked():
    values = torch.zeros(200, 1, 40, 40)
    values[:, :, 18:22, 18:22] = 1
    moved = shift_and_zoom(values, 0.1, 0.0, draws(200))
    position = torch.arange(40.0) + 0.5
    mass = moved[:, 0].sum(dim=(1, 2))
    centre = (moved[:, 0].sum(dim=2) * position).sum(dim=1) / mass - 20
    assert 3 < centre.abs().max() <= 4.1  # a tenth of 40 pixels
    area = shift_and_zoom(values, 0.0, 0.2, draws(200))[:, 0].sum(dim=(1, 2)) / 16
    assert area.min() == pytest.approx(1 / 1.2**2, rel=0.1)
    assert area.max() == pytest.approx(1 / 0.8**2, rel=0.1)
    torch.testing.assert_close(shift_and_zoom(values, 0.0, 0.0, draws(200)), values)


def test_recoloured_images_have_two_colours_and_the_shades_between_them():
    grey = torch.arange(0, 256, 51, dtype=torch.uint8).view(1, 1, 1, 6).expand(300, 3, 1, 6).contiguous()
    coloured = recolour(grey, 1.0, draws(300))
    assert coloured.dtype == torch.uint8
    steps = coloured[..., 1:].float() - coloured[..., :-1].float()
    assert (steps - steps.mean(dim=-1, keepdim=True)).abs().max() < 1.1  # evenly spaced but for rounding
    contrast = (coloured[..., -1].float() - coloured[..., 0].float()).abs().mean(dim=(1, 2)) / 255
    assert contrast.min() > 0.14
    unchanged = (coloured == grey).all(dim=(1, 2, 3)).float().mean()
    assert unchanged < 0.1  # those whose colours were too much alike
    assert 0.4 < (recolour(grey, 0.5, draws(300)) == grey).all(dim=(1, 2, 3)).float().mean() < 0.62
    assert torch.equal(recolour(grey, 0.0, draws(300)), grey)


def test_a_jitter_that_is_not_drawn_changes_nothing():
    values = pictures(5)
    assert torch.equal(jitter(values, (0.4, 0.4, 0.4), 0.0, draws(5)), values)
    assert F.mse_loss(jitter(values, (0.4, 0.4, 0.4), 1.0, draws(5)), values) > 1e-3
