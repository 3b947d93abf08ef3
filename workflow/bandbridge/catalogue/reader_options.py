"""A data set's options as the model of its reader, with defaults, checked against each other and the data set."""

from typing import Any, TypeVar

from bandbridge.base.errors import UserError
from bandbridge.base.model_faults import model_faults
from bandbridge.catalogue.datasets import Dataset
from bandbridge.catalogue.option_models import OPTIONS, Options

T = TypeVar("T", bound=Options)

# What happens to bands and modalities of a sample on another grid than the first.
OTHER_GRIDS = ("refuse", "resample")
# The options of scenes that decide labels, by their kind.
LABEL_OPTIONS = {"single": ("dominant_share",), "multi": ("labelled_share", "label_share")}
ONE_MODALITY = ("digits", "folder", "scene")  # readers of a single modality


def options_of(dataset: Dataset) -> Any:
    """A data set's options as the model of its reader.

    Raises:
        UserError: an option is unknown, missing or wrong, or does not go with the data set's modalities or labels.
    """
    if dataset.reader in ONE_MODALITY and len(dataset.modalities) > 1:
        names = ", ".join(modality.name for modality in dataset.modalities)
        raise UserError(
            f"{dataset.name}: the {dataset.reader} reader reads one modality, not {names}; use the table reader"
        )
    if dataset.reader == "scene":
        for kind, label_options in LABEL_OPTIONS.items():
            wrong = [name for name in label_options if dataset.options.get(name) is not None]
            if wrong and kind != dataset.label_kind:
                raise UserError(
                    f"options of {dataset.name}: {wrong[0]} belongs to labels of kind {kind}, and labels.kind is "
                    f"{dataset.label_kind}; use {' and '.join(LABEL_OPTIONS[dataset.label_kind])}"
                )
    return parse_options(OPTIONS[dataset.reader], dataset)


def min_valid_share(dataset: Dataset) -> float:
    """The share of a sample's pixels that must hold data in all bands, for readers that check it; 0 for others."""
    field = OPTIONS[dataset.reader].model_fields.get("min_valid_share")
    stated = dataset.options.get("min_valid_share")
    return float((field.default if field else 0.0) if stated is None else stated)


def parse_options(kind: type[T], dataset: Dataset) -> T:
    """The data set's options as a reader's model; a `UserError` names one that is unknown, missing or wrong."""
    # null is the default, so that the configuration can undo what the data set's file states.
    stated = {name: value for name, value in dataset.options.items() if value is not None}
    faults = list(model_faults(stated, kind)) or list(kind.model_validate(stated).faults())
    if faults:
        raise UserError("\n".join(f"options of {dataset.name}: {fault}" for fault in faults))
    return kind.model_validate(stated)
