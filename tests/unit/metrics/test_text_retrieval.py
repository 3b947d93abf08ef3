"""Retrieval of images by the text of a class, against a full sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandbridge.metrics.text_retrieval import retrieval_by_text, retrieval_by_words

quick = settings(max_examples=60)


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), classes=st.integers(1, 6), whole_numbers=st.booleans())
def test_precision_and_recall_are_those_of_a_full_sort(seed, n, classes, whole_numbers):
    generator = np.random.default_rng(seed)
    values = generator.integers(-1, 2, (n + classes, 3)) if whole_numbers else generator.normal(size=(n + classes, 3))
    texts, images = values[:classes], values[classes:]
    labels = (generator.random((n, classes)) < 0.3).astype(np.uint8)
    ks = sorted({1, (n + 1) // 2, n})
    by_k = retrieval_by_text(texts, images, labels, ks)
    length = np.outer(np.linalg.norm(texts, axis=1), np.linalg.norm(images, axis=1))
    cosines = np.divide(texts @ images.T, length, out=np.zeros_like(length), where=length > 0).round(6)
    for index in range(classes):
        order = sorted(range(n), key=lambda image: (-cosines[index, image], image))
        carried = labels[order, index]
        for k in ks:
            if carried.any():
                assert by_k[k].precision[index] == pytest.approx(carried[:k].mean())
                assert by_k[k].recall[index] == pytest.approx(carried[:k].sum() / carried.sum())
            else:
                assert np.isnan([by_k[k].precision[index], by_k[k].recall[index]]).all()


def test_all_images_of_a_class_are_found_among_all_images():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]])
    at_4 = retrieval_by_text(np.eye(3), np.random.default_rng(0).normal(size=(4, 3)), labels, [4])[4]
    np.testing.assert_array_equal(at_4.recall, [1, 1, np.nan])
    np.testing.assert_array_equal(at_4.precision, [3 / 4, 2 / 4, np.nan])


@pytest.mark.parametrize("ks", [[0, 1], [1, 5]])
def test_a_k_outside_the_images_is_an_error(ks):
    with pytest.raises(ValueError, match=r"expected 1\.\.4"):
        retrieval_by_text(np.eye(3), np.ones((4, 3)), np.ones((4, 3)), ks)


# --- words -----------------------------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), words=st.integers(1, 7), whole_numbers=st.booleans())
def test_the_precision_of_words_is_that_of_a_full_sort_and_lift_is_over_the_share(seed, n, words, whole_numbers):
    generator = np.random.default_rng(seed)
    values = generator.integers(-1, 2, (n + words, 3)) if whole_numbers else generator.normal(size=(n + words, 3))
    vectors, images = values[:words], values[words:]
    labels = (generator.random((n, 3)) < 0.3).astype(np.uint8)
    stands_for, k = generator.integers(0, 3, words).tolist(), int(generator.integers(1, n + 1))
    by_word = retrieval_by_words(vectors, images, labels, stands_for, k)
    length = np.outer(np.linalg.norm(vectors, axis=1), np.linalg.norm(images, axis=1))
    cosines = np.divide(vectors @ images.T, length, out=np.zeros_like(length), where=length > 0).round(6)
    for word, column in enumerate(stands_for):
        order = sorted(range(n), key=lambda image: (-cosines[word, image], image))
        carried = labels[order, column]
        if carried.any():
            assert by_word.precision[word] == pytest.approx(carried[:k].mean())
            assert by_word.lift[word] == pytest.approx(carried[:k].mean() / carried.mean())
        else:
            assert np.isnan([by_word.precision[word], by_word.lift[word]]).all()


def test_words_for_one_class_among_its_images_alone_and_among_all():
    images, labels = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    by_word = retrieval_by_words([[2, 0], [0, 3], [0, 1]], images, labels, [0, 0, 1], 2)
    np.testing.assert_array_equal(by_word.precision, [1, 0, 1])
    np.testing.assert_array_equal(by_word.lift, [2, 0, 2])
    np.testing.assert_array_equal(retrieval_by_words(np.ones((1, 2)), images, labels, [1], 4).lift, [1])
