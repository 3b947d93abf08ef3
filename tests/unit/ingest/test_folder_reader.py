"""A folder per class: EuroSAT's real files in their archive, RESISC45's and ImageNet's layouts, own folders."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pytest
import rasterio
import timm
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from own_files import write_tif
from packed import pack
from PIL import Image
from rasterio.warp import transform_bounds
from reading import read_all
from scipy.io import savemat
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature, read_yaml
from bandbridge.catalogue.option_models import FolderOptions
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.catalogue.sensors import STUDENT_BANDS, order_bands
from bandbridge.ingest.readers import Rejected, Sample, reader

DATA = Path(__file__).parents[2] / "data"
LISTS = {"train": ["AnnualCrop_1"], "val": ["Pasture_300"], "test": ["SeaLake_3000"]}
MEMBERS = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
SHARES = {"val": 0.2, "test": 0.2}


@pytest.fixture
def archives(tmp_path):
    """EuroSAT-100's directory of archives, with three of its images."""
    files = sorted((DATA / "eurosat_ms").rglob("*.tif"))
    images = {f"{MEMBERS}/{file.parent.name}/{file.name}": file.read_bytes() for file in files}
    pack(tmp_path / "EuroSAT100.zip", images)
    for split, names in LISTS.items():
        write_list(tmp_path, split, *names)
    return tmp_path


def write_list(archives, split, *names, dataset="eurosat-100"):
    (archives / f"{dataset}-{split}.txt").write_text("".join(f"{name}.jpg\n" for name in names))


def read(archives, name="eurosat_100", **options):
    return read_all(load_dataset(name, options), archives)


def plan(archives, name="eurosat_100", **options):
    dataset = load_dataset(name, options)
    return reader(dataset).plan(dataset, archives)


def own(folder, **options):
    """Pictures of one's own, divided by shares."""
    defaults = {"archive": str(folder), "images": "*", "lists": None, "shares": SHARES}
    return read(folder, "eurosat_rgb", **defaults | options)


def encoded(picture, form="PNG", **options):
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


# --- EuroSAT -------------------------------------------------------------------------------------------------------


def test_lists_of_jpg_names_divide_the_tif_files(archives):
    splits, samples = read(archives)
    assert splits == {"AnnualCrop_1": "train", "Pasture_300": "val", "SeaLake_3000": "test"}
    assert {name: sample.labels for name, sample in samples.items()} == {
        "AnnualCrop_1": ("AnnualCrop",),
        "Pasture_300": ("Pasture",),
        "SeaLake_3000": ("SeaLake",),
    }


@pytest.mark.parametrize("file", sorted((DATA / "eurosat_ms").rglob("*.tif")), ids=lambda file: file.stem)
def test_every_band_and_the_place_are_those_of_the_file(archives, file):
    sample = read(archives)[1][file.stem]
    with rasterio.open(file) as raster:
        np.testing.assert_array_equal(sample.pixels, raster.read())
        left, bottom, right, top = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    assert sample.pixels.dtype == np.uint16
    assert sample.pixels.shape == (13, 64, 64)
    assert left < sample.lon < right
    assert bottom < sample.lat < top


def test_eurosat_b8a_is_read_from_the_last_band(archives):
    """The narrow near infrared follows the broad one closely, water vapour does not."""
    bands = load_dataset("eurosat_100").primary.bands
    samples = read(archives)[1]
    for name in ("AnnualCrop_1", "Pasture_300"):
        pixels = samples[name].pixels.reshape(13, -1).astype(float)
        with_b08 = np.corrcoef(pixels)[bands.index("B08")]
        assert with_b08[bands.index("B8A")] > 0.95 > with_b08[bands.index("B09")] + 0.05
    assert bands[12] == "B8A"
    assert order_bands(bands, STUDENT_BANDS)[8] == 12


def test_only_the_wanted_samples_are_read(archives):
    dataset = load_dataset("eurosat_100")
    samples = list(reader(dataset).read(dataset, archives, "s2", {"Pasture_300"}))
    assert [sample.id for sample in samples] == ["Pasture_300"]


def test_an_image_in_no_list_is_left_out_and_counted(archives, capsys):
    write_list(archives, "val")
    assert {sample.id for sample in plan(archives)} == {"AnnualCrop_1", "SeaLake_3000"}
    assert "1 of 3 images are in no list" in capsys.readouterr().err


def test_a_listed_image_that_is_absent_is_planned_but_not_read(archives):
    write_list(archives, "val", "Pasture_300", "Forest_7")
    splits, samples = read(archives)
    assert splits["Forest_7"] == "val"
    assert "Forest_7" not in samples


def test_an_image_in_two_lists_is_planned_twice(archives):
    write_list(archives, "val", "Pasture_300", "SeaLake_3000")
    assert [item.split for item in plan(archives) if item.id == "SeaLake_3000"] == ["val", "test"]


def test_an_absent_list_is_explained(archives):
    (archives / "eurosat-100-val.txt").unlink()
    with pytest.raises(UserError, match=r"eurosat-100-val.txt not found, the list of the val split"):
        plan(archives)


def test_no_images_are_explained(archives):
    with pytest.raises(UserError, match=r"no file of .*EuroSAT100.zip matches the option images \('\*.png'\)"):
        plan(archives, images="*.png")


def test_damaged_files_and_missing_bands_are_rejected(archives, tmp_path):
    copy = Path(shutil.copytree(DATA / "eurosat_ms", tmp_path / "copy"))
    whole = (copy / "Pasture" / "Pasture_300.tif").read_bytes()
    (copy / "Pasture" / "Pasture_300.tif").write_bytes(whole[: len(whole) // 2])
    (copy / "SeaLake" / "SeaLake_3000.tif").write_bytes(b"no raster")
    crop = copy / "AnnualCrop" / "AnnualCrop_1.tif"
    with rasterio.open(crop) as raster:
        profile, pixels = raster.profile | {"count": 12}, raster.read()[:12]
    with rasterio.open(crop, "w", **profile) as raster:
        raster.write(pixels)
    samples = read(archives, archive=str(copy))[1]
    assert samples["AnnualCrop_1"] == Rejected("AnnualCrop_1", "has 12 bands, expected 13")
    assert "truncated" in samples["Pasture_300"].reason
    assert samples["SeaLake_3000"].reason.startswith("cannot be read as a raster")


# --- RESISC45 ------------------------------------------------------------------------------------------------------


def test_resisc45_has_45_classes_spelt_out():
    nomenclature = load_nomenclature("resisc45-45")
    assert len(nomenclature.classes) == 45
    assert list(nomenclature.classes) == sorted(nomenclature.classes)
    assert not any("_" in name for name in nomenclature.prompt_names)


# --- ImageNet ------------------------------------------------------------------------------------------------------

WORDNET_IDS = ("n01440764", "n01443537", "n02119789")


@pytest.fixture
def validation():
    """Name -> JPEG of thirty validation pictures, ten of each of three classes; and their classes."""
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 31)]
    files = {
        name: encoded(Image.fromarray(noise(40 + number, 60, 3, seed=number)), "JPEG")
        for number, name in enumerate(names)
    }
    return files, [WORDNET_IDS[(7 * number) % 3] for number in range(30)]


def devkit(classes):
    """The two files of ILSVRC 2012's devkit; ILSVRC's numbers are not in the order of the WordNet ids."""
    numbers = {"n02119789": 1, "n01443537": 2, "n01440764": 3, "n00001740": 1001}
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array([(number, name, "a, b", 3 * (number > 1000)) for name, number in numbers.items()], kind)
    content = io.BytesIO()
    savemat(content, {"synsets": synsets.reshape(-1, 1)})
    truth = "".join(f"{numbers[name]}\n" for name in classes).encode()
    data = "ILSVRC2012_devkit_t12/data"
    return {f"{data}/meta.mat": content.getvalue(), f"{data}/ILSVRC2012_validation_ground_truth.txt": truth}


@pytest.fixture
def imagenet(tmp_path, validation):
    """The directory of archives with the files as image-net.org delivers them."""
    files, classes = validation
    pack(tmp_path / "ILSVRC2012_img_val.tar", files)
    pack(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", devkit(classes))
    return tmp_path


def test_imagenets_tar_gets_its_classes_from_the_devkit(imagenet, validation):
    splits, samples = read(imagenet, "imagenet", picture_size=None)
    files, classes = validation
    assert len(samples) == 30
    for (member, content), wordnet_id in zip(files.items(), classes, strict=True):
        sample = samples[Path(member).stem]
        assert sample.labels == (wordnet_id,)
        np.testing.assert_array_equal(sample.pixels, np.asarray(Image.open(io.BytesIO(content))))
    counts = Counter((splits[name], *sample.labels) for name, sample in samples.items())
    assert counts == {(split, name): n for name in WORDNET_IDS for split, n in (("val", 2), ("test", 8))}


def test_imagenets_folder_per_class_reads_like_its_tar_and_needs_no_devkit(imagenet, validation, tmp_path):
    from_tar = read(imagenet, "imagenet")
    copy = tmp_path / "copy" / "val"
    for (name, content), wordnet_id in zip(validation[0].items(), validation[1], strict=True):
        (copy / wordnet_id).mkdir(parents=True, exist_ok=True)
        (copy / wordnet_id / name).write_bytes(content)
    from_folder = read(tmp_path / "empty", "imagenet", archive=str(copy.parent))
    assert from_folder[1].keys() == from_tar[1].keys()
    for name, sample in from_folder[1].items():
        np.testing.assert_array_equal(sample.pixels, from_tar[1][name].pixels)
        assert sample.labels == from_tar[1][name].labels
        assert sample.pixels.shape == (224, 224, 3)
    assert Counter(from_folder[0].values()) == Counter(from_tar[0].values()) == {"val": 6, "test": 24}


def test_an_absent_devkit_is_explained(imagenet):
    (imagenet / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(
        UserError, match=r"ILSVRC2012_devkit_t12.tar.gz not found .* archive to a folder with a folder per class"
    ):
        plan(imagenet, "imagenet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"meta.mat": None}, "holds no meta.mat"),
        ({"meta.mat": b"not MATLAB"}, "is not as published"),
        ({"ILSVRC2012_validation_ground_truth.txt": b"7\n"}, "is not as published"),
    ],
)
def test_a_wrong_devkit_is_explained(imagenet, change, message):
    files = {name: change.get(Path(name).name, content) for name, content in devkit([]).items()}
    pack(
        imagenet / "ILSVRC2012_devkit_t12.tar.gz",
        {name: content for name, content in files.items() if content is not None},
    )
    with pytest.raises(UserError, match=message):
        plan(imagenet, "imagenet")


def test_a_picture_beyond_the_devkits_labels_has_none(imagenet):
    pack(imagenet / "ILSVRC2012_devkit_t12.tar.gz", devkit(["n01440764"]))
    samples = read(imagenet, "imagenet")[1]
    assert samples["ILSVRC2012_val_00000001"].labels == ("n01440764",)
    assert samples["ILSVRC2012_val_00000002"].labels == ()


@pytest.mark.slow
def test_imagenets_names_and_templates_are_open_clips():
    nomenclature = load_nomenclature("imagenet-1k")
    wordnet_ids = (Path(timm.__file__).parent / "data/_info/imagenet_synsets.txt").read_text().split()
    assert list(nomenclature.classes) == wordnet_ids == sorted(wordnet_ids)
    assert list(nomenclature.prompt_names) == list(IMAGENET_CLASSNAMES)
    assert read_yaml("prompts", "imagenet-80")["templates"] == [
        template("{}") for template in OPENAI_IMAGENET_TEMPLATES
    ]


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (224, 500), (225, 224), (97, 131), (500, 375), (224, 224)])
def test_pictures_are_resized_and_cut_as_torchvision_does(tmp_path, size):
    (tmp_path / "Forest").mkdir()
    content = encoded(Image.fromarray(noise(size[1], size[0], 3)), "JPEG")
    (tmp_path / "Forest" / "1.jpg").write_bytes(content)
    resized = own(tmp_path, picture_size=224)[1]["1"].pixels
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    expected = Compose([Resize(224, InterpolationMode.BICUBIC), CenterCrop(224)])(picture)
    np.testing.assert_array_equal(resized, np.asarray(expected))


def test_pictures_are_what_open_clips_preprocessing_sees(tmp_path):
    (tmp_path / "Forest").mkdir()
    content = encoded(Image.fromarray(noise(180, 333, 3)))
    (tmp_path / "Forest" / "1.png").write_bytes(content)
    resized = own(tmp_path, picture_size=224)[1]["1"].pixels
    preprocess = open_clip.image_transform(224, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    expected = preprocess(Image.open(io.BytesIO(content))).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(resized, np.round(expected * 255))


def pictures():
    """Name -> (content, the picture expected of it or what the rejection says)."""
    colour, grey, alpha = noise(5, 6, 3), noise(5, 6), noise(5, 6, 4)
    cmyk = Image.frombytes("CMYK", (6, 5), alpha.tobytes())
    palette = Image.fromarray(colour).quantize(16)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    repeated = np.repeat(grey[..., None], 3, axis=-1)
    return {
        "colour.png": (encoded(Image.fromarray(colour)), colour),
        "grey.png": (encoded(Image.fromarray(grey)), repeated),
        "alpha.png": (encoded(Image.fromarray(alpha)), alpha[..., :3]),
        "palette.png": (encoded(palette), np.asarray(palette.convert("RGB"))),
        "cmyk.jpg": (encoded(cmyk, "JPEG"), "RGB"),
        "deep.png": (encoded(deep), "is an image of mode I;16, expected 8 bits per channel"),
        "cut.jpg": (encoded(Image.fromarray(noise(50, 50, 3)), "JPEG")[:900], "cannot be read as an image"),
        "text.jpg": (b"text", "cannot be read as an image"),
    }


@pytest.mark.parametrize("name", pictures())
def test_pictures_of_8_bits_become_rgb_and_others_are_rejected(tmp_path, name):
    content, expected = pictures()[name]
    (tmp_path / "Forest").mkdir()
    (tmp_path / "Forest" / name).write_bytes(content)
    (item,) = own(tmp_path)[1].values()
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(item.pixels, expected)
    elif expected == "RGB":
        np.testing.assert_array_equal(item.pixels, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    else:
        assert item.reason.startswith(expected)


@pytest.mark.parametrize("interleave", ["band", "pixel"])
@pytest.mark.parametrize("compress", [None, "deflate"])
def test_rgb_geotiffs_are_pictures_with_a_place(tmp_path, interleave, compress):
    pixels = noise(3, 8, 10)
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_800_000)}
    write_tif(tmp_path / "Forest" / "1.tif", pixels, interleave=interleave, compress=compress, **place)
    sample = own(tmp_path)[1]["1"]
    np.testing.assert_array_equal(sample.pixels, pixels.transpose(1, 2, 0))
    assert (sample.lat, sample.lon) == pytest.approx((52.35, 15.0), abs=0.01)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (
            noise(5, 8, 8),
            "has 5 bands (gray, undefined, undefined, undefined, undefined), which are no image: expected grey, "
            "a palette, RGB or CMYK, with or without an alpha channel",
        ),
        (noise(3, 8, 8).astype(np.uint16), "pixels are uint16, expected uint8; describe other types as bands"),
    ],
)
def test_geotiffs_that_are_no_pictures_are_rejected(tmp_path, pixels, reason):
    write_tif(tmp_path / "Forest" / "1.tif", pixels)
    assert own(tmp_path)[1]["1"] == Rejected("1", reason)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_bands_keep_their_number_type(tmp_path, dtype):
    pixels = (noise(13, 6, 6) / 2).astype(dtype)
    write_tif(tmp_path / "Forest" / "1.tif", pixels)
    sample = read(tmp_path, archive=str(tmp_path), lists=None, shares=SHARES)[1]["1"]
    assert sample.pixels.dtype == dtype
    np.testing.assert_array_equal(sample.pixels, pixels)


# --- own folders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """Twenty small pictures a class, named 0.png to 19.png in each."""
    for label in ("Forest", "River"):
        (tmp_path / label).mkdir()
        for index in range(20):
            Image.new("L", (4, 4), index).save(tmp_path / label / f"{index}.png")
    return tmp_path


def test_shares_divide_each_class_whatever_the_order(many):
    options = {"images": "*.png", "shares": {"val": 0.1, "test": 0.25}, "draw": "by_class", "seed": 3}
    splits, samples = own(many, **options)
    counts = Counter((splits[name], *sample.labels) for name, sample in samples.items())
    assert counts == {
        (split, label): count
        for label in ("Forest", "River")
        for split, count in (("train", 13), ("val", 2), ("test", 5))
    }
    files = sorted(many.rglob("*.png"), key=lambda path: path.name[::-1])
    pack(many / "shuffled.zip", {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files})
    assert own(many, **options | {"archive": str(many / "shuffled.zip")})[0] == splits


def test_shares_that_leave_nothing_give_no_train(many):
    splits, _ = own(many, shares={"val": 0.33, "test": 0.67}, draw="by_class")
    assert Counter(splits.values()) == {"val": 14, "test": 26}


def test_names_that_repeat_between_classes_get_the_folder_in_their_id(many):
    for split, names in {"train": "Forest/3.jpg\nRiver/3.jpg\n", "val": "", "test": ""}.items():
        (many / f"{split}.txt").write_text(names)
    lists = {split: f"{split}.txt" for split in ("train", "val", "test")}
    splits, samples = own(many, images="*.png", lists=lists, shares=None)
    assert splits == {"Forest/3": "train", "River/3": "train"}
    assert {name: sample.labels for name, sample in samples.items()} == {
        "Forest/3": ("Forest",),
        "River/3": ("River",),
    }
    assert [tuple(sample.pixels[0, 0]) for sample in samples.values()] == [(3, 3, 3), (3, 3, 3)]


def test_folders_of_splits_divide_by_patterns(many, capsys):
    tree = many / "tree"
    for split, numbers in (("train", range(10)), ("valid", range(10, 15)), ("test", range(15, 19))):
        for number in numbers:
            (tree / split / "Forest").mkdir(parents=True, exist_ok=True)
            shutil.copy(many / "Forest" / f"{number}.png", tree / split / "Forest")
    patterns = {"train": "train/*", "val": "valid/*", "test": "test/*1?.png"}
    splits, samples = own(tree, shares=None, patterns=patterns)
    assert Counter(splits.values()) == {"train": 10, "val": 5, "test": 4}
    assert {sample.labels for sample in samples.values()} == {("Forest",)}
    own(tree, shares=None, patterns={"train": "train/*", "val": "valid/*"})
    assert "4 of 19 images are matched by no pattern and left out" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"patterns finds no image for val \('val/\*'\); an image of the archive: "):
        own(tree, shares=None, patterns={"train": "train/*", "val": "val/*"})


def test_names_that_repeat_between_splits_get_the_path_as_their_id(tmp_path):
    for place, value in (("train/Forest", 1), ("train/River", 2), ("val/Forest", 3), ("val/River", 4)):
        (tmp_path / place).mkdir(parents=True)
        Image.new("L", (4, 4), value).save(tmp_path / place / "1.png")
    splits, samples = own(tmp_path, shares=None, patterns={"train": "train/*", "val": "val/*"})
    assert splits == {f"{split}/{name}/1": split for split in ("train", "val") for name in ("Forest", "River")}
    assert samples["val/Forest/1"].labels == ("Forest",)
    assert samples["val/Forest/1"].pixels[0, 0, 0] == 3
    dataset = load_dataset("eurosat_rgb", {"archive": str(tmp_path), "images": "*", "lists": None, "shares": SHARES})
    (alone,) = reader(dataset).read(dataset, tmp_path, "rgb", {"val/River/1"})
    assert alone.pixels[0, 0, 0] == 4


def test_a_list_may_name_images_without_an_extension(many):
    for split, names in {"train": "v1.5\n", "val": "v1.6\n", "test": "v1.7\n"}.items():
        (many / f"{split}.txt").write_text(names)
    for name in ("v1.5", "v1.6", "v1.7"):
        shutil.copy(many / "River" / "1.png", many / "River" / f"{name}.png")
    lists = {split: f"{split}.txt" for split in ("train", "val", "test")}
    splits, samples = own(many, images="*v1.?.png", lists=lists, shares=None)
    assert splits == {"v1.5": "train", "v1.6": "val", "v1.7": "test"}
    assert samples.keys() == splits.keys()


def test_the_class_may_be_a_folder_further_up(tmp_path):
    for label, place in (("Forest", "site1"), ("Forest", "site2"), ("River", "site1")):
        (tmp_path / label / place).mkdir(parents=True)
        Image.new("L", (4, 4), 7).save(tmp_path / label / place / f"{label}{place}.png")
    samples = own(tmp_path, class_from=2)[1]
    assert {name: sample.labels for name, sample in samples.items()} == {
        "Forestsite1": ("Forest",),
        "Forestsite2": ("Forest",),
        "Riversite1": ("River",),
    }


def test_folders_are_translated_left_out_or_passed_on(many):
    shutil.copytree(many / "River", many / "heath")
    splits, samples = own(many, classes={"River": "SeaLake", "Forest": None})
    assert not any(name.startswith("Forest/") for name in splits)
    assert {name.split("/")[0]: sample.labels for name, sample in samples.items()} == {
        "River": ("SeaLake",),
        "heath": ("heath",),  # no class of the nomenclature: the conversion puts it into quarantine
    }


def test_an_image_in_no_folder_has_no_label(tmp_path):
    Image.new("L", (4, 4), 7).save(tmp_path / "1.png")
    assert own(tmp_path)[1]["1"].labels == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": SHARES}, "expected one of lists, patterns and shares, found lists and shares"),
        ({"lists": None}, "expected one of lists, patterns and shares, found none"),
        ({"lists": None, "shares": {"val": 0.2}}, "shares has val, expected val and test"),
        ({"lists": None, "shares": {"val": 0.5, "test": 0.6}}, r"val \+ test is 1.1, expected at most 1"),
        ({"list": {}}, "list is not an option of .* Did you mean 'lists'"),
        ({"class_from": 0}, "class_from is 0; expected at least 1"),
        ({"picture_size": "x"}, "picture_size is 'x'; expected a whole number or null"),
        ({"lists": None, "shares": SHARES, "draw": "by_luck"}, "draw is 'by_luck'"),
        ({"lists": None, "patterns": {"train": "a", "val": "b"}, "spatial_block": 100}, "spatial_block belongs to"),
        ({"lists": None, "shares": SHARES, "draw": "by_class", "spatial_block": 100}, "keep one"),
    ],
)
def test_wrong_options_are_explained(archives, options, message):
    with pytest.raises(UserError, match=message):
        plan(archives, **options)


def test_null_takes_an_option_back():
    options = load_dataset("eurosat_100", {"lists": None, "shares": SHARES, "classes": None})
    assert parse_options(FolderOptions, options) == FolderOptions(images="*.tif", shares=SHARES)
    assert isinstance(read_all(load_dataset("digits", {"val": None}), Path("unused"))[1]["digits_0001"], Sample)
