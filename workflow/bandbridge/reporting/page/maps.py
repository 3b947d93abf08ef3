"""The report's maps: a picture, the area of each class, agreement with polygons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.data_uris import data_uri
from bandbridge.base.files import read_json
from bandbridge.reporting.tables.model import percent


def map_view(path: Path) -> dict[str, Any]:
    """What the page shows of a map, of the JSON that `use.apply` wrote beside it."""
    about = read_json(path)
    agreement, on_test = about["agreement"], about["test_agreement"]
    picture = (path.parent / about["picture"]).read_bytes()
    rows = [
        {
            "name": area["name"],
            "colour": f"rgb({', '.join(map(str, area['colour']))})",
            "share": percent(area["share"]),
            "km2": "" if area["km2"] is None else f"{area['km2']:,.1f}",
            "agreement": percent(agreement["per_class"][area["name"]]) if agreement else "",
            "test_agreement": percent(on_test["per_class"][area["name"]]) if on_test else "",
        }
        for area in about["areas"]
    ]
    step = "" if about["stride"] == about["window"] else f", one every {about['stride']}"
    return {
        "name": about["name"],
        "picture": data_uri(picture, "image/png"),
        "width": about["picture_width"],
        "rows": rows,
        "has_area": any(row["km2"] for row in rows),
        "summary": ", ".join(f"{row['name']} {row['share']}" for row in rows),
        "caption": f"By {about['model']}, in windows of {about['window']} pixels{step}. The map itself: "
        f"apply/{about['map']}.",
        "agreement": _sentence(agreement, on_test),
        "has_test": on_test is not None,
    }


def _sentence(agreement: Mapping[str, Any] | None, on_test: Mapping[str, Any] | None) -> str:
    if agreement is None:
        return ""
    everywhere = f"{_shares(agreement)}; polygons that the model was trained on are among them."
    if on_test is None:
        return f"{everywhere} None of the pixels is in a test sample alone."
    return f"On test samples alone, which the model has not seen, {_shares(on_test)}. Everywhere, {everywhere}"


def _shares(agreement: Mapping[str, Any]) -> str:
    return (
        f"{percent(agreement['share'])} of {agreement['pixels']:,} pixels with a known class agree, "
        f"{percent(agreement['balanced'])} as a mean over classes"
    )
