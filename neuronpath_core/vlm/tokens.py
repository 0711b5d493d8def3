"""The tokenizer of the composed scenes: a word is a token, in transformers' own fast class, made of
the grammar itself."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from neuronpath_core.vlm.questions import question_words
from neuronpath_core.vlm.words import grammar_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN, IMAGE = "<pad>", "<bos>", "<eos>", "<unk>", "<image>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN, IMAGE)
USER, ASSISTANT, COLON = "user", "assistant", ":"
POSITIONS = 256


def check_installed() -> None:
    """Raise ``ValueError`` if transformers is not there."""
    if find_spec("transformers") is None:
        raise ValueError("vision-language models need transformers, which is not installed; "
                         'accepted: pip install "neuronpath-core[transformers]"')


def vocabulary() -> dict[str, int]:
    """Every token with its number: special ones first, then the words of turns, captions and
    questions in the order of the alphabet."""
    words = sorted({*grammar_words(), *question_words(), USER, ASSISTANT, COLON})
    return {token: number for number, token in enumerate((*SPECIAL, *words))}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words between spaces as tokens, ``<bos>`` before them, padded on the right.

    Raises:
        ValueError: transformers is not installed.
    """
    check_installed()
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    numbers = vocabulary()
    inner = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(single=f"{BOS} $A", special_tokens=[
        (BOS, numbers[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN,
        extra_special_tokens={"image_token": IMAGE}, padding_side="right",
        model_max_length=POSITIONS, clean_up_tokenization_spaces=False)
