"""Types that several sections of the configuration have."""

from typing import Annotated, Literal

from pydantic import Field

from bandbridge.base.model_types import BY_TYPE, LIST, MAPPING, TEXT, UNIQUE, Count, Section, Text, UserPath, key

# Upper ends are far above what runs: a number beyond them is a slip of the keyboard.
Positive = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Smoothing = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Steps = Annotated[int, Field(ge=0, le=100_000_000)]

# A student's or a prompt set's: it becomes part of file names.
PathName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80)]
Names = Annotated[Annotated[Text, TEXT] | Annotated[list[Text], Field(min_length=1), LIST], BY_TYPE]
WeightSources = Annotated[Annotated[UserPath, TEXT] | Annotated[list[UserPath], Field(min_length=1), LIST], BY_TYPE]
Counts = Annotated[list[Count], Field(min_length=1), UNIQUE]
Precision = Literal["auto", "bfloat16", "float16", "float32"]
ClassWeights = Literal["balanced", "root"] | None


class Task(Section):
    """Images of a data set, and the prompts that its classes are named by."""

    dataset: str = key("a file of workflow/datasets/")
    prompts: str = key("a file of workflow/prompts/, or a key of `prompts`")
    nomenclature: str = key("one of the data set's nomenclatures; its first where absent", is_optional=True)


OneTaskOrMore = Annotated[Annotated[Task, MAPPING] | Annotated[list[Task], Field(min_length=1), LIST], BY_TYPE]
