"""`tasks`, `preprocess` and `prompts`: what is patched, and the data and words that it is patched with."""

from typing import Annotated, Literal

from pydantic import Field

from bandbridge.base.model_types import BY_TYPE, LIST, MAPPING, Section, Share, SomeKeys, Templates, Text, key
from bandbridge.config.sections.types import OneTaskOrMore


class Tasks(Section):
    """What is patched, and what must stay."""

    patching: OneTaskOrMore = key(
        "the task CLIP is patched on: the fine-tuning's data and frozen zero-shot head, and the curve's vertical axis; "
        "either role may have a list of tasks (see paint.several, and docs/method.md)",
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


class PromptSet(SomeKeys):
    """What a data set's classes are called in sentences."""

    templates: Templates = key("sentences with one {} each, which takes the class name", is_optional=True)
    names: dict[str, Text] = key("class -> what fills the templates, in place of its usual name", is_optional=True)
    classes: dict[str, Annotated[list[Text], Field(min_length=1)]] = key(
        "class -> its own sentences, in place of the templates", is_optional=True
    )


Prompts = Annotated[Annotated[Templates, LIST] | Annotated[PromptSet, MAPPING], BY_TYPE]
