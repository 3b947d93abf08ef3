"""What surrounds the code: workflows, hooks, templates and metadata are valid and agree with the repository."""

import re
import shlex
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import bandbridge

ROOT = Path(__file__).parents[3]
FILES = [
    ROOT / ".gitlab-ci.yml",
    ROOT / ".pre-commit-config.yaml",
    ROOT / ".snakemake-workflow-catalog.yml",
    ROOT / "CITATION.cff",
    ROOT / "mkdocs.yml",
    *sorted((ROOT / ".github").rglob("*.yml")),
]
GITHUB = ROOT / ".github/workflows/checks.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
TRACKED = [ROOT / "config.yaml", ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.*"), *(ROOT / "docs").rglob("*.md")]
PYTHONS = [
    text.split(" :: ")[-1]
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    if " :: 3." in text
]


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def matrices() -> dict[str, tuple[list[str], list[str]]]:
    """The Pythons and the combinations of presets of each platform's workflow."""
    github, gitlab = read(GITHUB)["jobs"], read(GITLAB)
    return {
        "GitHub": (github["unit"]["strategy"]["matrix"]["python"], github["plan"]["strategy"]["matrix"]["presets"]),
        "GitLab": (
            gitlab["unit"]["parallel"]["matrix"][0]["PYTHON_VERSION"],
            gitlab["plan"]["parallel"]["matrix"][0]["PRESETS"],
        ),
    }


def scripts() -> Iterator[str]:
    """Every line that a workflow runs."""
    for job in read(GITHUB)["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)
    for job in read(GITLAB).values():
        yield from job.get("script", []) if isinstance(job, dict) else []
    yield from (line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make "))


def test_files_of_tests_differ_in_their_names():
    """pytest imports them as modules of one folder."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_the_project_is_yaml(path: Path):
    assert read(path)


def test_the_version_is_the_same_everywhere():
    assert str(read(ROOT / "CITATION.cff")["version"]) == bandbridge.__version__
    releases = re.findall(r"^## \[(\d[^]]*)\](?: - (\S+))?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == (bandbridge.__version__, str(read(ROOT / "CITATION.cff")["date-released"]))


@pytest.mark.parametrize("platform", ["GitHub", "GitLab"])
def test_a_workflow_tests_every_supported_python(platform: str):
    assert matrices()[platform][0] == PYTHONS


@pytest.mark.parametrize("platform", ["GitHub", "GitLab"])
def test_a_workflow_plans_every_preset(platform: str):
    planned = {preset for presets in matrices()[platform][1] for preset in presets.split()}
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "workflow/presets").glob("*.yaml")}
    assert planned == presets | {"config.yaml"}


def test_workflows_run_targets_of_the_makefile_and_installed_programs():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = list(scripts())
    assert len(lines) > 8
    for line in lines:
        program, argument, *more = shlex.split(line)
        paths = {word for word in (argument, *more) if re.fullmatch(r"(tests|workflow|docs)(/[\w./-]+)?", word)}
        assert [path for path in paths if not (ROOT / path).exists()] == []
        assert (program == "make" and argument in targets) or program in (
            ".venv/bin/python",
            ".venv/bin/snakemake",
            "git",
        )


def test_jobs_of_github_have_a_machine_and_steps_and_those_of_gitlab_a_stage_that_is_listed():
    for name, job in read(GITHUB)["jobs"].items():
        assert {"runs-on", "steps"} <= set(job), name
        assert all(("run" in step) != ("uses" in step) for step in job["steps"]), name
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step), name
        assert set(job.get("needs", [])) <= set(read(GITHUB)["jobs"]), name
    gitlab = read(GITLAB)
    jobs = {name: job for name, job in gitlab.items() if isinstance(job, dict) and "script" in job}
    assert {job["stage"] for job in jobs.values()} == set(gitlab["stages"])
    artifacts = {path for job in jobs.values() for path in job.get("artifacts", {}).get("paths", [])}
    assert artifacts == {read(ROOT / "mkdocs.yml").get("site_dir", "site")}


def test_hooks_before_a_commit_are_programs_of_the_environment():
    (local,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        assert hook["language"] == "system", hook["id"]
        assert shutil.which(shlex.split(hook["entry"])[0]), hook["entry"]
        pattern = re.compile(hook.get("files", ""))
        assert any(pattern.search(str(path.relative_to(ROOT))) for path in TRACKED), hook["id"]


def test_forms_for_issues_ask_for_something():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = read(path)
        if path.stem == "config":
            continue
        assert {"name", "description", "body"} <= set(form)
        asked = [field["id"] for field in form["body"]]
        assert len(asked) == len(set(asked)) > 0
        assert all(field["attributes"].get("label") for field in form["body"])


def test_both_platforms_ask_the_same_of_a_change():
    github = ROOT / ".github/PULL_REQUEST_TEMPLATE.md"
    assert github.read_text() == (ROOT / ".gitlab/merge_request_templates/Default.md").read_text()
