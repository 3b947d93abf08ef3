"""The documentation is true to the repository: its commands, links, keys, names and generated pages."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from bandbridge.catalogue.datasets import merged
from bandbridge.config.checks import validate
from bandbridge.ops import config_reference
from bandbridge.ops.config_reference import in_words, keys

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "results/README.md",
]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
# Programs that are no part of the repository and need no test.
ELSEWHERE = {
    "cd",
    "git",
    "less",
    "ls",
    "mkdocs",
    "nano",
    "pip",
    "pre-commit",
    "pytest",
    "python3.13",
    "sacctmgr",
    "sbatch",
    "sinfo",
    "source",
    "squeue",
    "tail",
    "tensorboard",
    "tmux",
    "unzip",
}


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^\s*```.*?^\s*```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> Iterator[str]:
    for block in re.finditer(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
        yield block[2]


def commands() -> list[tuple[str, str]]:
    """Every command of the documentation: in blocks of sh, and in spans of code that begin like one."""
    documented = []
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        lines += re.findall(r"`((?:make|snakemake|python|\.venv/bin/\w+) [^`]+)`", prose(page).replace("\n", " "))
        documented += [(page.name, " ".join(line.split(" # ")[0].split())) for line in lines if line.strip()]
    return list(dict.fromkeys(documented))


# --- commands ---------------------------------------------------------------------------------------------------------


@cache
def snakemakes_parser() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser([])


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: value)
def test_a_command_of_the_documentation_is_one(page: str, command: str):
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    program = words[0].removeprefix(".venv/bin/")
    match program:
        case "make":
            targets = {word for word in words[1:] if "=" not in word}
            known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert targets <= known
        case "snakemake":
            snakemake(words[1:])
        case "python":
            python(words[1:])
        case "bandbridge":
            bandbridge(words[1:])
        case _:
            assert program in ELSEWHERE


def bandbridge(words: list[str]) -> None:
    """The command exists and has the options."""
    from typer.main import get_command

    from bandbridge.use.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert words[0] in commands
    options = {option for parameter in commands[words[0]].params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= options


def snakemake(words: list[str]) -> None:
    """The arguments are Snakemake's, the files are there, the rules exist, and what is configured is valid."""
    words = ["demo" if word == "<run>" else word for word in words]
    options = snakemakes_parser().parse_args([word for word in words if not word.startswith("--report")])
    config = DEMO
    for file in options.configfile or []:
        if not str(file).startswith("my"):  # a reader's own
            config = merged(config, yaml.safe_load((ROOT / file).read_text()))
    values = [
        item.split("=", 1) for group in options.config or [] for item in ([group] if isinstance(group, str) else group)
    ]
    validate(merged(config, {key: yaml.safe_load(value) for key, value in values}))
    for profile in options.profile or []:
        assert (ROOT / profile / "config.yaml").is_file()
    text = (ROOT / "Snakefile").read_text() + "".join(
        path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk")
    )
    rules = set(re.findall(r"^\s*(?:rule|checkpoint) (\w+):", text, re.MULTILINE))
    targets = [target for target in options.targets or [] if "/" not in target and "." not in target]
    assert set(targets) <= rules


def python(words: list[str]) -> None:
    """The script or module exists."""
    if words[0] == "-m":
        module = ROOT / "workflow" / Path(*words[1].split("."))
        assert module.with_suffix(".py").is_file() or words[1] in ("pytest", "venv", "pip")
    else:
        assert (ROOT / words[0]).is_file()


@pytest.mark.slow
def test_the_doctor_and_the_reference_run_as_make_calls_them():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    for module, text in (("doctor", "configuration"), ("config_reference", "# Configuration")):
        command = [sys.executable, "-m", f"bandbridge.ops.{module}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert text in done.stdout
        assert done.stderr == ""


def test_every_target_of_the_makefile_is_listed_with_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) | {"help"}
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert targets == set(phony[1].split())


# --- links, names, snippets -------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    text = prose(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE)
            assert fragment in map(anchor, headings), target


def test_every_page_of_the_documentation_is_found_from_its_index():
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs/index.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path):
    for path in re.findall(r"`((?:workflow|docs|tests|benchmarks|profiles|envs)/[\w./-]*\w/?)`", prose(page)):
        # 'workflow/datasets/my_scene.yaml' is the reader's to write.
        assert (ROOT / path).exists() or "my" in Path(path).name, path


@pytest.mark.slow
def test_names_of_the_recipes_are_names_of_the_code():
    recipes = (ROOT / "CONTRIBUTING.md").read_text().partition("## Words")[0]
    names = set(re.findall(r"`([a-z_]+_[a-z_]+|[A-Z]\w+)(?:\(.*?\))?`", recipes))
    assert len(names) > 20
    sources = [
        *(ROOT / "workflow").rglob("*.py"),
        *(ROOT / "workflow/rules").glob("*.smk"),
        *ROOT.rglob("tests/**/*.py"),
    ]
    words = {word for path in sources for word in re.findall(r"\w+", path.read_text())}
    assert names - words == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_that_are_named_are_of_the_schema(page: Path):
    known = {re.sub(r"<name>", "*", key.path) for key in keys(SCHEMA)}
    first = "|".join(name for name in SCHEMA["properties"] if name not in ("datasets", "prompts", "report"))
    for path in re.findall(rf"`((?:{first})\.[a-zA-Z_.<>*-]+)`", prose(page)):
        pattern = re.sub(r"<\w+>", "*", path).removesuffix(".*")
        if pattern.startswith(("tasks.*", "evaluate.nomenclatures.", "evaluate.datasets.")):
            continue
        if re.fullmatch(r"[\w.]+\.(yaml|py|md|csv|tex|json)", path):
            continue
        assert pattern in known, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_of_yaml_are_yaml(page: Path):
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block) is not None


@pytest.mark.parametrize(("page", "presets"), [("tutorial", []), ("reproduce-paper", ["paper"])])
def test_configurations_that_are_shown_are_valid(page: str, presets: list[str]):
    config = DEMO
    for preset in presets:
        config = merged(config, yaml.safe_load((ROOT / f"workflow/presets/{preset}.yaml").read_text()))
    shown = list(blocks(ROOT / f"docs/{page}.md", "yaml"))
    assert shown
    for block in shown:
        validate(merged(config, yaml.safe_load(block)))


def test_messages_that_the_faq_explains_are_those_of_the_code():
    # Pieces of one message stand on several lines of code, and what is put in stands in braces.
    sources = [path.read_text() for path in (ROOT / "workflow/bandbridge").rglob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    others = {  # Snakemake's, Python's, open_clip's
        "Config file is not valid JSON or YAML",
        "No such file or directory",
        "invalid choice: ",
        "fetch",
        " (choose from ",
        "Failed to download weights for tag ",
        "; expected a whole number",  # put together of its words
        "is not a known key; allowed:",
    }
    headings = re.findall(r"^### (.*`.*)$", (ROOT / "docs/faq.md").read_text(), re.MULTILINE)
    messages = [message for heading in headings for message in re.findall(r"`([^`]+)`", heading)]
    assert len(messages) > 15
    for message in messages:
        for piece in re.split(r"…|'[\w.]*'|finetune\.epochs| float16", message):
            known = any(piece.strip("'. ") in text for text in (code, *others))
            assert known or any(other.strip() in piece for other in others), piece


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_configuration_page_is_what_the_models_make():
    assert (ROOT / "docs/configuration.md").read_text() == config_reference.reference(), "run `make docs`"


def test_every_key_of_the_schema_is_on_the_page_and_says_what_it_reruns():
    page = config_reference.reference()
    for key in keys(SCHEMA):
        assert f"`{key.path}`" in page
        assert key.reruns, key.path


def test_every_key_of_the_default_configuration_has_its_default_on_the_page():
    page = config_reference.reference()
    epochs = DEMO["finetune"]["epochs"]
    assert f"| `finetune.epochs` | whole number, at least 1 | `{epochs}` |" in page
    assert "| `paint.select.criterion` | one of `mean`, `max_loss`, `fixed` | `max_loss` |" in page
    assert "`align.students.<name>.bands`" in page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "whole number, at least 1"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "number, 0 to 1"),
        ({"type": "number", "exclusiveMinimum": 0}, "number, more than 0"),
        ({"type": ["string", "null"]}, "text or `null`"),
        ({"enum": ["a", None, 2]}, "one of `a`, `null`, `2`"),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
        ({"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"type": "number"}]}, "list of 2: number"),
        ({"type": "object", "additionalProperties": {"type": "object"}}, "mapping of names to mapping"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/name"}]}, "`null` or text"),
        ({}, "any value"),
    ],
)
def test_types_come_in_words(schema: dict[str, object], words: str):
    assert in_words({"$defs": {"name": {"type": "string"}}}, schema) == words
