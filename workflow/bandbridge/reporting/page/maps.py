"""The report's maps: a picture, the area of each class, agreement with polygons."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.files import read_json


def map_view(path: Path) -> dict[str, Any]:
    """What the page shows of a map, of the JSON that `use.apply` wrote beside it."""
    about = read_json(path)
    agreement, on_test = about["agreement"], about["test_agreement"]
    picture = (path.parent / about["picture"]).read_bytes()
    rows = [
        {
            "name": area["name"],
            "colour": f"rgb({', '.join(map(str, area['colour']))})",
            "share": f"{area['share']:.1%}",
            "km2": "" if area["km2"] is None else f"{area['km2']:,.1f}",
            "agreement": _percent(agreement["per_class"][area["name"]]) if agreement else "",
            "test_agreement": _percent(on_test["per_class"][area["name"]]) if on_test else "",
        }
        for area in about["areas"]
    ]
    step = "" if about["stride"] == about["window"] else f", one every {about['stride']}"
    return {
        "name": about["name"],
        "picture": "data:image/png;base64," + base64.b64encode(picture).decode(),
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
    everywhere = (
        f"{agreement['share']:.1%} of {agreement['pixels']:,} pixels with a known class agree, "
        f"{agreement['balanced']:.1%} as a mean over classes; polygons that the model was trained on are among them."
    )
    if on_test is None:
        return f"{everywhere} None of the pixels is in a test sample alone."
    return (
        f"On test samples alone, which the model has not seen, {on_test['share']:.1%} of {on_test['pixels']:,} pixels "
        f"with a known class agree, {on_test['balanced']:.1%} as a mean over classes. Everywhere, {everywhere}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
