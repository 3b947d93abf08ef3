"""What tests of the report share: every chart that they draw is checked."""

import altair as alt
import jsonschema
import pytest
import vl_convert


@pytest.fixture(scope="session")
def vega_lite() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(alt.load_schema())


@pytest.fixture(autouse=True)
def _charts_are_valid(monkeypatch: pytest.MonkeyPatch, vega_lite: jsonschema.Draft7Validator) -> None:
    """The report draws without it; a chart that a wider fixture has drawn is not seen here."""
    draw = vl_convert.vegalite_to_svg

    def checked(spec, **options):
        vega_lite.validate(spec)
        return draw(spec, **options)

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", checked)
