"""Hooks of the documentation site: pages of the Python interface, and the repository's files that docs/ links to.

MkDocs knows the files of docs/ only. So that the same links work in the repository and on the site, pages outside docs/
become pages of the site, other linked files are copied, and each link is rewritten to its target's place on the site.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "bandbridge"
# Pages of the repository outside docs/, and their names on the site.
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "results/README.md": "results.md",
}
# Where files that are no pages are copied to.
FILES = "files"
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
INTERFACE = "Python interface"


def rooms() -> list[str]:
    """The package's rooms, in the order of their names."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each room into the navigation."""
    pages: list[str | dict[str, str]] = ["api/index.md", *({room: f"api/{room}.md"} for room in rooms())]
    config.nav = [{INTERFACE: pages} if INTERFACE in entry else entry for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the interface, and what docs/ and the pages beside it link to."""
    links = "".join(f"- [`bandbridge.{room}`]({room}.md)\n" for room in rooms())
    index = f"# {INTERFACE}\n\nOne page for each room of the package ([architecture](../architecture.md)).\n\n{links}"
    files.append(File.generated(config, "api/index.md", content=index))
    for room in rooms():
        files.append(File.generated(config, f"api/{room}.md", content=f"::: bandbridge.{room}\n"))
    for source, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    for path in sorted(linked_files()):
        files.append(File.generated(config, f"{FILES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the page's links from the repository's folders to the site's."""
    source = {uri: source for source, uri in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return rewritten(markdown, source, page.file.src_uri)


def rewritten(markdown: str, source: str, uri: str) -> str:
    """A page with its links as they are on the site; links to folders become plain text.

    Args:
        markdown: the page as it is in the repository.
        source: its path in the repository.
        uri: its path on the site.
    """

    def on_the_site(link: re.Match[str]) -> str:
        path, _, fragment = link[1].partition("#")
        if not path or ":" in path or uri.startswith("api/"):
            return link[0]
        target = site_path(resolved(source, path))
        relative = os.path.relpath(target, PurePosixPath(uri).parent)
        return f"]({relative}{'#' if fragment else ''}{fragment})"

    pieces, end = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [LINK.sub(on_the_site, without_folders(markdown[end : fence.start()], source)), fence[0]]
        end = fence.end()
    return "".join([*pieces, LINK.sub(on_the_site, without_folders(markdown[end:], source))])


def without_folders(markdown: str, source: str) -> str:
    """The text with links to folders of the repository, which the site does not have, replaced by their words."""

    def words(link: re.Match[str]) -> str:
        is_folder = ":" not in link[2] and (ROOT / resolved(source, link[2])).is_dir()
        return link[1] if is_folder else link[0]

    return re.sub(r"\[([^\]]*)\]\(([^)\s#]+)\)", words, markdown)


def resolved(source: str, path: str) -> str:
    """A relative link of a page of the repository as a path from the repository's root."""
    return os.path.normpath(PurePosixPath(source).parent / path)


def site_path(path: str) -> str:
    """Where a file of the repository lies on the site."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FILES}/{path}"


def linked_files() -> set[str]:
    """Files outside docs/ that are no pages, and that a page links to; paths from the repository's root."""
    sources = [*PAGES, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
    links = {
        resolved(source, target.partition("#")[0])
        for source in sources
        for target in LINK.findall(FENCE.sub("", (ROOT / source).read_text(encoding="utf-8")))
        if ":" not in target and not target.startswith("#")
    }
    return {path for path in links if path not in PAGES and not path.startswith("docs/") and (ROOT / path).is_file()}
