"""The WordPiece vocabulary of a pack: trained with Hugging Face `tokenizers`, kept in ascending byte order as the pack wants it."""

from __future__ import annotations

from typing import Iterable, Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

CLS, SEP, UNK = "[CLS]", "[SEP]", "[UNK]"


def _normalizer(fold_case: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=fold_case, lowercase=fold_case
    )


def train_vocabulary(texts: Iterable[str], size: int, fold_case: bool = True) -> list[str]:
    """A WordPiece vocabulary of at most `size` tokens, special tokens included, in ascending byte order."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.normalizer = _normalizer(fold_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[CLS, SEP, UNK], limit_alphabet=200, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(texts, trainer)
    return sorted(tokenizer.get_vocab(), key=str.encode)


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

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without [CLS] and [SEP]."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def windows(self, ids: Sequence[int], max_tokens: int) -> list[list[int]]:
        """FORMAT.md "Windows": the ids of one text as one or more inputs [CLS] … [SEP] of at most max_tokens."""
        room = max_tokens - 2
        stride = room - room // 4
        starts = [0]
        while starts[-1] + room < len(ids):
            starts.append(starts[-1] + stride)
        return [[self.cls_id, *ids[start : start + room], self.sep_id] for start in starts]

    def pair(self, a: Sequence[int], b: Sequence[int], max_tokens: int) -> tuple[list[int], list[int], bool]:
        """[CLS] a [SEP] b [SEP], its segments, and whether tokens were cut from the end of the longer text."""
        a, b = list(a), list(b)
        room = max_tokens - 3
        truncated = len(a) + len(b) > room
        while len(a) + len(b) > room:
            (a if len(a) >= len(b) else b).pop()
        ids = [self.cls_id, *a, self.sep_id, *b, self.sep_id]
        return ids, [0] * (len(a) + 2) + [1] * (len(b) + 1), truncated
