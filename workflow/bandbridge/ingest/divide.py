"""Dividing a data set into train, val and test by shares, so that samples stay where they are when others come.

A sample's split depends only on a hash of its name (SHA-256 of `seed:name`, its first eight bytes as a fraction of
2**64): below the share of test it is test, from one minus the share of val on it is val, else train. So neither new
samples nor another order move one, and a larger share takes samples only from train. Where a few samples leave a split
with none, the nearest one is taken.
"""

import hashlib
import math
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bandbridge.base.errors import UserError

BY_CLASS = "by_class"
# Of the Earth (IUGG's mean radius), in metres.
RADIUS = 6_371_008.8
# Where val and test are everything, rounding must not leave a train.
_EVERYTHING, _NOTHING = 1 - 1e-9, 1e-9
MOST_EXAMPLES = 3


def fraction_of(name: str, seed: int) -> float:
    """Where the hash of a name lies between 0 and 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") / 2**64


def splits_of(names: Collection[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of each name by the shares of 'val' and 'test'; 'train' is the rest, and may be nothing."""
    fractions = {name: fraction_of(name, seed) for name in names}
    has_train = sum(shares.values()) < _EVERYTHING
    bounds = {"test": (0.0, shares["test"]), "val": (1 - shares["val"], 1.0)}
    if has_train:
        bounds["train"] = (shares["test"], 1 - shares["val"])
    val_begin = 1 - shares["val"] if has_train else 0.0
    splits = {
        name: "test" if fraction < shares["test"] else "val" if fraction >= val_begin else "train"
        for name, fraction in fractions.items()
    }
    for split, (low, high) in bounds.items():
        counts = Counter(splits.values())
        spare = [name for name, current in splits.items() if counts[current] > 1]
        if high - low > _NOTHING and not counts[split] and spare:
            nearest = min(spare, key=lambda name: (max(low - fractions[name], fractions[name] - high), name))
            splits[nearest] = split
            _log(f"{split} would have no sample: {nearest} is moved to it, until there are more samples")
    return splits


def block_of(lat: float, lon: float, side: float) -> str:
    """The square of `side` metres that a place is in, as a name.

    Squares lie in rows of equal latitude, counted from the equator; in each row they are counted from Greenwich, with
    the length of a degree at the row's middle (a sinusoidal grid).
    """
    row = math.floor(math.radians(lat) * RADIUS / side)
    middle = min(math.pi / 2, abs(row + 0.5) * side / RADIUS)
    return f"{row} {math.floor(math.radians(lon) * RADIUS * math.cos(middle) / side)}"


def divide(
    names: Sequence[str],
    classes: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    draw: str,
    places: Sequence[tuple[float, float] | None] = (),
    spatial_block: float | None = None,
) -> list[str]:
    """A split for each item.

    Args:
        names: the keys that are hashed; a name's split is the same whatever other items there are.
        classes: of the items, one each; all the same where items have several.
        draw: 'by_id' by the hash of the name; 'by_class' so that each class is divided by the same shares (rounded),
            in the order of the items: then one more item moves others.
        places: latitude and longitude of each item, where `spatial_block` is set.
        spatial_block: side of squares in metres: the hash of the square decides, so neighbours stay together.

    Raises:
        UserError: an item's place is unknown, and `spatial_block` is set.
    """
    if draw == BY_CLASS:
        splits = stratified_splits(classes, shares["val"], shares["test"], seed)
        # Rounding may leave an item of a class.
        everything = sum(shares.values()) >= _EVERYTHING
        return ["test" if everything and split == "train" else split for split in splits]
    if spatial_block is not None:
        names = _squares(names, places, spatial_block)
    split_of = splits_of(set(names), shares, seed)
    splits = [split_of[name] for name in names]
    _log_absent(classes, splits, shares)
    return splits


def stratified_splits(classes: Sequence[str], val: float, test: float, seed: int) -> list[str]:
    """'train', 'val' or 'test' for each item, so that each class is divided by the same shares (rounded per class).

    The same classes in the same order and the same seed give the same splits.
    """
    splits = np.full(len(classes), "train", dtype="<U5")
    random = np.random.default_rng(seed)
    labels = np.asarray(classes)
    for name in sorted(set(classes)):
        members = random.permutation(np.flatnonzero(labels == name))
        n_val, n_test = round(len(members) * val), round(len(members) * test)
        splits[members[:n_val]] = "val"
        splits[members[n_val : n_val + n_test]] = "test"
    return [str(split) for split in splits]


def _squares(names: Sequence[str], places: Sequence[tuple[float, float] | None], side: float) -> list[str]:
    nowhere = [name for name, place in zip(names, places, strict=True) if place is None]
    if nowhere:
        raise UserError(
            f"spatial_block needs the place of every sample, and {len(nowhere)} of {len(names)} have none: "
            f"{', '.join(nowhere[:MOST_EXAMPLES])}; add columns of lat and lon, or use georeferenced files"
        )
    return [block_of(*place, side) for place in places if place is not None]


def _log_absent(classes: Sequence[str], splits: Sequence[str], shares: Mapping[str, float]) -> None:
    """Log the classes that a split lacks: shares hold only on average, so small classes may miss a split."""
    train = 1 - sum(shares.values())
    for split in (name for name, share in {"train": train, **shares}.items() if share > _NOTHING):
        present = {name for name, item_split in zip(classes, splits, strict=True) if item_split == split}
        absent = sorted(set(classes) - present)
        if absent and len(set(classes)) > 1:
            examples = ", ".join(absent[:MOST_EXAMPLES]) + (" ..." if len(absent) > MOST_EXAMPLES else "")
            _log(f"no sample in {split} of {len(absent)} classes: {examples}; another seed may help")


def _log(message: str) -> None:
    print(message, file=sys.stderr)
