"""The report's maps: a picture, the area of each class, agreement with polygons."""

from pathlib import Path
from typing import Any

from bandbridge.base.data_uris import data_uri
from bandbridge.base.files import read_json
from bandbridge.reporting.tables.model import percent


def map_view(path: Path) -> dict[str, Any]:
    """What the page shows of a map, of the JSON that `use.apply` wrote beside it."""
    about = read_json(path)
    agreement = about["agreement"]
    picture = (path.parent / about["picture"]).read_bytes()
    rows = [
        {
            "name": area["name"],
            "colour": f"rgb({', '.join(map(str, area['colour']))})",
            "share": percent(area["share"]),
            "km2": "" if area["km2"] is None else f"{area['km2']:,.1f}",
            "agreement": percent(agreement["per_class"][area["name"]]) if agreement else "",
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
        "agreement": ""
        if agreement is None
        else f"{percent(agreement['share'])} of {agreement['pixels']:,} pixels with a known class agree, "
        f"{percent(agreement['balanced'])} as a mean over classes; polygons that the model was trained on are among "
        "them.",
    }
