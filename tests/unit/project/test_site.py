"""The documentation site: links that work in the repository work there, and it is complete without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import yaml

pytest.importorskip("mkdocs", reason="the extra docs brings mkdocs and griffe")

import site_pages
from griffe import Docstring, Parser, parse
from shared_arguments import split_arguments

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("source", "uri", "link", "expected"),
    [
        ("docs/index.md", "index.md", "[a](method.md#align)", "[a](method.md#align)"),
        ("docs/index.md", "index.md", "[a](../README.md)", "[a](readme.md)"),
        ("docs/index.md", "index.md", "[a](../config.yaml)", "[a](files/config.yaml)"),
        ("docs/index.md", "index.md", "[the folder](../envs)", "the folder"),
        ("docs/index.md", "index.md", "[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("docs/index.md", "index.md", "[a](#here)", "[a](#here)"),
        ("README.md", "readme.md", "![a](docs/images/report.png)", "![a](images/report.png)"),
        ("benchmarks/README.md", "benchmarks.md", "[a](../docs/method.md#intervals)", "[a](method.md#intervals)"),
        ("docs/index.md", "index.md", "```\n[a](../README.md)\n```", "```\n[a](../README.md)\n```"),
    ],
)
def test_a_link_of_the_repository_is_rewritten_to_the_site(source: str, uri: str, link: str, expected: str):
    assert site_pages.rewritten(link, source, uri) == expected


def test_every_room_of_the_package_has_a_page():
    folders = {path.name for path in (ROOT / "workflow/bandbridge").iterdir() if (path / "__init__.py").is_file()}
    assert set(site_pages.rooms()) == folders


def test_the_navigation_names_pages_that_exist():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = [page for section in navigation for entry in section.values() if isinstance(entry, list) for page in entry]
    named = {path for page in pages for path in page.values()}
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert named - set(site_pages.PAGES.values()) <= written
    assert set(site_pages.PAGES.values()) <= named


def test_arguments_on_one_line_of_a_docstring_become_entries_of_their_own():
    arguments_section = "Args:\n    low, high: ends,\n        in metres.\n    n: a count.\n"
    split = split_arguments(f"One line.\n\n{arguments_section}\nReturns:\n    a, b: two numbers.")
    sections = parse(Docstring(split), Parser.google, warnings=False)
    arguments = {argument.name: argument.description for argument in sections[1].value}
    assert arguments == {"low": "ends,\nin metres.", "high": "As `low`.", "n": "a count."}
    assert split.endswith("Returns:\n    a, b: two numbers.")


@pytest.mark.parametrize("text", ["", "One line.", "Args:\n    one: alone, and: with a comma.\n"])
def test_other_docstrings_are_left_alone(text: str):
    assert split_arguments(text) == text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]*\srel="(?:stylesheet|icon|preload|preconnect)"[^>]*\shref="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]*\shref="([^"]+)"[^>]*\srel="(?:stylesheet|icon|preload|preconnect)"', text)
        assert loaded, page
        for address in loaded:
            parts = urlparse(address)
            assert parts.scheme in ("", "data"), f"{page.name} loads {address}"
            if page.name != "404.html":  # its addresses begin at the server's root
                assert parts.scheme == "data" or (page.parent / unquote(parts.path)).is_file(), address
