"""Names of encoders lead back to what they were made of, and paths are where a run and its neighbours look for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.alphas import SMALLEST
from bandbridge.base.errors import UserError
from bandbridge.base.paths import EncoderName, Paths, RunPaths, chosen_on, is_on_a_line, line_chosen_on, zero_shot

LINES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True)
ALPHAS = st.one_of(st.sampled_from([0.0, -0.0, 1.0]), st.floats(SMALLEST, 1))
ROOTS = {"run": "demo", "data_root": "data", "store_root": None, "results_root": "results", "log_root": "logs"}


@given(LINES, ALPHAS)
def test_a_name_leads_back_to_its_line_and_alpha(line: str, alpha: float):
    name = EncoderName(line, alpha)
    assert EncoderName.parse(str(name)) == name == EncoderName.if_on_a_line(str(name))
    assert is_on_a_line(str(name))


@given(LINES, ALPHAS, ALPHAS)
def test_two_names_are_equal_where_their_texts_are(line: str, first: float, second: float):
    one, other = EncoderName(line, first), EncoderName(line, second)
    assert (one == other) == (str(one) == str(other))


@pytest.mark.parametrize("text", ["ms-vit", "@0.5", "a@b@0.5", "a@0.50", "a@1e-05", "a@", "a@selected", ""])
def test_nothing_else_is_the_name_of_a_model_on_a_line(text: str):
    with pytest.raises(UserError, match="is not the name of a"):
        EncoderName.parse(text)


def test_an_encoder_without_alpha_is_on_no_line():
    assert EncoderName.if_on_a_line("ms-vit") is None
    assert not is_on_a_line("ms-vit")


def test_what_is_chosen_on_a_line_has_a_name_before_the_choice():
    assert line_chosen_on(chosen_on("demo-clip")) == "demo-clip"
    assert line_chosen_on("demo-clip@0.5") is None
    assert line_chosen_on("ms-vit") is None
    assert zero_shot("demo-clip") == "demo-clip@0"


def test_stores_are_below_the_data_unless_they_have_a_root_of_their_own():
    assert Paths(ROOTS).store("digits") == "data/zarr/digits.zarr/zarr.json"
    assert Paths(ROOTS | {"store_root": "fast"}).store("digits") == "fast/digits.zarr/zarr.json"
    assert Paths(ROOTS | {"store_root": "fast"}).archives("digits") == "data/archives/digits"


def test_a_run_writes_below_a_folder_of_its_name():
    paths = Paths(ROOTS)
    assert paths.metrics == "results/demo/metrics.csv"
    assert paths.logs("align/ms-vit.log") == "logs/demo/align/ms-vit.log"
    assert paths.embeddings("demo-clip@0.5", "digits", "val") == (
        "results/demo/embeddings/demo-clip@0.5/digits.val.zarr/zarr.json"
    )


def test_any_part_of_a_path_may_be_a_wildcard():
    assert Paths(ROOTS).head("{clip}", "{dataset}", "{nomenclature}", "{prompts}") == (
        "results/demo/heads/{clip}/{dataset}.{nomenclature}.{prompts}.npz"
    )


def test_the_files_of_another_run_are_found_by_its_folder():
    other = RunPaths("elsewhere/seed-1")
    assert other.zero_shot("a@1", "digits", "digits-10", "plain", "draws.npz") == (
        "elsewhere/seed-1/metrics/a@1/zero-shot.digits.digits-10.plain.draws.npz"
    )
    assert other.report == Paths(ROOTS | {"results_root": "elsewhere", "run": "seed-1"}).report
