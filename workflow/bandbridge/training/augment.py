"""Random changes to a batch, on its device, each sample with its own draw; equal in distribution to torchvision's.

Draws are made on the CPU, so that one seed gives the same changes on every device. A crop, its resize and its flips are
one step: an antialiased bicubic resize is linear and separable, so each sample has one matrix for its rows and one for
its columns.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bandbridge.models.device import sent
from bandbridge.training.draws import Draws
from bandbridge.training.recipes import Augmentation

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
BLUR_KERNEL = (7, 3)  # rows, columns: the kernel that the paper's code asks torchvision for
BLUR_SIGMA = (0.1, 2.0)
LEAST_CONTRAST = 0.15
GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2 luma, as in torchvision


@dataclass(frozen=True, eq=False)
class Crops:
    """Per sample, what is cut out of an image of `height` by `width` pixels and whether it is flipped.

    Attributes:
        top, left, rows, columns: (n,) in pixels, as floats; whole numbers in the grid that they were drawn for.
        flip_rows, flip_columns: (n,) bool.
    """

    height: int
    width: int
    top: Tensor
    left: Tensor
    rows: Tensor
    columns: Tensor
    flip_rows: Tensor
    flip_columns: Tensor

    def on(self, height: int, width: int) -> "Crops":
        """The same part of the ground in an image of another size, to fractions of a pixel."""
        if (height, width) == (self.height, self.width):
            return self
        down, across = height / self.height, width / self.width
        return replace(
            self,
            height=height,
            width=width,
            top=self.top * down,
            rows=self.rows * down,
            left=self.left * across,
            columns=self.columns * across,
        )


def draw_crops(draws: Draws, height: int, width: int, scale: tuple[float, float], flip: float) -> Crops:
    """Boxes as torchvision's RandomResizedCrop draws them, flips as RandomVerticalFlip and RandomHorizontalFlip.

    Of ten draws of an area (`scale`, as a share) and an aspect ratio (3/4 to 4/3, log-uniform) the first that fits
    counts; if none does, the whole image within those ratios, centred.
    """
    area = _uniform(draws, "crop area", *scale, CROP_ATTEMPTS) * (height * width)
    ratio = _uniform(draws, "crop ratio", math.log(ASPECT_RATIOS[0]), math.log(ASPECT_RATIOS[1]), CROP_ATTEMPTS).exp()
    columns = (area * ratio).sqrt().round()
    rows = (area / ratio).sqrt().round()
    fits = (columns > 0) & (columns <= width) & (rows > 0) & (rows <= height)
    first = fits.byte().argmax(dim=1, keepdim=True)
    fitting = fits.any(dim=1)
    whole_rows = float(min(height, round(width / ASPECT_RATIOS[0])))
    whole_columns = float(min(width, round(height * ASPECT_RATIOS[1])))
    rows = torch.where(fitting, rows.gather(1, first)[:, 0], whole_rows)
    columns = torch.where(fitting, columns.gather(1, first)[:, 0], whole_columns)
    top = (draws.uniform("crop top") * (height - rows + 1)).floor()
    left = (draws.uniform("crop left") * (width - columns + 1)).floor()
    return Crops(
        height=height,
        width=width,
        top=torch.where(fitting, top, (height - rows).div(2, rounding_mode="floor")),
        left=torch.where(fitting, left, (width - columns).div(2, rounding_mode="floor")),
        rows=rows,
        columns=columns,
        flip_rows=_chance(draws, "flip rows", flip),
        flip_columns=_chance(draws, "flip columns", flip),
    )


def crop(values: Tensor, crops: Crops, size: int) -> Tensor:
    """Cut out, resize (bicubic, antialiased) and flip a float batch (n, channel, height, width) -> (.., size, size)."""
    boxes = (crops.top, crops.rows, crops.flip_rows, crops.left, crops.columns, crops.flip_columns)
    # The matrices have millions of elements where the boxes have hundreds.
    top, rows, flip_rows, left, columns, flip_columns = (sent(part, values.device) for part in boxes)
    down = _resize_matrices(top, rows, crops.height, size, flip_rows)
    across = _resize_matrices(left, columns, crops.width, size, flip_columns)
    return down[:, None] @ values @ across[:, None].mT


def _resize_matrices(start: Tensor, length: Tensor, full: int, size: int, flip: Tensor) -> Tensor:
    """(n, size, full): row i holds the weights of the `full` pixels in output pixel i, for one axis of each sample.

    Pillow's resampling: Keys' cubic kernel (a = -0.5), widened by the scale when shrinking, cut off at the box.
    """
    scale = (length / size).view(-1, 1, 1)
    out = torch.arange(size, device=start.device).view(1, -1, 1)
    pixel = torch.arange(full, device=start.device).view(1, 1, -1)
    box = start.view(-1, 1, 1)
    centre = box + (out + 0.5) * scale
    weights = _keys((pixel + 0.5 - centre) / scale.clamp(min=1))
    # Pixels that the box covers in part count, so that there is at least one.
    weights = weights * ((pixel > box - 1) & (pixel < box + length.view(-1, 1, 1)))
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return torch.where(flip.view(-1, 1, 1), weights.flip(1), weights)


def _keys(x: Tensor, a: float = -0.5) -> Tensor:
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def rgb_view(rgb: Tensor, size: int, recipe: Augmentation, draws: Draws) -> Tensor:
    """A training view of RGB images: random crop and flips, colour jitter, greyscale, blur.

    Args:
        rgb: (n, 3, y, x) uint8.

    Returns: (n, 3, size, size) float32 in 0..1, not yet normalised.
    """
    height, width = rgb.shape[-2:]
    crops = draw_crops(draws, height, width, recipe.crop_scale, recipe.flip)
    values = crop(rgb.float() / 255, crops, size).clamp(0, 1)
    values = jitter(values, recipe.jitter, recipe.jitter_probability, draws)
    greyed = _chance(draws, "greyscale", recipe.greyscale_probability)
    values = torch.where(_per_sample(greyed, values), _grey(values).expand_as(values), values)
    sigma = _uniform(draws, "blur sigma", *BLUR_SIGMA)
    blurred = _chance(draws, "blur", recipe.blur_probability)
    return torch.where(_per_sample(blurred, values), blur(values, sigma), values)


def jitter(values: Tensor, strengths: tuple[float, float, float], probability: float, draws: Draws) -> Tensor:
    """Brightness, contrast and saturation by factors within 1 +- `strengths`, in random order (ColorJitter).

    Each of the three blends the image with a base: black, its mean grey, its grey version.
    """
    names = zip(("brightness", "contrast", "saturation"), strengths, strict=True)
    drawn = torch.stack([_uniform(draws, name, max(0.0, 1 - s), 1 + s) for name, s in names], dim=1)
    applied = _chance(draws, "jitter", probability)
    factors = torch.where(applied[:, None], drawn, 1.0)
    order = draws.uniform("jitter order", 3).argsort(dim=1)
    for position in range(3):
        change = order[:, position]
        factor = _per_sample(factors.gather(1, change[:, None])[:, 0], values)
        change = _per_sample(change, values)
        grey = _grey(values)
        base = torch.where(change == 1, grey.mean(dim=(-2, -1), keepdim=True), grey) * (change != 0)
        values = (factor * values + (1 - factor) * base).clamp(0, 1)
    return values


def blur(values: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each sample by its own `sigma` (n,), in pixels, with torchvision's reflecting border."""
    for axis, taps in zip((-2, -1), BLUR_KERNEL, strict=True):
        reach = taps // 2
        offsets = torch.arange(-reach, reach + 1)
        kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
        kernel = sent(kernel / kernel.sum(dim=1, keepdim=True), values.device)
        margins = (0, 0, reach, reach) if axis == -2 else (reach, reach, 0, 0)
        padded = F.pad(values, margins, mode="reflect")
        extent = values.shape[axis]
        shifted = [_per_sample(kernel[:, tap], values) * padded.narrow(axis, tap, extent) for tap in range(taps)]
        values = torch.stack(shifted).sum(dim=0)
    return values


def shift_and_zoom(values: Tensor, shift: float, zoom: float, draws: Draws) -> Tensor:
    """Move each image by up to `shift` of its side and scale it by 1 +- `zoom` (bilinear, the border continued)."""
    matrices = torch.zeros((len(values), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = _uniform(draws, "zoom", 1 - zoom, 1 + zoom)
    # A grid spans -1 to 1, two units for one side.
    matrices[:, :, 2] = _uniform(draws, "shift", -2 * shift, 2 * shift, 2)
    grid = F.affine_grid(sent(matrices, values.device), list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, padding_mode="border", align_corners=False)


def recolour(rgb: Tensor, probability: float, draws: Draws) -> Tensor:
    """Give an image two random colours in place of black and white, all shades between them; (n, 3, y, x) uint8.

    Colours that differ by less than `LEAST_CONTRAST` on average over the channels leave an image as it is.
    """
    black, white = draws.uniform("black", 3), draws.uniform("white", 3)
    changed = _chance(draws, "recolour", probability) & ((white - black).abs().mean(dim=1) > LEAST_CONTRAST)
    black, white = (sent(colours.view(-1, 3, 1, 1), rgb.device) for colours in (black, white))
    coloured = (255 * black + (white - black) * rgb).round().to(torch.uint8)
    return torch.where(_per_sample(changed, rgb), coloured, rgb)


def _grey(values: Tensor) -> Tensor:
    red, green, blue = values.unbind(dim=1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[:, None]


def _chance(draws: Draws, name: str, probability: float) -> Tensor:
    return draws.uniform(name) < probability


def _uniform(draws: Draws, name: str, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * draws.uniform(name, *shape)


def _per_sample(values: Tensor, images: Tensor) -> Tensor:
    return sent(values.view(-1, 1, 1, 1), images.device)
