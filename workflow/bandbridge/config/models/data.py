"""`tasks`, `preprocess` and `prompts`: what is patched, and the data and words that it is patched with."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from bandbridge.base.model_types import BY_TYPE, LIST, MAPPING, BrokenRuleError, Section, Share, Text, key
from bandbridge.config.models.types import OneTaskOrMore, Templates


class Tasks(Section):
    """What is patched, and what must stay."""

    patching: OneTaskOrMore = key(
        "the task CLIP is patched on: the fine-tuning's data and head, and the curve's vertical axis",
        reruns="the fine-tuning and all that follows",
    )
    supported: OneTaskOrMore | None = key(
        "the task whose accuracy must not suffer; null where there is none (then: criterion fixed)",
        reruns="its scores and the choice of alpha",
    )


class Preprocess(Section):
    """How data sets are converted."""

    max_quarantined_share: Share = key("of a data set's samples: more that are damaged or mislabelled stop the run")
    watch: Literal["times", "content", "nothing"] = key(
        "how a change of your own image files is noticed: times (names, sizes, times), content, nothing",
        reruns="the conversion of data sets of your own",
    )


class PromptSet(Section):
    """What a data set's classes are called in sentences."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    templates: Templates = key("sentences with one {} each, which takes the class name", is_optional=True)
    names: dict[str, Text] = key("class -> what fills the templates, in place of its usual name", is_optional=True)
    classes: dict[str, Annotated[list[Text], Field(min_length=1)]] = key(
        "class -> its own sentences, in place of the templates", is_optional=True
    )

    @model_validator(mode="after")
    def _something(self) -> "PromptSet":
        if not self.model_fields_set:
            raise BrokenRuleError("too_few", min_length=1)
        return self


Prompts = Annotated[Annotated[Templates, LIST] | Annotated[PromptSet, MAPPING], BY_TYPE]
