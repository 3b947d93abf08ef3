"""Families of models by the names of their tensors, and forms of state dicts that cannot be loaded."""

from collections.abc import Mapping

from torch import Tensor

# Parts of names, all of which must occur -> what has them. The first row that fits counts.
FAMILIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("_flat_param",), "FSDP's flattened parameters; save the full state dict (StateDictType.FULL_STATE_DICT)"),
    (("lora_A",), "LoRA adapters; merge them into the model first (PEFT's merge_and_unload) and save its state dict"),
    (("lora_a",), "LoRA adapters; merge them into the model first and save its state dict"),
    ((".absmax",), "weights quantised by bitsandbytes; save the model before it is quantised"),
    ((".SCB",), "weights quantised by bitsandbytes; save the model before it is quantised"),
    ((".qweight", ".scales"), "weights quantised by GPTQ or AWQ; take the model as it was before"),
    (("_packed_params",), "weights quantised by PyTorch; save the model before it is quantised"),
    (("exp_avg_sq",), "an optimiser's state; the model's weights are in another file"),
    (("visual.", "text_decoder.transformer."), "a CoCa (its text decoder), which is not supported"),
    (("vision_model.head.probe",), "transformers' SigLIP; take open_clip's weights of it (clip.pretrained: webli)"),
    (("vision_model.head.attention",), "transformers' SigLIP; take open_clip's weights of it (clip.pretrained: webli)"),
    (("visual.trunk.attn_pool.", "logit_bias"), "a SigLIP of open_clip (ViT-...-SigLIP-...)"),
    (("vision_model.embeddings.class_embedding", "text_model."), "transformers' CLIP"),
    (("vision_model.embeddings.class_embedding",), "the image half alone of transformers' CLIP (no text_model)"),
    (("text_model.embeddings.token_embedding",), "the text half alone of transformers' CLIP (no vision_model)"),
    (("qformer.",), "a BLIP-2, which is not supported"),
    (("visual_encoder.", "text_decoder."), "a BLIP, which is not supported"),
    (("multi_modal_projector",), "a LLaVA, a vision-language model, which is not supported"),
    (
        ("visual.blocks.", "visual.patch_embed.proj"),
        "an EVA-CLIP with its authors' names; take open_clip's weights of it",
    ),
    (("visual.trunk.",), "a CLIP of open_clip whose image encoder is timm's"),
    (("visual.layer1.0.conv1", "token_embedding"), "a CLIP whose image encoder is a ResNet (RN50 and similar)"),
    (("visual.conv1.weight", "token_embedding.weight"), "a CLIP with a vision transformer"),
    (("visual.conv1.weight",), "the image encoder alone of a CLIP (no text side)"),
    (("conv1.weight", "class_embedding", "transformer.resblocks."), "the image encoder alone of a CLIP (no text side)"),
    (("token_embedding.weight", "ln_final."), "the text encoder alone of a CLIP"),
    (("params/img", "params/txt"), "a SigLIP in JAX's names (big_vision); take open_clip's weights of it"),
    (("Transformer/encoderblock_0",), "a vision transformer in JAX's names; load it with timm and save its state dict"),
    (("decoder_blocks.", "channel_embed"), "a SatMAE in its pretraining"),
    (("patch_embed.0.proj", "channel_embed"), "a SatMAE"),
    (("decoder_blocks.", "mask_token"), "a masked autoencoder (MAE) in its pretraining, with timm's names"),
    (("weight_generator.",), "a DOFA, which TorchGeo builds"),
    (("s2_encoder.",), "a CROMA, which TorchGeo builds"),
    (("relative_position_bias_table",), "a Swin transformer"),
    (("attention.attention.query.weight",), "a vision transformer with transformers' names; timm's are expected"),
    (("attention.self.query.weight",), "a text encoder with transformers' names (BERT and similar)"),
    (("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"), "a vision transformer with timm's names"),
    (("stages.0.", "dwconv"), "a ConvNeXt with its authors' names; timm's are expected"),
    (("stages.0.", "conv_dw"), "a ConvNeXt with timm's names"),
    (("layer1.0.conv1.weight", "segmentation_head"), "a segmentation network on a ResNet"),
    (("layer1.0.conv1.weight",), "a ResNet with torchvision's and timm's names"),
    (("features.0.", "classifier."), "a network of torchvision with a classifier"),
)


def family_of(state: Mapping[str, Tensor]) -> str:
    """What a state dict looks like, as the end of a sentence that begins 'It looks like'; '' if unknown."""
    if any(tensor.numel() == 0 and tensor.ndim == 1 for name, tensor in state.items() if name.endswith("weight")):
        return "a checkpoint of DeepSpeed's ZeRO-3, which leaves tensors empty; join it with its zero_to_fp32.py"
    for parts, family in FAMILIES:
        if all(any(part in name for name in state) for part in parts):
            return family
    return ""
