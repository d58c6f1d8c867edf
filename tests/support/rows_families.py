"""Tiny random models of the real architectures, and sequences that share prefixes.

Shapes: S sequences, T tokens.
"""

from copy import deepcopy

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from tamis.models.head import initialise_head, use_float32_head
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.padded import pad_right
from tamis.models.rows.plan import RowPlan

PAD = 0
SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "num_labels": 1,
    "initializer_range": 0.3,
}
WINDOW = 6
DECODERS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen2_window": Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": Qwen3Config(**SIZES),
    "gemma": GemmaConfig(**SIZES),
    "gemma2": Gemma2Config(
        **SIZES, sliding_window=WINDOW, attn_logit_softcapping=2.0, query_pre_attn_scalar=8
    ),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=WINDOW, query_pre_attn_scalar=8),
    "mistral": MistralConfig(**SIZES, sliding_window=WINDOW),
    "phi": PhiConfig(**{**SIZES, "num_key_value_heads": 4}),
    "gpt2": GPT2Config(
        vocab_size=97,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=128,
        pad_token_id=PAD,
        num_labels=1,
        initializer_range=0.3,
    ),
}
BERT = {key: value for key, value in SIZES.items() if "key_value" not in key and key != "head_dim"}
ENCODERS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**BERT),
    "modernbert": ModernBertConfig(**BERT, local_attention=4, bos_token_id=1, eos_token_id=2),
}


def build(config: PretrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(deepcopy(config))
    use_float32_head(model)
    initialise_head(model, seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train(False)


def sequences(seed: int = 0) -> list[list[int]]:
    """A pair, four answers to one prompt, a text twice, a text that another continues."""
    rng = np.random.default_rng(seed)

    def text(length: int) -> list[int]:
        return rng.integers(1, 97, size=length).tolist()

    system, first, second = text(9), text(15), text(20)
    pair = [[*system, *first, *text(7)], [*system, *first, *text(12)]]
    group = [[*system, *second, *text(size)] for size in (1, 5, 9, 14)]
    longer = [*group[1], *text(10)]
    return [*pair, *group, text(11), pair[0], longer]


def padded_scores(model: PreTrainedModel, texts: list[list[int]]) -> torch.Tensor:
    ids_ST, mask_ST = pad_right(texts, pad_id=PAD)
    return model(input_ids=ids_ST, attention_mask=mask_ST).logits[:, 0]


def planned_scores(model: PreTrainedModel, texts: list[list[int]], plan: RowPlan) -> torch.Tensor:
    return model(**model_inputs(texts, plan=plan, pad_id=PAD)).logits[:, 0]
