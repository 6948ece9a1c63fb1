"""A small model with random values, as a GGUF file and as what it was made of."""

import json

import gguf

from whyrank.llm.local import SHIPPED

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def write_gguf(path, without=""):
    """Write it with the package of llama.cpp's authors, but for the tensor called `without`; returns the model."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = SHIPPED["tiny"]
    words = json.loads((folder / "tokenizer.json").read_text())
    added = {one["content"]: one for one in words["added_tokens"]}
    ids = words["model"]["vocab"] | {text: one["id"] for text, one in added.items()}
    vocabulary = sorted(ids, key=ids.get)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(vocabulary), **SHAPE))
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(SHAPE["max_position_embeddings"])
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control if text in added and added[text]["special"] else normal for text in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in words["model"]["merges"]])
    writer.add_eos_token_id(ids["<|end|>"])
    writer.add_chat_template((folder / "chat_template.jinja").read_text())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, SHAPE["num_hidden_layers"])
    for name, values in model.state_dict().items():
        if name not in ("lm_head.weight", without):  # the first is tied
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model
