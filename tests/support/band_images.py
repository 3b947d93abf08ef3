"""Small GeoTIFFs of a few named bands."""

import numpy as np
import rasterio

BANDS = ("B02", "B03", "B04", "B08", "B10")
# Of a network that sees them.
OPTIONS = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}


def write_raster(path, pixels, names=None, crs="EPSG:32633", nodata=None, **options):
    """A GeoTIFF of (band, y, x) with 10 m pixels."""
    transform = options.pop("transform", rasterio.Affine(10, 0, 300_000, 0, -10, 5_800_000))
    scales, offsets, tags = options.pop("scales", None), options.pop("offsets", None), options.pop("tags", {})
    count, height, width = pixels.shape
    profile = {"height": height, "width": width, "count": count, "dtype": pixels.dtype, "crs": crs, "nodata": nodata}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **{"driver": "GTiff", "transform": transform, **profile, **options}) as file:
        file.write(pixels)
        for number, name in enumerate(names or (), start=1):
            file.set_band_description(number, name)
        if scales:
            file.scales, file.offsets = scales, offsets
        file.update_tags(**tags)
    return path


def random_pixels(bands=5, height=40, width=56, seed=0):
    return np.random.default_rng(seed).integers(200, 4000, (bands, height, width)).astype(np.uint16)
