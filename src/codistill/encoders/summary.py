"""The option `summary=`, which chooses the vector of a model that becomes `Tokens.cls`.

    (nothing)    the model's own summary: the class token; RADIO's summary tokens, concatenated; None where there is
                 none
    cls          the class token only
    pooled       the model's own pooling: SigLIP's, PE's and AIMv2's attention pooling, CLIP's normed class token
    projected    the pooled vector in the space shared with text (CLIP's projection)
    0, 1, …      one of several summary tokens (RADIO has one for each of its teachers)

The width of a summary may differ from that of the tokens (`EncoderSpec.cls_dim`).
"""

from codistill.errors import ConfigError

WORDS = ("cls", "pooled", "projected")


def check_summary(word: str | None, name: str) -> str | None:
    """Return the word if it is allowed.

    Raises:
        ConfigError: for an unknown word; the text lists the allowed ones.
    """
    if word is None or word in WORDS or word.isdecimal():
        return word
    raise ConfigError(
        f"summary={word} of {name} is unknown; allowed: {', '.join(WORDS)}, or the number of one of several summary "
        "tokens (0, 1, …)"
    )


def no_summary(word: str, name: str, why: str) -> ConfigError:
    """Error for a summary that a model does not have."""
    return ConfigError(f"{name} has no summary={word}: {why}")
