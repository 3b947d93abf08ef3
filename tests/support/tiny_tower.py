"""Text towers of transformers' kinds with random weights, and tokenizers that know real words, in folders."""

import os

# Nothing here may come from a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = ["a photo of a river.", "a photo of a forest.", "houses", "sand, and a very large city seen from above!"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH = 8

# Small models of the kinds that open_clip's own architectures name: its type -> configuration, pooling, a rest.
KINDS = {
    "bert": (transformers.BertConfig, "mean_pooler"),
    "roberta": (transformers.RobertaConfig, "mean_pooler"),
    "xlm-roberta": (transformers.XLMRobertaConfig, "mean_pooler"),
    "mt5": (transformers.MT5Config, "mean_pooler"),
    "m2m_100": (transformers.M2M100Config, "cls_pooler"),
}
SIZES = {
    "bert": {"hidden_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 16},
    "mt5": {"d_model": WIDTH, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2},
    "m2m_100": {
        "d_model": WIDTH,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
    },
}


def configuration(kind, vocabulary):
    sizes = SIZES.get(kind, SIZES["bert"]) | {"vocab_size": vocabulary}
    return KINDS[kind][0](**sizes, pad_token_id=0, initializer_range=0.5, max_position_embeddings=32)


def word_pieces():
    """A BERT's tokenizer, trained on the sentences."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=80, special_tokens=SPECIAL))
    pair = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, mask_token="[MASK]")


def sentence_pieces():
    """A T5's tokenizer, as SigLIP has it, trained on the sentences: pads, and ends, with token 1."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="</s>", eos_token="</s>"
    )


def make_tower(folder, kind="bert", seed=0):
    """A tower's folder as transformers writes it: config.json, model.safetensors, tokenizer.json and its settings."""
    torch.manual_seed(seed)
    tokenizer = word_pieces()
    model = transformers.AutoModel.from_config(configuration(kind, len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def architecture(kind="bert", name="tiny-tower"):
    """An open_clip architecture with this tower beside a small image encoder."""
    return {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "patch_size": 8, "head_width": 8},
        "text_cfg": {
            "context_length": 24,
            "hf_model_name": name,
            "hf_tokenizer_name": name,
            "hf_pooler_type": KINDS[kind][1],
            "hf_proj_type": None,
        },
    }
