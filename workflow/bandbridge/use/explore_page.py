"""The page of `bandbridge explore`, by Panel: on the loopback only, and it asks no other host for anything."""

import errno
import secrets
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, LinearColorMapper
from bokeh.models.annotations import ColorBar
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from bandbridge.base.errors import UserError
from bandbridge.base.locations import WORKFLOW
from bandbridge.use.explore import Explored, spectra, wavelengths
from bandbridge.use.hits import described, shown, template
from bandbridge.use.search import Hit, Query, all_cosines, best_hits, query_vector

LOOPBACK = "127.0.0.1"
# Panel and Bokeh start by scripts within the page; everything else is a file of this server.
POLICY = (
    "default-src 'none'; script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; worker-src 'self' "
    "blob:; base-uri 'none'; form-action 'none'"
)
TOPS, TOP = (6, 12, 24, 48), 12
STRENGTHS, STRENGTH = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 0.6  # of the colours over a scene
CHOSEN, MEAN, REST = "#b64e0c", "#0b62a8", "#7d848b"


def serve(explored: Explored, port: int, opens_browser: bool) -> None:
    """Serve the page until the process gets SIGINT or SIGTERM.

    The address has a secret, because other users of the machine reach the loopback as well.

    Args:
        explored: what the page shows.
        port: 0 for a free one.
        opens_browser: open the page in the user's browser.

    Raises:
        UserError: the port is taken, or needs an administrator.
    """
    port = port or _free_port()
    secret = secrets.token_urlsafe(12)
    try:
        server = pn.serve(
            {secret: lambda: Page(explored).template},
            port=port,
            address=LOOPBACK,
            # The second is what a browser says through a tunnel (ssh -L).
            websocket_origin=[f"{LOOPBACK}:{port}", f"localhost:{port}"],
            title=explored.title,
            show=False,
            start=False,
            verbose=False,
            use_index=False,
        )
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UserError(
            f"--port is {port}, which cannot be used ({error.strerror}); leave it out for a free one."
        ) from error
    address = f"http://{LOOPBACK}:{port}/{secret}"
    print(f"{explored.title}: {address}\nEnd with Ctrl-C.", flush=True)
    if opens_browser:
        server.io_loop.add_callback(webbrowser.open, address)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    server.start()
    server.io_loop.start()
    server.stop()
    print("Ended.", file=sys.stderr)


def _part(name: str, *values: Any) -> str:
    """A part of the page, in which the text of the user and of files is escaped."""
    return str(getattr(template("hit_list.html.j2").module, name)(*values))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        number: int = free.getsockname()[1]
    return number


class Page:
    """One reader's page: widgets, pictures, and what a question changes in them."""

    def __init__(self, explored: Explored) -> None:
        self.explored = explored
        self.words = pn.widgets.TextInput(name="Find", placeholder="a lake", sizing_mode="stretch_width")
        self.unlike = pn.widgets.TextInput(name="But not like", placeholder="a river", sizing_mode="stretch_width")
        # Not sliders or number fields: Panel gives their handles and buttons no name that a screen reader could say.
        self.top = pn.widgets.Select(name="Best places", options=list(TOPS), value=TOP, sizing_mode="stretch_width")
        self.find = pn.widgets.Button(name="Find", button_type="primary")
        self.status = pn.pane.HTML(sizing_mode="stretch_width")
        self.best = pn.pane.HTML(sizing_mode="stretch_width")
        self.spectra = Spectra(explored)
        self.view = Scene(explored, self._tapped) if explored.overview else Places(explored)
        self.cosines: Any = None
        self.find.on_click(self._ask)
        for widget in (self.words, self.unlike, self.top):
            widget.param.watch(self._ask, "value")
        self._say("Type words, then press Enter.")

    @property
    def template(self) -> pn.Template:
        explored = self.explored
        card = explored.model.card
        things = "windows" if explored.archive.about["window"] else "images"
        template = pn.Template((WORKFLOW / "report" / "explore.html.j2").read_text(encoding="utf-8"))
        template.add_variable("policy", POLICY)
        template.add_variable("name", explored.title)
        template.add_variable("about", f"{explored.archive.rows:,} {things}, by {card.title or card.name}")
        template.add_variable("where", "Similarity" if explored.overview else "Their places")
        for name in ("words", "unlike", "top", "find", "status", "best"):
            template.add_panel(name, getattr(self, name))
        template.add_panel("view", self.view.layout)
        template.add_panel("spectra", self.spectra.layout)
        return template

    def _say(self, text: str, is_error: bool = False) -> None:
        self.status.object = _part("status", text, is_error)

    def _ask(self, _: Any) -> None:
        _later(self._answer)

    def _answer(self) -> None:
        texts, unlike = str(self.words.value).strip(), str(self.unlike.value).strip()
        if not texts:
            return self._say("Type words, then press Enter.")
        query = Query((texts,), not_texts=(unlike,) if unlike else ())
        try:
            vector = query_vector(self.explored.model, query)
            self.cosines = all_cosines(self.explored.archive, vector)
            hits = best_hits(self.explored.archive, self.cosines, self.top.value)
        except UserError as error:
            return self._say(str(error), is_error=True)
        self.view.show(self.cosines, hits)
        self.spectra.show(hits)
        self.best.object = _part("places", [self._entry(hit) for hit in hits])
        return self._say(f"{query}: cosines from {self.cosines.min():.3f} to {self.cosines.max():.3f}.")

    def _entry(self, hit: Hit) -> dict[str, Any]:
        entry = shown(self.explored.archive, hit)
        place = f"row {entry['row']}, column {entry['col']}"
        if self.explored.overview is None:
            is_whole = self.explored.archive.about["window"] is None
            place = Path(entry["path"]).name + ("" if is_whole else f", {place}")
        return {**entry, "place": place}

    def _tapped(self, row: int) -> None:
        _later(lambda: self._choose(row))

    def _choose(self, row: int) -> None:
        (record,) = self.explored.archive.records([row])
        self.spectra.choose(record)
        cosine = "" if self.cosines is None else f", cosine {self.cosines[row]:.3f}"
        self._say(f"Row {record['row']}, column {record['col']}{cosine}: its spectrum is drawn in orange.")


def _later(change: Callable[[], None]) -> None:
    """Change the page in the event loop's next turn: Panel's events come without the lock that Bokeh's models need."""
    document = pn.state.curdoc
    assert document is not None
    document.add_next_tick_callback(change)


def _plot(**options: Any) -> Any:
    """A plot as wide as its place; a finger that moves over it moves the page, until a tool is chosen."""
    options |= {"tools": "pan,wheel_zoom,box_zoom,reset,save", "active_drag": None, "toolbar_location": "above"}
    plot = figure(**{"sizing_mode": "stretch_width", **options})
    plot.toolbar.logo = None
    return plot


class Scene:
    """The scene in its colours, under the similarity of its windows and the frames of the best."""

    def __init__(self, explored: Explored, tapped: Callable[[int], None]) -> None:
        assert explored.overview is not None
        self.overview = overview = explored.overview
        self._tapped = tapped
        height, width = overview.height, overview.width
        sides = {"x_range": DataRange1d(range_padding=0), "y_range": DataRange1d(range_padding=0, flipped=True)}
        plot = _plot(sizing_mode="scale_width", aspect_ratio=width / (height + 0.2 * width), match_aspect=True, **sides)
        plot.grid.visible = False
        place = {"x": 0, "y": 0, "dw": width, "dh": height}
        ground = plot.image_rgba(image=[np.ascontiguousarray(overview.picture).view(np.uint32)[..., 0]], **place)
        for side in sides.values():
            side.renderers = [ground]
        self.mapper = LinearColorMapper(palette=Viridis256, low=0, high=1, nan_color="rgba(0, 0, 0, 0)")
        nothing = np.full(overview.picture.shape[:2], np.nan, np.float32)
        self.cosines = ColumnDataSource({"image": [nothing]})
        shown = plot.image(image="image", source=self.cosines, color_mapper=self.mapper, global_alpha=STRENGTH, **place)
        plot.add_tools(HoverTool(renderers=[shown], tooltips=[("cosine", "@image{0.000}")]))
        plot.add_layout(ColorBar(color_mapper=self.mapper, title="cosine", height=12), "below")
        self.frames = ColumnDataSource({"x": [], "y": [], "left": [], "top": [], "side": [], "rank": []})
        for colour, thickness in (("white", 3), (CHOSEN, 1.5)):
            style = {"fill_alpha": 0, "line_color": colour, "line_width": thickness}
            plot.rect("x", "y", "side", "side", source=self.frames, **style)
        plot.text(
            "left", "top", "rank", source=self.frames, anchor="bottom_left", text_color="white",
            text_font_size="11px", background_fill_color=CHOSEN, padding=2,
        )  # fmt: skip
        plot.on_event(Tap, self._on_tap)
        strength = pn.widgets.Select(name="Strength of the colours", options=list(STRENGTHS), value=STRENGTH)
        strength.jslink(shown.glyph, code={"value": "target.global_alpha = Number(source.value)"})
        strength.sizing_mode = "stretch_width"
        self.layout = pn.Column(strength, pn.pane.Bokeh(plot, sizing_mode="scale_width"), sizing_mode="stretch_width")

    def show(self, cosines: Any, hits: Sequence[Hit]) -> None:
        spread, size = self.overview.spread(cosines), self.overview.size
        self.mapper.update(low=float(np.nanmin(spread)), high=float(np.nanmax(spread)))
        self.cosines.data = {"image": [spread]}
        self.frames.data = {
            "x": [hit.record["col"] + size / 2 for hit in hits],
            "y": [hit.record["row"] + size / 2 for hit in hits],
            "left": [hit.record["col"] for hit in hits],
            "top": [hit.record["row"] for hit in hits],
            "side": [size] * len(hits),
            "rank": [str(hit.rank) for hit in hits],
        }

    def _on_tap(self, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        row = self.overview.at(event.x, event.y)
        if row is not None:
            self._tapped(row)


class Places:
    """Where the images of an archive are: all of them in grey, the best by their ranks."""

    def __init__(self, explored: Explored) -> None:
        self.hits = ColumnDataSource({"lon": [], "lat": [], "rank": [], "cosine": []})
        self.layout: Any
        if not len(explored.places):
            self.layout = pn.pane.HTML("<p>The archive's images state no place.</p>")
            return
        plot = _plot(height=380, x_axis_label="longitude", y_axis_label="latitude")
        plot.scatter(explored.places[:, 0], explored.places[:, 1], size=4, color=REST, alpha=0.4)
        best = plot.scatter("lon", "lat", source=self.hits, size=18, color=CHOSEN, line_color="white")
        style = {"text_color": "white", "text_font_size": "10px", "anchor": "center"}
        plot.text("lon", "lat", "rank", source=self.hits, **style)
        plot.add_tools(HoverTool(renderers=[best], tooltips=[("place", "@rank"), ("cosine", "@cosine{0.000}")]))
        self.layout = pn.pane.Bokeh(plot, sizing_mode="stretch_width")

    def show(self, _: Any, hits: Sequence[Hit]) -> None:
        rows = [row for row in map(described, hits) if row["lat"] is not None]
        names = ("lon", "lat", "rank", "cosine")
        self.hits.data = {name: [str(row[name]) if name == "rank" else row[name] for row in rows] for name in names}


class Spectra:
    """Mean values of the bands: of each of the best places, of all of them, of the scene, of the place chosen."""

    def __init__(self, explored: Explored) -> None:
        self.explored = explored
        bands = explored.model.bands
        centres = wavelengths(bands)
        self.bands = sorted(bands, key=centres.__getitem__) if centres else list(bands)
        self.at = [centres[name] for name in self.bands] if centres else [float(at) for at in range(len(bands))]
        label = "wavelength (nm)" if centres else "band"
        plot = _plot(height=380, x_axis_label=label, y_axis_label=explored.model.card.units or "value")
        if not centres:
            plot.xaxis.ticker = self.at
            plot.xaxis.major_label_overrides = dict(zip(map(int, self.at), self.bands, strict=True))
        empty = self._line({})
        self.each = ColumnDataSource({"xs": [], "ys": []})
        self.mean, self.chosen = ColumnDataSource(empty), ColumnDataSource(empty)
        plot.multi_line("xs", "ys", source=self.each, color=MEAN, alpha=0.25)
        lines = [plot.line("x", "y", source=self.mean, color=MEAN, line_width=2.5, legend_label="best places, mean")]
        if explored.overview is not None:
            style = {"color": CHOSEN, "line_width": 2, "legend_label": "place tapped"}
            lines.append(plot.line("x", "y", source=self.chosen, **style))
            whole = ColumnDataSource(self._line(explored.overview.mean))
            style = {"color": REST, "line_width": 2, "line_dash": "dashed"}
            lines.append(plot.line("x", "y", source=whole, legend_label="whole scene", **style))
        plot.add_tools(HoverTool(renderers=lines, tooltips=[("band", "@band"), ("value", "@y{0,0.0}")]))
        plot.add_layout(plot.legend[0], "below")
        plot.legend.orientation = "horizontal"
        self.layout = pn.pane.Bokeh(plot, sizing_mode="stretch_width")

    def show(self, hits: Sequence[Hit]) -> None:
        means = [mean for mean in spectra(self.explored, [hit.record for hit in hits]) if mean]
        lines = [self._line(mean) for mean in means]
        self.each.data = {"xs": [line["x"] for line in lines], "ys": [line["y"] for line in lines]}
        shared = [name for name in self.bands if all(name in mean for mean in means)] if means else []
        self.mean.data = self._line({name: float(np.mean([mean[name] for mean in means])) for name in shared})

    def choose(self, record: dict[str, Any]) -> None:
        (mean,) = spectra(self.explored, [record])
        self.chosen.data = self._line(mean)

    def _line(self, mean: dict[str, float]) -> Any:
        known = [(x, mean[name], name) for x, name in zip(self.at, self.bands, strict=True) if name in mean]
        return {"x": [x for x, _, _ in known], "y": [y for _, y, _ in known], "band": [name for _, _, name in known]}
