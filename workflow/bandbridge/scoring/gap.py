"""From embeddings to rows of the metrics table: distances between encoders and texts on the unit sphere."""

from functools import partial

from bandbridge.metrics.gap import alignment, centroid_distance, mean_cosine, uniformity
from bandbridge.scoring.retrieval import must_be_counterparts
from bandbridge.scoring.rows import Row
from bandbridge.scoring.zero_shot import must_share_space, row_of
from bandbridge.store.embeddings import Embeddings
from bandbridge.store.heads import Head


def student_gap_rows(teacher: Embeddings, student: Embeddings, run: str, seed: int) -> list[Row]:
    """Rows of the gap between a student and the patched CLIP that taught it, on the same samples.

    Rows of modality `rgb-<the student's>` hold the distance of the centroids, and the mean squared distance and mean
    cosine of the pairs; a row of the student's modality holds its uniformity.

    Raises:
        UserError: the two are not of the same samples or width.
    """
    must_be_counterparts(teacher, student)
    modality = student.attrs["modality"]
    pair = (teacher.embedding, student.embedding)
    row = partial(row_of(student.attrs, task="gap", run=run, seed=seed), n=len(student.ids))
    between = partial(row, modality=f"{teacher.attrs['modality']}-{modality}")
    return [
        between(metric="centroid_distance", value=centroid_distance(*pair)),
        between(metric="alignment", value=alignment(*pair)),
        between(metric="cosine", value=mean_cosine(*pair)),
        row(metric="uniformity", value=uniformity(student.embedding)),
    ]


def encoder_gap_rows(
    encoder: Embeddings,
    zero_shot: Embeddings | None,
    head: Head | None,
    run: str,
    seed: int,
    nomenclature: str = "",
    prompts: str = "",
) -> list[Row]:
    """Rows of a single image encoder: its uniformity, and its distances to zero-shot CLIP and to the class vectors.

    Args:
        encoder: embeddings of one split.
        zero_shot: embeddings of the same samples by the CLIP that was patched, for `cosine_to_zero_shot`.
        head: class vectors of the same CLIP, for the distance between the centroids of images and classes (modality
            `rgb-text`).
        run: name of the run.
        seed: of the run.
        nomenclature: of the head, for its row.
        prompts: of the head, for its row.

    Raises:
        UserError: zero_shot is not of the same samples, or one of the three is of another width.
    """
    attrs = encoder.attrs
    row = partial(row_of(attrs, task="gap", run=run, seed=seed), n=len(encoder.ids))
    rows = [row(metric="uniformity", value=uniformity(encoder.embedding))]
    if zero_shot is not None:
        must_be_counterparts(zero_shot, encoder)
        cosine = mean_cosine(zero_shot.embedding, encoder.embedding)
        rows.append(row(metric="cosine_to_zero_shot", value=cosine))
    if head is not None:
        must_share_space(encoder, head)
        distance = centroid_distance(encoder.embedding, head.weights)
        named = {"modality": f"{attrs['modality']}-text", "nomenclature": nomenclature, "prompts": prompts}
        rows.append(row(metric="centroid_distance", value=distance, **named))
    return rows
