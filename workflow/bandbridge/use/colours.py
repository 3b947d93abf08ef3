"""Colours of classes on maps: suggested by the class's name, else from a fixed palette."""

from collections.abc import Sequence

Colour = tuple[int, int, int]

# Words in a class's name -> its colour; the first match is used.
SUGGESTED: tuple[tuple[tuple[str, ...], Colour], ...] = (
    (("water", "lake", "river", "sea", "ocean", "pond", "marine"), (62, 120, 190)),
    (("wetland", "marsh", "bog", "swamp"), (118, 166, 178)),
    (("forest", "tree", "wood", "conifer", "broad-leaved"), (46, 105, 56)),
    (("shrub", "scrub", "moor", "heath"), (141, 140, 76)),
    (("meadow", "grass", "pasture", "vegetation"), (152, 197, 104)),
    (("farm", "crop", "arable", "field", "agric", "vineyard", "orchard"), (232, 205, 116)),
    (("resident", "urban", "city", "town", "village", "house", "building", "industr", "built"), (196, 72, 66)),
    (("road", "highway", "rail", "airport"), (110, 110, 110)),
    (("bare", "sand", "beach", "rock", "desert", "soil"), (203, 178, 146)),
    (("snow", "ice", "cloud"), (240, 240, 244)),
)
# Paul Tol's muted and light schemes, which people with colour vision deficiencies can distinguish.
PALETTE: tuple[Colour, ...] = (
    (51, 34, 136), (136, 204, 238), (68, 170, 153), (17, 119, 51), (153, 153, 51), (221, 204, 119), (204, 102, 119),
    (136, 34, 85), (170, 68, 153), (119, 170, 221), (238, 136, 102), (238, 221, 136), (170, 170, 0), (153, 221, 255),
)  # fmt: skip


def class_colours(names: Sequence[str]) -> list[Colour]:
    """A different colour for each class."""
    chosen: list[Colour] = []
    for name in names:
        suggestion = next(
            (colour for words, colour in SUGGESTED if any(word in name.casefold() for word in words)), None
        )
        if suggestion is None or suggestion in chosen:
            suggestion = next((colour for colour in PALETTE if colour not in chosen), None)
        chosen.append(suggestion or _another(len(chosen)))
    return chosen


def _another(number: int) -> Colour:
    """A colour beyond the palette; hues are spread by the golden angle."""
    from colorsys import hsv_to_rgb

    red, green, blue = hsv_to_rgb(number * 0.618034 % 1, 0.35 + 0.5 * (number % 3) / 2, 0.55 + 0.4 * (number % 2))
    return round(255 * red), round(255 * green), round(255 * blue)
