"""The WordPiece vocabulary of a pack: trained with Hugging Face `tokenizers`, kept in ascending byte order as the pack wants it."""

from __future__ import annotations

from collections import Counter
from typing import Iterable, Sequence

from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, trainers

CLS, SEP, UNK = "[CLS]", "[SEP]", "[UNK]"
# Characters that are rarer than this share of a text read as [UNK]. Seventeen languages have 500 others, English has 60.
RAREST_CHARACTER, MAX_ALPHABET = 1e-5, 1000


def _normalizer(fold_case: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=fold_case, lowercase=fold_case
    )


def train_vocabulary(texts: Iterable[str], size: int, fold_case: bool = True) -> list[str]:
    """A WordPiece vocabulary of at most `size` tokens, special tokens included, in ascending byte order; the same for the same texts.

    The library's own WordPiece trainer breaks ties by the order of a hash map, another one in every run. Its BPE trainer
    does not, so that words are marked at their start, merged by BPE, and the pieces renamed: with the mark a first piece, without it
    a continuation.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer(fold_case)
    mark = "\u2581"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(mark, prepend_scheme="always", split=False)]
    )
    texts = list(texts)
    counts = Counter(character for text in texts for character in tokenizer.normalizer.normalize_str(text) if not character.isspace())
    fewest = RAREST_CHARACTER * counts.total()
    frequent = sorted((c for c in counts if counts[c] >= fewest), key=lambda character: (-counts[character], character))[:MAX_ALPHABET]
    trainer = trainers.BpeTrainer(
        vocab_size=max(1, size - len(frequent) - 3), initial_alphabet=[mark, *frequent], limit_alphabet=len(frequent) + 1,
        show_progress=False, min_frequency=2,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    pieces = {piece[1:] if piece.startswith(mark) else "##" + piece for piece in tokenizer.get_vocab() if piece != mark}
    # Every frequent character can start and continue a word, so that few words are unknown.
    pieces |= {CLS, SEP, UNK, *frequent, *("##" + character for character in frequent)}
    return sorted(pieces, key=str.encode)


def most_used(vocabulary: Sequence[str], texts: Sequence[str], size: int, needed: Sequence[str] = ()) -> list[str]:
    """The `size` tokens of a vocabulary that `texts` use most, in the same order. Special tokens, single characters and what is `needed` stay, so that
    every word can still be written; raises ValueError where they are more than `size` already."""
    encoder, used = Encoder(vocabulary), Counter()
    for start in range(0, len(texts), 4096):
        for encoding in encoder.encodings(texts[start : start + 4096]):
            used.update(encoding.tokens)
    always = {CLS, SEP, UNK, *needed}
    stays = lambda token: token in always or len(token.removeprefix("##")) == 1
    if (fewest := sum(map(stays, vocabulary))) > size:
        raise ValueError(f"{size} word pieces are too few: special tokens, single characters and doubtful words are {fewest} already")
    chosen = set(sorted(vocabulary, key=lambda token: (not stays(token), -used[token], token))[:size])
    return [token for token in vocabulary if token in chosen]


class Encoder:
    """Texts to token ids, as the engine does it."""

    def __init__(self, vocabulary: Sequence[str], fold_case: bool = True):
        self.vocabulary = list(vocabulary)
        index = {token: i for i, token in enumerate(vocabulary)}
        self.cls_id, self.sep_id, self.unk_id = index[CLS], index[SEP], index[UNK]
        self.fold_case = fold_case
        self._tokenizer = Tokenizer(models.WordPiece(index, unk_token=UNK, max_input_chars_per_word=100))
        self._tokenizer.normalizer = _normalizer(fold_case)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """Ids, words and offsets of each text, without [CLS] and [SEP]."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without [CLS] and [SEP]."""
        return [encoding.ids for encoding in self.encodings(texts)]

    def whole_words(self, texts: Sequence[str]) -> float:
        """Share of the texts' words that are in the vocabulary as they are, and not in pieces or not at all; 1 without any word."""
        words = whole = 0
        for encoding in self.encodings(texts):
            pieces = Counter(encoding.word_ids)
            words += len(pieces)
            whole += sum(pieces[word] == 1 and id_ != self.unk_id for word, id_ in zip(encoding.word_ids, encoding.ids))
        return whole / words if words else 1.0

    def windows(self, ids: Sequence[int], max_tokens: int) -> list[list[int]]:
        """FORMAT.md "Windows": the ids of one text as one or more inputs [CLS] … [SEP] of at most max_tokens."""
        room = max_tokens - 2
        stride = room - room // 4
        starts = [0]
        while starts[-1] + room < len(ids):
            starts.append(starts[-1] + stride)
        return [[self.cls_id, *ids[start : start + room], self.sep_id] for start in starts]

    def pair(self, a: Sequence[int], b: Sequence[int], max_tokens: int) -> tuple[list[int], list[int], bool]:
        """[CLS] a [SEP] [CLS] b [SEP], its segments, and whether tokens were cut from the end of the longer text."""
        a, b = list(a), list(b)
        room = max_tokens - 4
        truncated = len(a) + len(b) > room
        while len(a) + len(b) > room:
            (a if len(a) >= len(b) else b).pop()
        ids = [self.cls_id, *a, self.sep_id, self.cls_id, *b, self.sep_id]
        return ids, [0] * (len(a) + 2) + [1] * (len(b) + 2), truncated
