"""Modules import only downwards, and torch only where a network runs."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow" / "bandbridge"

LEVELS = [
    [
        "alphas",
        "code_version",
        "cpu",
        "errors",
        "file_kinds",
        "locations",
        "limits",
        "progress",
        "reasons",
        "resources",
        "slurm",
        "untrusted",
        "yaml_files",
    ],
    ["checksums", "files", "npz", "runlock", "zarr_files"],
    ["job"],
    ["schemas"],
    ["user_paths"],
    ["catalogue_files"],
    ["catalogue"],
    ["sensors", "text_towers"],
    ["settings", "sharing"],
    ["encoder_facts", "run_notes", "clip_support"],
    ["tar_stream", "archives", "connections", "transfer", "download", "listing", "text_tower_fetch", "rasters"],
    ["reader_options"],
    ["readers"],
    ["sizes"],
    ["config_data", "config_words", "config_roots"],
    ["config_clip", "config_encoders", "config_stages"],
    ["config"],
    ["plan", "shards", "convert", "assemble"],
    ["order", "prefetch", "shard_reader", "store", "sample_counts"],
    ["device", "torchscript", "weights", "views"],
    ["checkpoint_files", "state_dict_families", "state_dicts"],
    [
        "heads",
        "clip_transformers",
        "clip_checkpoints",
        "clip_text",
        "clip",
        "text_heads",
        "backbones",
        "students",
        "model_checks",
    ],
    ["encoder_inputs", "encoder_satmae", "encoder_torchgeo", "encoder_weights", "encoders", "encoder_fetch"],
    ["metrics", "probe_solver"],
    ["training"],
    ["selection", "paint"],
    ["embeddings", "embed", "encoder_embed"],
    ["scoring", "scoring_gains", "scoring_probe", "scoring_knn", "scoring_retrieval", "scoring_gap", "curve"],
    ["galleries", "projection"],
    ["published", "tables_base", "tables_scores", "tables_spaces", "tables_study", "table_formats", "tables"],
    ["plots", "plots_models", "plots_datasets", "plots_space", "figures"],
    [
        f"report{part}"
        for part in ("_summary", "_datasets", "_quarantine", "_run", "_spaces", "_curves", "_models", "_probes", "")
    ],
    ["compare", "compare_page", "doctor_machine", "doctor_data", "doctor", "overview", "config_reference"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
WITH_TORCH = {"device", "torchscript", "weights", "views", "clip_checkpoints", "clip_text", "clip", "text_heads"}
WITH_TORCH |= {"checkpoint_files", "state_dict_families", "state_dicts", "clip_transformers"}
WITH_TORCH |= {"backbones", "students", "model_checks", "training", "paint", "embed", "probe_solver", "encoder_inputs"}
WITH_TORCH |= {"encoder_satmae", "encoder_torchgeo", "encoders", "encoder_fetch", "encoder_embed"}

MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of everything a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_downwards(path: Path):
    own = [name.split(".")[1] for name in imports(path) if name.startswith("bandbridge.") and name.count(".")]
    above = {name for name in own if name in LEVEL and LEVEL[name] > LEVEL[part(path)]}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_imported_only_where_a_network_runs(path: Path):
    found = {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision", "open_clip", "timm"}
    assert not found or part(path) in WITH_TORCH
