"""Archives of BigEarthNet as their publishers deliver them, made of a few real samples."""

import bz2
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import packed
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from packed import pack

DATA = Path(__file__).parents[1] / "data"
V1, V2 = DATA / "bigearthnet_v1", DATA / "bigearthnet_v2"
WHEEL = "bigearthnet_common-2.8.0-py3-none-any.whl"

FIELDS = "S2A_MSIL2A_20170613T101031_87_48"
FOREST = "S2B_MSIL2A_20170924T93020_69_24"
PAIRS = {
    FIELDS: "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48",
    FOREST: "S1A_IW_GRDH_1SDV_20170925T043256_35VPK_69_24",
}
SNOWY, CLOUDY, BARE = (f"S2A_MSIL2A_20171221T112501_1_{number}" for number in (1, 2, 3))

# The files of these two are not of one place: the data set's table says which belong together, and so does the tests'.
V2_S2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43"
V2_S1 = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48"
V2_ROW = {"patch_id": V2_S2, "s1_name": V2_S1, "split": "validation", "labels": ["Arable land", "Inland waters"]}

Change = Callable[[dict[str, bytes]], None]


def files_of(folder: Path) -> dict[str, bytes]:
    """Name below the folder's parent -> content, in an order that no publisher promises."""
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name[::-1])
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}


def tar(files: Mapping[str, bytes], mode: str) -> bytes:
    folder = tarfile.TarInfo(next(iter(files)).split("/")[0])
    folder.type = tarfile.DIRTYPE
    return packed.tar(files, mode, (folder,))


def write_v1(archives: Path, change: Change = lambda files: None, unpacked: bool = False) -> Path:
    """Both archives of v1, packed or unpacked, and the wheel with its lists."""
    for archive, folder in (
        ("BigEarthNet-S2-v1.0", "BigEarthNet-v1.0"),
        ("BigEarthNet-S1-v1.0", "BigEarthNet-S1-v1.0"),
    ):
        files = files_of(V1 / folder)
        change(files)
        if unpacked:
            pack(archives / archive, files)
        else:
            (archives / f"{archive}.tar.gz").write_bytes(tar(files, "w:gz"))
    write_lists(archives / WHEEL)
    return archives


def write_lists(
    wheel: Path, train: Sequence[str] = (FIELDS,), val: Sequence[str] = (), test: Sequence[str] = (FOREST,)
) -> None:
    """The wheel's lists: each in bz2, some with \\r\\n, only the pairs with a line of column names."""
    pairs = ["s1_name,s2_name,country,season", *(f"{s1},{s2},Austria,Summer" for s2, s1 in PAIRS.items())]
    lists = {
        "train": "".join(f"{name}\r\n" for name in train),
        "val": "".join(f"{name}\r\n" for name in val),
        "test": "".join(f"{name}\r\n" for name in test),
        "patches_with_seasonal_snow": f"{SNOWY}\r\n",
        "patches_with_cloud_and_shadow": f"{CLOUDY}\r\n",
        "patches_with_no_19_class_targets": f"{BARE}\n{SNOWY}\n",
        "s1_s2_name_country_season": "".join(f"{line}\n" for line in pairs),
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("bigearthnet_common/constants.py", "BANDS = 12\n")
        for name, text in lists.items():
            archive.writestr(f"bigearthnet_common/{name}.csv.bz2", bz2.compress(text.encode()))


def write_v2(
    archives: Path,
    form: str = "parts",
    change: Change = lambda files: None,
    rows: Sequence[Mapping[str, object]] = (V2_ROW,),
) -> Path:
    """Both archives of v2 as `form` says ('zst', 'parts' of a tar.gz, 'folder'), and the metadata."""
    for name in ("BigEarthNet-S2", "BigEarthNet-S1"):
        files = files_of(V2 / name)
        change(files)
        if form == "zst":
            (archives / f"{name}.tar.zst").write_bytes(zstandard.compress(tar(files, "w")))
        elif form == "parts":
            content = tar(files, "w:gz")
            cut = len(content) * 2 // 3 + 1
            (archives / f"{name}.tar.gzaa").write_bytes(content[:cut])
            (archives / f"{name}.tar.gzab").write_bytes(content[cut:])
        else:
            pack(archives, files)
    write_metadata(archives, rows)
    return archives


def write_metadata(archives: Path, rows: Sequence[Mapping[str, object]]) -> None:
    # The published table has columns that are not read.
    table = pa.Table.from_pylist([{**row, "country": "Austria", "contains_seasonal_snow": False} for row in rows])
    pq.write_table(table, archives / "metadata.parquet")


def copy_sample(files: dict[str, bytes], old: str, new: str) -> None:
    """Another sample of the same content."""
    for name in [name for name in files if old in name]:
        files[name.replace(old, new)] = files[name]
