"""Small scenes in the layouts that users have: Sentinel-2 products with their true names and metadata, and polygons."""

import geopandas
import numpy as np
from own_files import LEFT, TOP, write
from rasterio.transform import from_origin
from shapely.geometry import box

SIDE = 1_920  # metres, in UTM zone 33
CRS = "EPSG:32633"
CLASSES = ("forest", "maize", "water")
NATIVE = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09"), 60),
}
NUMBERS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
STAMP, TILE = "20230615T101559", "T33UUU"
L2A = f"S2B_MSIL2A_{STAMP}_N0509_R065_{TILE}_20230615T131501.SAFE"
L1C = f"S2B_MSIL1C_{STAMP}_N0509_R065_{TILE}_20230615T122331.SAFE"


def noise(bands, side, seed, dtype=np.uint16):
    return np.random.default_rng(seed).integers(1_200, 4_000, (bands, side, side)).astype(dtype)


def write_raster(path, pixels, metres=10, crs=CRS, left=LEFT, top=TOP, names=None, **profile):
    return write(path, pixels, names=names, crs=crs, transform=from_origin(left, top, metres, metres), **profile)


def write_jp2(path, pixels, metres):
    write_raster(path, pixels, metres, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")


def thirds(side=SIDE, left=LEFT, top=TOP, crs=CRS):
    """Three strips from north to south, one per class."""
    width = side / 3
    strips = [box(left + width * i, top - side, left + width * (i + 1), top) for i in range(3)]
    return geopandas.GeoDataFrame({"cover": list(CLASSES), "code": [1, 2, 3]}, geometry=strips, crs=crs)


def l2a_metadata(files, offset=-1000, quantification=10_000):
    listed = "".join(f"<IMAGE_FILE>{file}</IMAGE_FILE>" for file in files)
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{number}">{offset}</BOA_ADD_OFFSET>' for number in range(13))
    offsets = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if offset is not None else ""
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <!-- as ESA's processor writes it, shortened -->
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-06-15T10:15:59.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{L2A}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>
      <Product_Organisation><Granule_List><Granule granuleIdentifier="L2A_{TILE}" imageFormat="JPEG2000">
        {listed}
      </Granule></Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      {offsets}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-2A_User_Product>
"""


def write_l2a(folder, metadata=True, **facts):
    """A Level-2A product in a folder: every band in its native and coarser resolutions; the finest pixels by band."""
    granule = f"GRANULE/L2A_{TILE}_A032767_20230615T101805"
    files, finest = [], {}
    for metres in (10, 20, 60):
        for band, resolution in NATIVE.items():
            if resolution > metres or (band == "B08" and metres > 10):
                continue
            name = f"{granule}/IMG_DATA/R{metres}m/{TILE}_{STAMP}_{band}_{metres}m"
            pixels = noise(1, SIDE // metres, NUMBERS.index(band) + metres)
            pixels[0, -4:, -4:] = 0  # beyond the swath
            write_jp2(folder / L2A / f"{name}.jp2", pixels, metres)
            files.append(name)
            finest.setdefault(band, pixels[0])
    scl = np.full((1, SIDE // 20, SIDE // 20), 4, np.uint8)
    scl[0, :16, :16] = 9  # a cloud in the north-west
    write_jp2(folder / L2A / f"{granule}/IMG_DATA/R20m/{TILE}_{STAMP}_SCL_20m.jp2", scl, 20)
    write_jp2(folder / L2A / f"{granule}/IMG_DATA/R10m/{TILE}_{STAMP}_TCI_10m.jp2", noise(3, 192, 0, np.uint8), 10)
    (folder / L2A / granule / "MTD_TL.xml").write_text("<Level-2A_Tile_ID/>")
    if metadata:
        (folder / L2A / "MTD_MSIL2A.xml").write_text(l2a_metadata(files, **facts))
    return finest


def write_l1c(folder):
    """A Level-1C product, whose files do not state their resolutions."""
    granule, bands = f"GRANULE/L1C_{TILE}_A032767_20230615T101805", {}
    for band, metres in {**NATIVE, "B10": 60}.items():
        bands[band] = noise(1, SIDE // metres, NUMBERS.index(band))[0]
        write_jp2(folder / L1C / f"{granule}/IMG_DATA/{TILE}_{STAMP}_{band}.jp2", bands[band][None], metres)
    offsets = "".join(f'<RADIO_ADD_OFFSET band_id="{number}">-1000</RADIO_ADD_OFFSET>' for number in range(13))
    (folder / L1C / "MTD_MSIL1C.xml").write_text(
        f"<P><G><PROCESSING_BASELINE>05.09</PROCESSING_BASELINE><QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>"
        f"<Radiometric_Offset_List>{offsets}</Radiometric_Offset_List></G></P>"
    )
    return bands
