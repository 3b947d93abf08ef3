"""Files that are not data: those that operating systems, file managers and GIS programs leave beside data."""

# Of Windows, of macOS, of network storage and of notebooks; hidden files and folders, which begin with a dot, as well.
TRACES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "@eadir", "lost+found", "__pycache__"),
}
# What GDAL notes down beside a file, most often statistics.
NOTES = ".aux.xml"
# Locks, files that are still being written, and what QGIS and GDAL write when a file is merely opened.
TRACE_ENDINGS = (NOTES, ".part", ".crdownload", ".tmp", ".lock", ".lck", ".qmd", ".qpj", "~")
# World files, by the usual ending of the raster that they belong to: of 'a.jpg', 'a.jgw', 'a.jpgw' or 'a.jgwx'.
WORLD_FILES = {
    ".tif": (".tfw", ".tifw", ".tiffw", ".tfwx"),
    ".jpg": (".jgw", ".jpgw", ".jpegw", ".jgwx"),
    ".png": (".pgw", ".pngw", ".pgwx"),
    ".jp2": (".j2w", ".jp2w", ".j2kw", ".j2wx"),
    ".gif": (".gfw", ".gifw", ".gfwx"),
    ".bmp": (".bpw", ".bmpw", ".bpwx"),
    ".webp": (".webpw",),
}
# Files that belong to another one: overviews, masks, headers, places, styles.
SIDE_ENDINGS = (
    *(".ovr", ".rrd", ".msk", ".hdr", ".sta", ".enp", ".prj", ".wld", ".qml", ".sld", ".clr", ".cpg"),
    *(ending for endings in WORLD_FILES.values() for ending in endings),
)


def is_trace(name: str) -> bool:
    """Whether a file or folder of this name is a trace of a program: one that comes or goes changes no data."""
    lower = name.lower()
    return name.startswith((".", "~$")) or lower in TRACES or lower.endswith(TRACE_ENDINGS)


def is_junk(member: str) -> bool:
    """Whether a file, named by its path with '/', is no data by itself: a trace, or a file beside another one."""
    return member.lower().endswith(SIDE_ENDINGS) or any(map(is_trace, member.split("/")))
