"""The fast way from bands to a student's input gives what training gave."""

import pytest
import torch
from band_images import BANDS, OPTIONS

from bandbridge.models.preprocessing import BandStatistics
from bandbridge.models.students import Student, StudentSpec
from bandbridge.use.inputs import student_inputs


@pytest.mark.parametrize("scaling", ["standardise", "reflectance"])
@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize("shape", [(9, 9), (16, 16), (40, 23), (64, 64)])
def test_inputs_are_those_of_training(scaling, fill, shape):
    statistics = BandStatistics((2000.0, 1500.0, 900.0, 2500.0, 12.0), (1100.0, 600.0, 500.0, 900.0, 3.0))
    student = Student(StudentSpec("vit_tiny_patch16_224", OPTIONS, BANDS, scaling, 16, fill=fill), 8, statistics)
    pixels = torch.randint(0, 12_000, (3, 4, *shape), generator=torch.Generator().manual_seed(0))
    expected = student.inputs(pixels, BANDS[:4])
    torch.testing.assert_close(student_inputs(student)(pixels, BANDS[:4]), expected, atol=1e-5, rtol=1e-5)


def test_missing_bands_are_named_once(capsys):
    student = Student(StudentSpec("vit_tiny_patch16_224", OPTIONS, BANDS, "reflectance", 16), 8)
    prepare = student_inputs(student)
    for _ in range(3):
        prepare(torch.zeros(1, 2, 16, 16), ("B02", "B10"))
    assert capsys.readouterr().err.count("lack B03, B04, B08") == 1
