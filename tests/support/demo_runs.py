"""Runs of the demo's configuration and of what may be changed in it, and choices of alpha for them."""

from typing import Any

from configs import config_with

from bandbridge.base.paths import EncoderName
from bandbridge.config.run import Run

SCENE = {"dataset": "demo_land_cover", "prompts": "satellite"}
DIGITS = {"dataset": "digits", "prompts": "digits"}
TWO = {"tasks": {"patching": [SCENE, DIGITS], "supported": None}}
SEQUENTIALLY = {**TWO, "paint": {"several": "sequentially"}}
IN_PARALLEL = {**TWO, "paint": {"several": "in_parallel"}}
TWO_CLIPS = {"clip": {"name": ["ViT-B-32", "ViT-L-14"], "pretrained": "openai"}}
OTHERS = {"evaluate": {"encoders": ["remoteclip-vit-b-32", {"name": "satmae-vit-l-8", "checkpoint": "x.pth"}]}}
PUBLISHED = {"align": {"students": {"ms-vit": {"pretrained": "ssl4eo-moco-vit-s-16"}}}}
LOCAL = {"align": {"students": {"ms-vit": {"pretrained": "own.pth"}}}}


def run_with(*changes: dict[str, Any]) -> Run:
    return Run(config_with(*changes))


def half(line: str) -> str:
    """The choice on every line, as `chosen` returns it."""
    return str(EncoderName(line, 0.5))


class Choices(list):
    """`chosen` that records the lines it was called with."""

    def __call__(self, line: str) -> str:
        self.append(line)
        return half(line)
