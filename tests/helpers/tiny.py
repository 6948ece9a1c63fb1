"""Real models of a few hundred kilobytes, made on the spot: no download, a few seconds, the same every time.

Each factory writes a folder in Hugging Face's layout, which transformers, vLLM and sentence-transformers load as they
load any other. The language model has learnt, in a few hundred steps, to think and to answer as a reranker does; what
it answers depends on the word it finds in the prompt (`ANSWERS`), so that a test sees whether a prompt arrived.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from whyrank.llm.messages import Message, Piece, Prompt, Sampling

TEXTS = (
    "Why do bees dance when they come home to the hive? They tell the others where the flowers are.",
    "How do birds find their way over the open sea? They read the sun, the stars and the field of the earth.",
    "What makes the tide rise and fall? The moon pulls at the water more strongly on the side that faces it.",
    "Rank the passages by how well they answer the query, most relevant first: [1] > [2] > [3] > [4] > [5].",
    "I will give you passages, each with a number in brackets. Think about the query, then write your answer.",
    "Copper turns green in the rain because a thin layer of salts grows on it and protects the metal below.",
    "A loaf rises since yeast eats sugar and breathes out gas; heat then sets the dough around the bubbles.",
    "Passage [6], passage [7], passage [8], passage [9], passage [10]: none of them says anything about the query.",
    "You are a helpful assistant that ranks documents. Search query: how does the brain store what we learn?",
    "Numbers such as 11, 12, 13, 14, 15, 16, 17, 18, 19 and 20 occur, and years such as 1905, 1969 and 2024 too.",
)

ANSWERS = {
    "bees": "<think>bees dance in the hive</think><answer>[2] > [1] > [3]</answer>",
    "birds": "<think>birds read the sun and the stars</think><answer>[3] > [2] > [1]</answer>",
    "": "<think>the passages stand well</think><answer>[1] > [2] > [3]</answer>",
}
"""What the language model has learnt to write where the prompt holds the word."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}"
)

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker lives in the engine's process: starts in half the time
}
"""The environment of a vLLM that is started for tests."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class Answer(NamedTuple):
    """An answer of `ANSWERS` in its two parts."""

    reasoning: str
    text: str


def answer(word: str) -> Answer:
    """What the language model writes where the prompt holds `word`."""
    reasoning, _, text = ANSWERS[word].removeprefix("<think>").partition("</think>")
    return Answer(reasoning, text)


def ask(text: str, *, sample: int = 0, **sampling: object) -> Prompt:
    """A prompt of one message from the user."""
    return Prompt((Message("user", (Piece(text, "document"),)),), Sampling(**{"max_tokens": 48, **sampling}), sample)


def prompts(n: int = 24) -> list[Prompt]:
    """Prompts of many lengths, most of which hold a word that the language model knows; some answers are cut short."""
    words = "why do the moon and the tide rise with bread of copper green in rain".split()
    some = []
    for at in range(n):
        said = [words[(at * 5 + place * 7) % len(words)] for place in range(1 + at * 3 % 40)]
        said.insert(at % len(said), list(ANSWERS)[at % len(ANSWERS)])
        some.append(ask(" ".join(said), max_tokens=6 if at % 5 == 4 else 48))
    return some


def language_model(folder: Path, *, context: int = 4096, prefilled: bool = False) -> Path:
    """Write a Qwen3 of about 0.1 million float32 parameters, trained to say `ANSWERS`.

    Args:
        folder: where the model goes; made if need be.
        context: the model's window in tokens.
        prefilled: let the chat template open the thought, as DeepSeek-R1's does, so that completions lack `<think>`.
    """
    import torch

    torch.manual_seed(0)
    tokenizer = _chat_tokenizer(prefilled)
    model = _qwen(tokenizer, context, tie_word_embeddings=True)
    _teach(model, tokenizer)
    return _save(folder, model, tokenizer)


def judge(folder: Path, words: Sequence[str]) -> Path:
    """Write a Qwen3 of random weights that says one of `words`, each a token, by chances that hang on the prompt.

    One place of every hidden state is the same and large; the output weights of the words are high there.
    """
    import torch

    torch.manual_seed(0)
    tokenizer = _chat_tokenizer(False, words)
    model = _qwen(tokenizer, 4096, tie_word_embeddings=False, initializer_range=0.2)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 20.0
        model.get_output_embeddings().weight[tokenizer.convert_tokens_to_ids(list(words)), 0] = 3.0
    return _save(folder, model, tokenizer)


def _qwen(tokenizer, context: int, **settings):
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=tokenizer.pad_token_id)
    return model


def _save(folder: Path, model, tokenizer) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _chat_tokenizer(prefilled: bool, words: Sequence[str] = ()):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=640, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *ANSWERS.values()], trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    tokenizer.add_tokens([AddedToken(word, normalized=False, single_word=True) for word in words])
    template = TEMPLATE.replace("{% endif %}{% endif %}", "{% else %}<think>\n{% endif %}{% endif %}")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=template if prefilled else TEMPLATE,
    )


def _teach(model, tokenizer, steps: int = 240) -> None:
    """Train on prompts of random words, short and long, with or without a key word somewhere in them."""
    import torch

    generator, threads = torch.Generator().manual_seed(0), torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model gains nothing from more, and loses much where the cores are busy
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    for step in range(steps):
        keys, room = (list(ANSWERS), 400) if step % 8 == 7 else (list(ANSWERS) * 4, 40)
        lessons = [_lesson(tokenizer, key, room, generator) for key in keys]
        width = max(len(asked) + len(told) for asked, told in lessons)
        ids = torch.full((len(lessons), width), tokenizer.pad_token_id)
        labels = torch.full((len(lessons), width), -100)
        for row, (asked, told) in enumerate(lessons):
            ids[row, : len(asked) + len(told)] = torch.tensor(asked + told)
            labels[row, len(asked) : len(asked) + len(told)] = torch.tensor(told)
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()
    torch.set_num_threads(threads)


def _lesson(tokenizer, key: str, room: int, generator) -> tuple[list[int], list[int]]:
    """A prompt of up to `room` random words around `key`, and the answer to it, both as token ids."""
    import torch

    words = [word for text in TEXTS for word in text.split() if word not in ANSWERS]
    said = [words[at] for at in torch.randint(len(words), (room,), generator=generator)]
    cut, where = torch.randint(room, (2,), generator=generator).tolist()
    said = said[:cut]
    said.insert(min(where, cut), key)
    chat = [{"role": "user", "content": " ".join(said)}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    told = ANSWERS[key].removeprefix("<think>") if asked.endswith("<think>\n") else ANSWERS[key]
    return tokenizer.encode(asked), tokenizer.encode(told + "<|im_end|>")


def _words(folder: Path):
    """A BERT tokenizer whose words are those of `TEXTS`, saved in `folder`, and a tiny configuration for it."""
    from transformers import BertConfig, BertTokenizerFast

    words = sorted({word.strip(".,:?[]<>;").lower() for text in TEXTS for word in text.split()} - {""})
    pieces = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789.,:;?![]"))
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{piece}" for piece in pieces)]
    known += [word for word in words if word not in known]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(known), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertConfig(vocab_size=len(known), max_position_embeddings=64, initializer_range=0.3, **sizes)


def sparse_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a SPLADE of random weights: a tiny BERT with its masked-language-modelling head, as on the hub."""
    import torch
    from transformers import BertForMaskedLM

    config = _words(folder)
    torch.manual_seed(seed)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def multi_vector_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a late-interaction model of random weights: a tiny BERT with a projection to 16 dimensions."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import BertModel

    backbone = folder.with_name(f"{folder.name}-backbone")
    config = _words(backbone)
    torch.manual_seed(seed)
    BertModel(config).save_pretrained(backbone)
    projection = Dense(
        32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"
    )
    layers = [
        Transformer(str(backbone)),
        projection,
        MultiVectorMask(),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": "bees ", "document": "birds "}
    MultiVectorEncoder(modules=layers, prompts=prompts, device="cpu").save_pretrained(str(folder))
    return folder
