"""A model in Python: arrays, xarray and files give the same embeddings; words and labels mean what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray
from band_images import BANDS, random_pixels, write_raster

import bandbridge
from bandbridge.base.errors import UserError
from bandbridge.models.students import load_student
from bandbridge.use.labels import make_labels
from bandbridge.use.model import _report_large_images, filled


def test_a_model_is_loaded_by_one_line(run_folder):
    model = bandbridge.load(run_folder / "align" / "ms", device="cpu")
    assert model.bands == BANDS
    assert model.sensor == "Sentinel-2"
    assert model.card.units == "reflectance x 10000"
    assert model.dim == 8


def test_arrays_xarray_and_files_give_the_students_embeddings(model, run_folder, tmp_path):
    import torch

    pixels = random_pixels(height=20, width=20)
    student = load_student(run_folder / "align/ms/model.safetensors")
    with torch.inference_mode():
        expected = student(student.inputs(torch.from_numpy(pixels.astype(np.float32))[None], BANDS))[0].numpy()
    expected /= np.linalg.norm(expected)
    path = write_raster(tmp_path / "x.tif", pixels[::-1].copy(), BANDS[::-1])
    array = xarray.DataArray(pixels[::-1], dims=("band", "y", "x"), coords={"band": list(BANDS[::-1])})
    many = xarray.DataArray(
        np.stack([pixels] * 3), dims=("time", "band", "y", "x"), coords={"band": list(BANDS), "time": [5, 6, 7]}
    )
    for images in (pixels, path, str(path), array):
        np.testing.assert_allclose(model.encode_images(images), expected, atol=1e-6)
    np.testing.assert_allclose(model.encode_images(pixels[::-1], bands=BANDS[::-1]), expected, atol=1e-6)
    embedded = model.encode_images(many)
    assert embedded.dims == ("time", "dim")
    assert embedded.time.values.tolist() == [5, 6, 7]
    np.testing.assert_allclose(embedded[1], expected, atol=1e-6)


def test_a_band_that_may_be_missing_is_filled_as_in_training(model):
    pixels = random_pixels(height=16, width=16)
    without = model.encode_images(pixels[:4], bands=BANDS[:4])
    pixels[4] = 2000  # the mean of B10, which is zero once it is standardised
    np.testing.assert_allclose(without, model.encode_images(pixels), atol=1e-6)


def test_wrong_arrays_get_sentences(model):
    with pytest.raises(UserError, match=r"has 3 bands, the model takes 5"):
        model.encode_images(random_pixels(3))
    with pytest.raises(UserError, match=r"another sensor"):
        model.encode_images(random_pixels(2), bands=["SR_B2", "SR_B3"])
    with pytest.raises(UserError, match=r"dimension called band"):
        model.encode_images(xarray.DataArray(random_pixels(), dims=("a", "b", "c")))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random_pixels() / 10_000, "as reflectances do.*--scale 10000"),
        (random_pixels().astype(np.uint8), "its bands have 8 bits"),
        (np.where(np.eye(40, 56) > 0, -9999, random_pixels().astype(np.float32)), "a value is -9999, .*write NaN"),
        (np.full((2, 5, 8, 8), np.nan), "image 0 has no pixel with a value"),
        (random_pixels().astype(complex), "holds complex128; expected whole numbers or floats"),
        (random_pixels().astype(str), "holds <U5; expected whole numbers or floats"),
        ([random_pixels(), random_pixels(height=8)], "different shapes"),
        (random_pixels()[:, :0], "its images have no pixels"),
    ],
)
def test_arrays_are_held_to_the_rules_of_files(model, images, message):
    with pytest.raises(UserError, match=message):
        model.encode_images(images)
    with pytest.raises(UserError, match=message):
        model.classify(images)


def test_gaps_and_scales_of_arrays_are_those_of_files(model, tmp_path):
    pixels = random_pixels(height=16, width=16).astype(np.float32)
    pixels[2, 3, 4], pixels[:, 5] = np.nan, np.inf
    of_file = model.encode_images(write_raster(tmp_path / "x.tif", pixels, BANDS))
    np.testing.assert_array_equal(model.encode_images(pixels), of_file)
    cube = xarray.DataArray(pixels / 10_000, dims=("band", "y", "x"), coords={"band": list(BANDS)})
    np.testing.assert_allclose(model.encode_images(cube, scale=10_000), of_file, atol=1e-5)
    np.testing.assert_allclose(model.encode_images(pixels / 10_000, scale=10_000), of_file, atol=1e-5)


@pytest.mark.parametrize(
    "same",
    [
        lambda pixels: torch.from_numpy(pixels.astype(np.float32)).requires_grad_(),
        lambda pixels: pixels.astype(">u2"),
        lambda pixels: pixels.astype(np.longdouble),
        lambda pixels: list(pixels),
    ],
)
def test_tensors_and_other_types_of_numbers_are_arrays(model, same):
    pixels = random_pixels(height=16, width=16)
    np.testing.assert_allclose(model.encode_images(same(pixels)), model.encode_images(pixels), atol=1e-6)
    exact = torch.tensor(256.0 * np.arange(1, 6)).expand(8, 8, 5).permute(2, 0, 1)
    np.testing.assert_array_equal(model.encode_images(exact.bfloat16()), model.encode_images(exact.numpy()))


def test_no_images_and_no_words_are_no_rows(model):
    assert model.encode_images(random_pixels()[None][:0]).shape == (0, 8)
    assert model.encode_text([]).shape == (0, 8)


def test_names_of_bands_may_be_one_text(model):
    pixels = random_pixels(height=16, width=16)
    backwards = model.encode_images(pixels[::-1], bands=",".join(reversed(BANDS)))
    np.testing.assert_array_equal(backwards, model.encode_images(pixels))


@pytest.mark.parametrize("texts", ["", ["a lake", " "], [None]])
def test_texts_without_words_are_refused(model, texts):
    with pytest.raises(UserError, match=r"a text is .*; expected words"):
        model.encode_text(texts)


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": float("nan")}, {"scale": 1, "offset": float("inf")}])
def test_a_scale_that_makes_nothing_of_values_is_refused(model, options):
    with pytest.raises(UserError, match=r"--scale is .*; expected numbers, and a scale other than 0"):
        model.encode_images(random_pixels(), **options)


def test_images_much_larger_than_in_training_are_reported_once(model, tmp_path, capsys):
    _report_large_images.cache_clear()  # of what other tests of this process have read
    paths = [
        write_raster(tmp_path / f"{size}.tif", random_pixels(height=size, width=size), BANDS) for size in (32, 40, 48)
    ]
    model.encode_images(paths[:1])
    assert "encoded whole" not in capsys.readouterr().err
    model.encode_images(paths[1:])
    assert capsys.readouterr().err.count("--window 16 encodes them in pieces") == 1


def test_scores_of_own_classes_are_probabilities_and_of_others_cosines(model):
    pixels = np.stack([random_pixels(height=16, width=16, seed=seed) for seed in range(9)])
    own = model.classify(pixels)
    assert own.measure == "probability"
    np.testing.assert_allclose(own.scores.sum(axis=1), 1, atol=1e-6)
    other = model.classify(pixels, "forest, snow")
    assert other.measure == "cosine"
    swapped = model.classify(pixels, ["town", "forest", "water"])
    np.testing.assert_allclose(swapped.scores, own.scores[:, [2, 0, 1]], atol=1e-6)
    cosines = model.similarity(pixels, ["a forest."], templates="none")[:, 0]
    np.testing.assert_allclose(np.exp(9 * cosines), own.scores[:, 0] * _normaliser(model, pixels), rtol=1e-4)
    assert own.labels == [best[0][0] for best in own.top(2)]


def _normaliser(model, pixels):
    return np.exp(9 * model.similarity(pixels, ["a forest.", "water.", "a town."], templates="none")).sum(axis=1)


def test_similarity_takes_embeddings_too(model):
    pixels = random_pixels(height=16, width=16)[None]
    embedded = model.encode_images(pixels)
    np.testing.assert_allclose(model.similarity(embedded, "a lake"), model.similarity(pixels, "a lake"), atol=1e-6)
    assert model.encode_text("a lake").shape == (8,)
    np.testing.assert_allclose(model.similarity(3 * embedded, "x"), model.similarity(embedded, "x"), atol=1e-6)
    cube = xarray.DataArray(pixels, dims=("time", "band", "y", "x"), coords={"band": list(BANDS)})
    of_cube = model.similarity(model.encode_images(cube), "x")
    np.testing.assert_allclose(of_cube, model.similarity(embedded, "x"), atol=1e-6)
    with pytest.raises(UserError, match=r"\(2, 7\); expected images .* or embeddings \(n, 8\)"):
        model.similarity(np.zeros((2, 7)), "x")
    assert model.encode_text(["a lake", "a river"]).shape == (2, 8)


@pytest.mark.parametrize(
    ("labels", "templates", "message"),
    [
        ("water", None, "has only 'water'"),
        ("water,, ,", None, "has only 'water'"),
        ("water, water", None, "names water twice"),
        (["water", " water"], None, "names water twice"),
        (["water", ""], None, "--labels is ''; expected words"),
        ([1, 2], None, "--labels is 1; expected words"),
        ("words.txt", None, "names words.txt, which does not exist"),
        ("water, words.csv", None, "names words.csv, which does not exist"),
        ("eurosat10", None, "Did you mean 'eurosat-10'"),
        ("water, forest", "satelite", "Did you mean 'satellite'"),
        ("water, forest", ["no place"], "needs {} in place of the label"),
    ],
)
def test_labels_that_say_nothing_are_refused(model, labels, templates, message):
    with pytest.raises(UserError, match=message):
        make_labels(model, labels, templates)


def test_labels_come_from_a_nomenclature_or_a_file(model, tmp_path):
    assert make_labels(model, "eurosat-10").names[0] == "AnnualCrop"
    for encoding in ("utf-8", "utf-16", "cp1252"):  # of Notepad and Excel, too
        (tmp_path / "labels.txt").write_text("a lake\n\na river, with boats\nWälder\n", encoding=encoding)
        assert make_labels(model, str(tmp_path / "labels.txt")).names == ("a lake", "a river, with boats", "Wälder")


def test_a_model_without_classes_asks_for_labels(model):
    bare = replace(model, card=replace(model.card, classes=(), prompts=()))
    with pytest.raises(UserError, match=r"has no classes"):
        bare.classify(random_pixels(height=16, width=16)[None])


def test_pixels_without_values_take_their_bands_mean():
    pixels = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    valid = np.ones((1, 4, 4), bool)
    valid[0, 0] = False
    result = filled(pixels, valid)
    assert (result[0, :, 1:] == pixels[0, :, 1:]).all()
    assert (result[0, 0, 0] == pixels[0, 0, 1:].mean()).all()
    assert (result[0, 1, 0] == pixels[0, 1, 1:].mean()).all()


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nothing/there", {}, "no such file or folder, and no encoder"),
        ("remoteclip-vit-b-23", {}, "Did you mean 'remoteclip-vit-b-32'"),
        (".", {}, "is no model: it has none of bandbridge.json"),
        ("{run}", {"device": "cuda:77"}, "--device is 'cuda:77'"),
        ("{run}", {"batch_size": 0}, "--batch-size is 0"),
        ("{run}", {"precision": "float16", "device": "cpu"}, "needs a GPU"),
        ("{run}", {"composite": "B04,B03"}, "expected the bands of red, green and blue"),
    ],
)
def test_what_is_no_model_is_refused(run_folder, tmp_path, monkeypatch, source, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        bandbridge.load(source.format(run=run_folder), **options)


def test_a_run_with_two_students_asks_which(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "align" / name).mkdir(parents=True)
        (tmp_path / "align" / name / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"several models; name one of .*align/a"):
        bandbridge.load(tmp_path)


def test_an_encoder_without_text_says_what_it_can(tmp_path, monkeypatch):
    monkeypatch.setenv("BANDBRIDGE_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"nobody states a checksum"):
        bandbridge.load("remoteclip-vit-b-32")


def test_a_clip_takes_composites_and_pictures(run_folder, tmp_path):
    clip = bandbridge.load(run_folder / "clip" / "tiny", device="cpu", composite="B04,B03,B02:3000")
    pixels = random_pixels(height=16, width=16)
    picture = np.clip(pixels[[2, 1, 0]] / np.float32(3000) * 255, 0, 255).astype(np.uint8)
    path = write_raster(tmp_path / "x.tif", pixels, BANDS)
    expected = clip.encode_images(np.moveaxis(picture, 0, -1))
    np.testing.assert_allclose(clip.encode_images(path), expected, atol=1e-5)
    np.testing.assert_allclose(clip.encode_images(pixels, bands=BANDS), expected, atol=1e-5)
