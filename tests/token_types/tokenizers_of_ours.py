"""Two small tokenizers, trained here: byte-level pairs, and SentencePiece's unigrams with bytes."""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END, UNKNOWN = "<|im_end|>", "<unk>"
COORDS = [f"<|coord_{k}|>" for k in range(1000)]
CORPUS = [
    '{"objects": [{"desc": "red dog on a chair", "bbox_2d": [',
    ', "bbox_2d": [<|coord_1|>, <|coord_2|>]}, {"desc": "person", "poly": [',
    ']}]}]}]}", "desc": "white bus, blue bird", "poly": []}, "desc": "naïve café 猫 狗"',
    '"}]} "desc": "a \\"quoted\\" \\\\ path \\n", "poly"',
] * 20


def _with_added(tokenizer, special=False):
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    coordinates = [AddedToken(token, special=special, normalized=False) for token in COORDS]
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(coordinates)
    return tokenizer


def byte_level(special=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _with_added(tokenizer, special)


def sentencepiece(prepend="never"):
    """Pieces may hold spaces and quotes together, so many of them straddle."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    trainer = trainers.UnigramTrainer(
        vocab_size=300, show_progress=False, unk_token=UNKNOWN, special_tokens=[UNKNOWN]
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    data = json.loads(tokenizer.to_str())
    lowest = min(score for _, score in data["model"]["vocab"])
    data["model"]["vocab"] += [[f"<0x{byte:02X}>", lowest - 10] for byte in range(256)]
    data["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(data))
    parts = [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=prepend)]
    tokenizer.decoder = decoders.Sequence(parts)
    return _with_added(tokenizer)
