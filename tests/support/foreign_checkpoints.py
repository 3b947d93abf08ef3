"""Foreign files in place of a CLIP's weights: good ones in every wrapping, and bad ones."""

import argparse
import bz2
import datetime
import gzip
import io
import json
import os
import pathlib
import pickle
from collections import OrderedDict, defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from packed import tar, zipped
from safetensors.torch import save, save_file
from torch import nn

LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 605143884\n"


@dataclass(frozen=True)
class Settings:
    """A class that a training program may have pickled beside its weights."""

    rate: float = 0.1


class Harm:
    """A pickle that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.open, (str(self.path), os.O_CREAT)


def torch_saved(content, legacy=False):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def protocol(number, content, legacy=False):
    """As torch.save writes it with a newer protocol than its default."""
    file = io.BytesIO()
    torch.save(content, file, pickle_protocol=number, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def shifted(state):
    """Other weights of the same names."""
    return {name: value + 1 for name, value in state.items()}


def options(**values):
    return argparse.Namespace(lr=0.1, name="ViT", root=pathlib.Path("/data"), best=np.float32(0.5), **values)


def transformers_names(state):
    """A CLIP's tensors as transformers has them, in its order: the inverse of what is tested, written another way."""
    theirs = {}
    for name, value in state.items():
        side, rest = ("vision_model", name[7:]) if name.startswith("visual.") else ("text_model", name)
        rest = rest.replace("transformer.resblocks.", "encoder.layers.").replace("attn.out_proj", "self_attn.out_proj")
        for ours, other in (
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
            ("ln_pre", "pre_layrnorm"),
            ("ln_post", "post_layernorm"),
            ("ln_final", "final_layer_norm"),
            ("conv1", "embeddings.patch_embedding"),
            ("class_embedding", "embeddings.class_embedding"),
            ("token_embedding", "embeddings.token_embedding"),
        ):
            rest = rest.replace(ours, other)
        if rest == "positional_embedding":
            theirs[f"{side}.embeddings.position_embedding.weight"] = value
        elif name == "visual.proj":
            theirs["visual_projection.weight"] = value.T.contiguous()
        elif name == "text_projection":
            theirs["text_projection.weight"] = value.T.contiguous()
        elif name == "logit_scale":
            theirs["logit_scale"] = value
        elif "attn.in_proj_" in rest:
            place, kind = rest.split("attn.in_proj_")
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                theirs[f"{side}.{place}self_attn.{letter}_proj.{kind}"] = part.clone()
        else:
            theirs[f"{side}.{rest}"] = value
    return theirs


def npz(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]


def sharded(path, state, **index):
    """A model in two files and their list; returns the list's path."""
    names = list(state)
    halves = {"a-1.safetensors": names[::2], "a-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: state[name].contiguous() for name in part}, path.parent / file)
    places = {name: file for file, part in halves.items() for name in part}
    listed = path.with_name("model.safetensors.index.json")
    listed.write_text(json.dumps({"metadata": {}, "weight_map": places | index}))
    return listed


def quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8) if value.ndim == 2 else value


def with_numbers(state, change):
    """The state with its first matrix's first value changed."""
    changed = {name: value.clone() for name, value in state.items()}
    changed["visual.proj"][0, 0] = change
    return changed


# --- good weights, however they are wrapped: state -> content of a file

GOOD = {
    "a state dict": lambda s: torch_saved(s),
    "torch.save's format before 1.6": lambda s: torch_saved(s, legacy=True),
    "safetensors": lambda s: save({name: value.contiguous() for name, value in s.items()}),
    "npz": lambda s: npz({name: value.numpy() for name, value in s.items()}),
    "open_clip's training": lambda s: torch_saved(
        {"epoch": 3, "name": "x", "state_dict": under("module.", s), "optimizer": {"state": {0: {"exp_avg": s}}}}
    ),
    "torch.compile": lambda s: torch_saved(under("_orig_mod.", s)),
    "data parallel and torch.compile": lambda s: torch_saved({"model": under("module._orig_mod.", s)}),
    "torch.compile of the image encoder alone": lambda s: torch_saved(
        {name.replace("visual.", "visual._orig_mod."): value for name, value in s.items()}
    ),
    "Lightning": lambda s: torch_saved(
        {"state_dict": under("model.", s), "hyper_parameters": {"lr": 0.1}, "callbacks": {}, "loops": {"a": [1, None]}}
    ),
    "Lightning with a loss of its own": lambda s: torch_saved(
        {"state_dict": under("clip_model.", s) | {"criterion.weight": torch.ones(3)}}
    ),
    "clip.": lambda s: torch_saved(under("clip.", s)),
    "model_state_dict, NumPy numbers": lambda s: torch_saved(
        {"model_state_dict": s, "best": np.float64(0.5), "step": np.int64(7), "flag": np.bool_(True)}
    ),
    "NumPy arrays beside": lambda s: torch_saved({"state_dict": s, "losses": np.arange(3.0), "names": np.array(["a"])}),
    "argparse's options": lambda s: torch_saved({"model": s, "args": options()}),
    "numbers among the tensors": lambda s: torch_saved({**s, "epoch": 3, "metric": "mAP"}),
    "NumPy arrays in place of tensors": lambda s: torch_saved({name: value.numpy() for name, value in s.items()}),
    "big-endian arrays": lambda s: npz({name: value.numpy().astype(">f4") for name, value in s.items()}),
    "an average of torch.optim.swa_utils": lambda s: torch_saved(
        {**under("module.", s), "n_averaged": torch.tensor(5)}
    ),
    "dates, versions, types": lambda s: torch_saved(
        {
            "model": s,
            "date": datetime.datetime(2024, 1, 2),
            "torch": torch.__version__,
            "dtype": torch.float16,
            "set": {1},
        }
    ),
    "states of random numbers": lambda s: torch_saved(
        {
            "model": s,
            "torch": torch.get_rng_state(),
            "numpy": np.random.default_rng(0).bytes(3),
            "shape": torch.Size([2]),
        }
    ),
    "three containers": lambda s: torch_saved(
        {"checkpoint": {"model": {"state_dict": under("module.clip_model.", s)}}}
    ),
    "an OrderedDict of parameters": lambda s: torch_saved(OrderedDict((k, nn.Parameter(v)) for k, v in s.items())),
    "a running average beside (timm)": lambda s: torch_saved({"state_dict": shifted(s), "state_dict_ema": s}),
    "a running average beside (ema)": lambda s: torch_saved({"model": shifted(s), "ema": under("module.", s)}),
    "student and teacher (DINO)": lambda s: torch_saved({"student": shifted(s), "teacher": s}),
    "float64": lambda s: torch_saved({name: value.double() for name, value in s.items()}),
    "OpenAI's constants": lambda s: torch_saved({**s, "input_resolution": torch.tensor(16)}),
    "an old text encoder's constants": lambda s: torch_saved({**s, "attn_mask": torch.zeros(8, 8)}),
    "a scale of shape (1,)": lambda s: torch_saved(s | {"logit_scale": s["logit_scale"].reshape(1)}),
    "not contiguous": lambda s: torch_saved(s | {"visual.proj": s["visual.proj"].T.contiguous().T}),
    "transformers' CLIP": lambda s: torch_saved(transformers_names(s)),
    "transformers' CLIP in training": lambda s: torch_saved(
        {"state_dict": under("module.clip.", transformers_names(s))}
    ),
    "transformers' CLIP with its constants": lambda s: torch_saved(
        transformers_names(s) | {"text_model.embeddings.position_ids": torch.arange(8)[None]}
    ),
}

# Good as well, but for the rounding of their type.
ROUNDED = {
    "float16": lambda s: torch_saved({name: value.half() for name, value in s.items()}),
    "bfloat16": lambda s: torch_saved({name: value.bfloat16() for name, value in s.items()}),
    "bfloat16 safetensors": lambda s: save({name: value.bfloat16().contiguous() for name, value in s.items()}),
}

# --- no checkpoint, or one that cannot be used: state -> content of a file, and the error message

BAD = {
    "empty": (lambda s: b"", r"is empty \(0 bytes\)"),
    "a Git LFS pointer": (lambda s: LFS_POINTER.encode(), r"is a Git LFS pointer.*git lfs pull"),
    "a web page": (lambda s: b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"),
    "a server's JSON error": (lambda s: b'{"error": "Repository not found"}', "is JSON text.*Repository not found"),
    "a server's XML error": (lambda s: b"<?xml version='1.0'?><Error>AccessDenied</Error>", "XML answer.*AccessDenied"),
    "text": (lambda s: b"epoch,loss\n1,0.5\n", "is a text file: 'epoch,loss"),
    "zeros": (lambda s: bytes(5000), "only zeros"),
    "noise": (lambda s: bytes(range(200, 250)) * 9, r"of no known format \(it begins c8 c9"),
    "gzip": (lambda s: gzip.compress(torch_saved(s)), "is a gzip archive; unpack it"),
    "bzip2": (lambda s: bz2.compress(b"x" * 99), "is a bzip2 archive; unpack it"),
    "tar": (lambda s: tar({"weights.pt": torch_saved(s)}), "is a tar archive; unpack it"),
    "a zip of something else": (
        lambda s: zipped({"a/b.txt": "x"}),
        r"a zip archive; unpack it.*contains a/b\.txt",
    ),
    "a zip of a checkpoint": (lambda s: zipped({"w.pt": torch_saved(s)}), r"is a zip archive.*It contains w\.pt"),
    "HDF5": (lambda s: b"\x89HDF\r\n\x1a\n" + bytes(99), "TensorFlow or Keras"),
    "GGUF": (lambda s: b"GGUF\x03" + bytes(99), "llama.cpp"),
    "ONNX": (lambda s: b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(range(128, 250)), "is a file of ONNX"),
    "npy": (lambda s: b"\x93NUMPY\x01\x00" + bytes(99), "a single NumPy array"),
    "a plain pickle": (lambda s: pickle.dumps({"a": 1}), "pickle that torch.save did not write.*not read"),
    "cut after a third": (lambda s: torch_saved(s)[: len(torch_saved(s)) // 3], "is incomplete"),
    "cut, old format": (lambda s: torch_saved(s, legacy=True)[:-400], "is damaged or incomplete"),
    "cut, safetensors": (lambda s: save(s)[:-7], "safetensors file that is damaged or incomplete"),
    "cut in the header, safetensors": (lambda s: save(s)[:100], "safetensors file that is damaged or incomplete"),
    "cut, npz": (lambda s: npz({k: v.numpy() for k, v in s.items()})[:-9], "is incomplete"),
    "damaged, zip": (lambda s: flipped(torch_saved(s), len(torch_saved(s)) // 2), "is damaged: the checksum of"),
    "an npz of objects": (lambda s: npz({"a": np.array([{}], dtype=object)}), "holds pickled objects"),
    "protocol 4": (lambda s: protocol(4, s), "pickle_protocol 4 or 5"),
    "protocol 5, old format": (lambda s: protocol(5, s, legacy=True), "pickle_protocol 4 or 5"),
    "two state dicts in a list": (lambda s: torch_saved([s, s]), "found a list of 2"),
    "numbers for names": (
        lambda s: torch_saved(dict(enumerate(s.values()))),
        r"contains nothing of tiny\. It contains 38 tensors: 0, 1, 2",
    ),
    "transformers' CLIP without queries": (
        lambda s: torch_saved({k: v for k, v in transformers_names(s).items() if "q_proj" not in k}),
        r"4 missing \(visual\.transformer\.resblocks\.0\.attn\.in_proj_weight",
    ),
    "a tensor alone": (lambda s: torch_saved(torch.ones(2, 3)), r"found a single tensor of shape \(2, 3\)"),
    "a list": (lambda s: torch_saved([torch.ones(2)]), "found a list of 1"),
    "numbers alone": (lambda s: torch_saved({"epoch": 3, "lr": 0.1}), "contains no named tensors; it has epoch, lr"),
    "nothing": (lambda s: torch_saved({}), "contains no named tensors; it has nothing"),
    "a whole model": (
        lambda s: torch_saved(nn.Linear(2, 2)),
        r"contains torch\.nn\.modules\.linear.*runs code",
    ),
    "a class beside": (
        lambda s: torch_saved({"model": s, "cfg": Settings()}),
        r"foreign_checkpoints\.Settings",
    ),
    "a factory beside": (lambda s: torch_saved({"m": s, "d": defaultdict(list)}), r"contains collections\.defaultdict"),
    "NaN": (
        lambda s: torch_saved(with_numbers(s, float("nan"))),
        r"NaN or infinity in 1 of \d+.*visual\.proj: 1 of 128",
    ),
    "infinity": (lambda s: save(with_numbers(s, float("inf"))), r"NaN or infinity in 1 of \d+ tensors"),
    "an overflow in float16": (
        lambda s: torch_saved({k: v.half() for k, v in with_numbers(s, 1e6).items()}),
        "NaN or infinity.*half precision overflowed",
    ),
    "all zeros": (lambda s: torch_saved({k: torch.zeros_like(v) for k, v in s.items()}), "are zero"),
    "whole numbers": (lambda s: torch_saved({k: v.to(torch.int8) for k, v in s.items()}), "values of type int8"),
    "quantised": (lambda s: torch_saved({k: quantised(v) for k, v in s.items()}), "values of type qint8 in"),
    "8-bit floats": (
        lambda s: torch_saved({k: v.to(torch.float8_e4m3fn) for k, v in s.items()}),
        "values of type float8_e4m3fn",
    ),
    "complex": (lambda s: torch_saved({k: v.to(torch.complex64) for k, v in s.items()}), "values of type complex64"),
    "sparse": (lambda s: torch_saved(s | {"visual.proj": s["visual.proj"].to_sparse()}), "sparse layout"),
    "without values": (lambda s: torch_saved({k: v.to("meta") for k, v in s.items()}), "no values"),
    "a tensor missing": (
        lambda s: torch_saved({k: v for k, v in s.items() if k != "visual.proj"}),
        r"1 missing \(visual\.p",
    ),
    "a tensor too many": (lambda s: torch_saved({**s, "visual.more": torch.ones(1)}), r"1 unknown \(visual\.more\)"),
    "another shape": (
        lambda s: torch_saved(s | {"visual.proj": torch.ones(16, 9)}),
        r"1 of another shape \(visual\.proj is \(16, 9\), expected \(16, 8\)\)",
    ),
    "two sets": (lambda s: torch_saved({"best": s, "last": shifted(s)}), "two sets.*under 'best' and under 'last'"),
    "an optimiser alone": (
        lambda s: torch_saved({"state": {0: {"exp_avg_sq": torch.ones(2)}}, "param_groups": [{}]}),
        "looks like an optimiser's state",
    ),
    "LoRA": (
        lambda s: torch_saved({"base_model.model.visual.proj.lora_A.weight": torch.ones(4, 8)}),
        "looks like LoRA adapters; merge them",
    ),
    "bitsandbytes": (
        lambda s: torch_saved({**s, "visual.proj.absmax": torch.ones(4)}),
        "looks like weights quantised by bitsandbytes",
    ),
    "DeepSpeed's ZeRO-3": (
        lambda s: torch_saved({k: torch.empty(0) if k.endswith("weight") else v for k, v in s.items()}),
        "looks like a checkpoint of DeepSpeed",
    ),
    "FSDP's flat parameters": (lambda s: torch_saved({"_flat_param": torch.ones(9)}), "looks like FSDP's flattened"),
    "the image half of a CLIP": (
        lambda s: torch_saved({k: v for k, v in s.items() if k.startswith("visual.")}),
        "looks like the image encoder alone of a CLIP",
    ),
    "the image half of transformers' CLIP": (
        lambda s: torch_saved({k: v for k, v in transformers_names(s).items() if k.startswith("vision_model")}),
        "looks like the image half alone of transformers' CLIP",
    ),
    "CoCa": (
        lambda s: torch_saved({**s, "text_decoder.transformer.resblocks.0.ln_1.weight": torch.ones(8)}),
        "looks like a CoCa .*not supported",
    ),
    "transformers' SigLIP": (
        lambda s: torch_saved(transformers_names(s) | {"vision_model.head.probe": torch.ones(1, 1, 16)}),
        "looks like transformers' SigLIP; take open_clip's",
    ),
    "open_clip's SigLIP": (
        lambda s: torch_saved({"visual.trunk.attn_pool.latent": torch.ones(1), "logit_bias": torch.ones(1)}),
        "looks like a SigLIP of open_clip",
    ),
    "JAX's SigLIP": (
        lambda s: npz({"params/img/head/kernel": np.ones(2), "params/txt/head/kernel": np.ones(2)}),
        "looks like a SigLIP in JAX's names",
    ),
    "a vision transformer of timm": (
        lambda s: torch_saved(
            {"patch_embed.proj.weight": torch.ones(2, 3, 4, 4), "blocks.0.attn.qkv.weight": torch.ones(6, 2)}
        ),
        "looks like a vision transformer with timm's names",
    ),
    "a ResNet": (lambda s: torch_saved({"layer1.0.conv1.weight": torch.ones(1, 1, 3, 3)}), "looks like a ResNet"),
    "a CLIP of another size": (
        lambda s: torch_saved(s | {"visual.positional_embedding": torch.ones(10, 16)}),
        r"visual\.positional_embedding is \(10, 16\), expected \(5, 16\)",
    ),
}
