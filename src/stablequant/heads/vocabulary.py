"""Whether a tokenizer belongs to a head."""

from __future__ import annotations

from typing import Any

from stablequant.errors import ModelError


def check_vocabulary(tokenizer: Any, size: int, *, padded: bool) -> None:
    """Compare a tokenizer's size with the head's: that of another model would write nonsense without failing.

    Args:
        tokenizer: As transformers loads it.
        size: Outputs of the head.
        padded: Whether the head may have outputs that no token has.

    Raises:
        ModelError: They do not fit.
    """
    special = set(tokenizer.all_special_ids)
    largest = max((i for i in tokenizer.get_vocab().values() if i not in special), default=-1)
    # A CTC head has an output for each character and a few special tokens.
    if largest >= size or (not padded and len(tokenizer) < size - len(special)):
        what = f"the tokenizer has {len(tokenizer)} tokens up to id {largest}, the model's head has {size}"
        raise ModelError(
            what,
            expected="the tokenizer the model was trained with",
            fix="copy the tokenizer files of this very model",
        )
