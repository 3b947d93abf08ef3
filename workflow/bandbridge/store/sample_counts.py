"""Whether a data set has as many samples as its scores need, checked as soon as its store is made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.store.dataset import Store


def check_sample_counts(
    path: Path, nomenclatures: Sequence[str], neighbours: Sequence[Mapping[str, Any]], shots: Sequence[int] = ()
) -> dict[str, Any]:
    """Count the samples per nomenclature and split, and compare them with the numbers that scores need.

    Args:
        path: the store.
        nomenclatures: that it is scored in.
        neighbours: settings that need a number of samples: `key` in the configuration, its `values`, the `split` of the
            samples, and whether only those with a label count (`labelled`).
        shots: samples per class of train that probes are fitted on.

    Returns:
        `counts`, nomenclature -> split -> samples with a label in it, and `notes`, sentences.

    Raises:
        UserError: a value exceeds the samples; the message lists all such values.
    """
    everything = Store(path)
    labelled = {name: Store(path, name) for name in nomenclatures}
    notes = [note for store in labelled.values() for note in store.notes]
    faults = []
    for item in neighbours:
        if item["split"] not in everything.splits:
            continue
        for store in labelled.values() if item["labelled"] else [everything]:
            n = len(store.split(item["split"]))
            for value in item["values"]:
                if value > n:
                    faults.append(f"{item['key']} has {value}; {_has(store, n, item['split'])}.")
    for store in labelled.values() if shots and "train" in everything.splits else []:
        per_class = store.split("train").labels.sum(axis=0)
        most = int(per_class.max())
        faults += [
            f"evaluate.linear_probe.shots has {k}; of one class {_has(store, most, 'train')}."
            for k in shots
            if k > most
        ]
        few = [f"{name} ({count})" for name, count in zip(store.classes, per_class, strict=True) if count < max(shots)]
        if few and max(shots) <= most:
            notes.append(
                f"{everything.attrs['dataset']}: probes of {max(shots)} samples per class have fewer of "
                f"{', '.join(few)}."
            )
    if faults:
        raise UserError(
            "\n".join([*dict.fromkeys(faults), "Lower these values, or score data sets with more samples."])
        )
    counts = {name: {split: len(store.split(split)) for split in store.splits} for name, store in labelled.items()}
    return {"counts": counts, "notes": notes}


def _has(store: Store, n: int, split: str) -> str:
    within = f" with a label in {store.nomenclature}" if store.labelled_only else ""
    return f"{store.attrs['dataset']} has {n:,} samples in {split}{within}"
