"""The choice of `Tokens.cls` among a model's vectors: the word after `summary=`.

    (nothing)    what the model calls its summary: the class token; RADIO's summary tokens, one behind the other;
                 nothing where there is none
    cls          the class token alone
    pooled       the model's own pooling: SigLIP's, PE's and AIMv2's attention pooling, CLIP's normed class token
    projected    the pooled vector in the space shared with text (CLIP's projection)
    0, 1, …      one of several summary tokens (RADIO: one per teacher of its own)

A summary may have another width than the tokens (`EncoderSpec.cls_dim`).
"""

from codistill.errors import ConfigError

WORDS = ("cls", "pooled", "projected")


def check_summary(word: str | None, name: str) -> str | None:
    """The word, if it is one.

    Raises:
        ConfigError: listing the words.
    """
    if word is None or word in WORDS or word.isdecimal():
        return word
    raise ConfigError(
        f"summary={word} of {name} is unknown; allowed: {', '.join(WORDS)}, or the number of one of several summary "
        "tokens (0, 1, …)"
    )


def no_summary(word: str, name: str, why: str) -> ConfigError:
    """The error for a summary that a model does not have."""
    return ConfigError(f"{name} has no summary={word}: {why}")
