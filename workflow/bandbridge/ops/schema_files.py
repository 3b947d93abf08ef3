"""workflow/schemas: the models of YAML files as JSON schemas, for editors. `python -m bandbridge.ops.schema_files`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from bandbridge.base.files import whole_file
from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.dataset_model import DatasetFile
from bandbridge.catalogue.encoder_model import EncoderFile
from bandbridge.catalogue.file_models import ClipConfig, NomenclatureFile, PromptsFile, PublishedFile, TextTowerFile
from bandbridge.catalogue.option_models import OPTION_MODELS, OPTIONS
from bandbridge.config.sections.whole import Config

# The name of a file of workflow/schemas -> the model that it is written from.
MODELS: Mapping[str, type[BaseModel]] = {
    "clip_config": ClipConfig,
    "config": Config,
    "dataset": DatasetFile,
    "encoder": EncoderFile,
    "nomenclature": NomenclatureFile,
    "prompts": PromptsFile,
    "published": PublishedFile,
    "text_tower": TextTowerFile,
}
HEAD = "# Written by `make docs` from the models of the package ({module}); edit those.\n"


class _Readable(GenerateJsonSchema):
    """Schemas as people write them: no titles made of names, `anyOf`, and `propertyNames` for what keys may be."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def tagged_union_schema(self, schema: Any) -> JsonSchemaValue:
        union = super().tagged_union_schema(schema)
        return {"anyOf": union.pop("oneOf"), **{key: item for key, item in union.items() if key != "discriminator"}}

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        described.pop("patternProperties", None)
        names = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        names = {key: item for key, item in names.items() if key != "type"}
        values = self.generate_inner(schema["values_schema"]) if "values_schema" in schema else {}
        described["additionalProperties"] = values or True
        return described | ({"propertyNames": names} if names else {})


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model.

    A key has `x-reruns`, what a change rebuilds, and `x-unit` where the model states them. A default of null stands
    only where null may be written; other optional keys have none.
    """
    schema = model.model_json_schema(schema_generator=_Readable)
    for part in _parts(schema):
        if part.get("default", ...) is None and not _may_be_null(part):
            del part["default"]
        if "description" in part:
            part["description"] = sentence(part["description"])
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        for value in schema.values():
            yield from _parts(value)
        # A section with a key that is called so has a mapping there.
        if not isinstance(schema.get("description"), Mapping):
            yield schema
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)


def _may_be_null(part: Mapping[str, Any]) -> bool:
    return any(choice.get("type") == "null" for choice in part.get("anyOf", ()))


def sentence(text: str) -> str:
    """A comment as a sentence; choices ('mse | cosine') and values keep their case."""
    text = text.strip()
    if re.match(r"[a-z-]+[ ,;:]", text) and " | " not in text and not re.match(r"(null|true|false)\b", text):
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".:" else f"{text}."


def _with_options(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a data set's file, with the options that its reader has and their defaults."""
    choices = []
    for reader, model in OPTION_MODELS.items():
        options = json_schema(model)
        del options["$schema"]
        for name, field in OPTIONS[reader].model_fields.items():
            if not field.is_required():
                options["properties"][name]["default"] = field.default
        schema["$defs"] |= {**options.pop("$defs", {}), model.__name__: options}
        chosen = {"properties": {"options": {"$ref": f"#/$defs/{model.__name__}"}}}
        choices.append({"if": {"properties": {"reader": {"const": reader}}}, "then": chosen})
    return {**schema, "allOf": choices}


def schema_text(name: str) -> str:
    """A file of workflow/schemas."""
    model = MODELS[name]
    schema = json_schema(model)
    schema = _with_options(schema) if model is DatasetFile else schema
    return HEAD.format(module=model.__module__) + yaml.safe_dump(
        schema, sort_keys=False, width=120, default_flow_style=None
    )


if __name__ == "__main__":
    for name in MODELS:
        with whole_file(WORKFLOW / "schemas" / f"{name}.schema.yaml") as part:
            part.write_text(schema_text(name), encoding="utf-8")
