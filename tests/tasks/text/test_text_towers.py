"""Text towers: a tiny CLIP of transformers against its own forward pass, and the command that writes their files."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from task_toys import class_folder

from codistill.cli import main
from codistill.commands.text import main as text
from codistill.commands.text import read_rows, read_templates
from codistill.encoders.load import load_encoder
from codistill.encoders.text import HfText, load_text_tower
from codistill.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from codistill.files.npz import read_npz
from codistill.tasks.text.embeddings import read_class_embeddings
from codistill.tasks.text.retrieval import read_captions

transformers = pytest.importorskip("transformers")
WORDS = ["[PAD]", "[UNK]", "a", "photo", "of", "cat", "dog", "red", ".", "house", "[EOS]"]


def tokenizer(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", len(WORDS) - 1)]
    )
    kept = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]"
    )
    kept.save_pretrained(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model, tokenizer and image processor, as `save_pretrained` leaves them."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    last = len(WORDS) - 1
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": len(WORDS), "max_position_embeddings": 9, "eos_token_id": last},
        vision_config={**sizes, "image_size": 28, "patch_size": 14},
        projection_dim=12,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)
    mean = '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "image_processor_type": "CLIPImageProcessor"}'
    (folder / "preprocessor_config.json").write_text(mean)
    return folder


def test_texts_are_embedded_as_by_the_whole_model(clip: Path) -> None:
    texts = ["a photo of a cat .", "red house", "a dog"]
    tower = load_text_tower(f"hf:{clip}")
    found = tower.embed(texts)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    read = transformers.AutoTokenizer.from_pretrained(clip)
    for number, one in enumerate(texts):  # alone, so unpadded
        inputs = read(one, return_tensors="pt")
        pixels = torch.zeros(1, 3, 28, 28)
        with torch.no_grad():
            wanted = model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=pixels
            ).text_embeds
        own = torch.nn.functional.normalize(found[number : number + 1], dim=-1)
        torch.testing.assert_close(own, torch.nn.functional.normalize(wanted, dim=-1), atol=1e-5, rtol=1e-5)
    assert tower.image_encoder == f"hf:{clip}" == load_encoder(f"hf:{clip},summary=projected").spec.name


def test_a_tower_without_some_of_its_weights_is_refused(clip: Path, tmp_path: Path) -> None:
    shutil.copytree(clip, tmp_path / "clip")
    weights = load_file(clip / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".layers.1.mlp.fc1" not in name}
    save_file(kept, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="lack 4 tensors of a CLIPModel, which would stay random"):
        load_text_tower(f"hf:{tmp_path / 'clip'}")


def test_siglip2_takes_lower_case_without_punctuation_padded() -> None:
    seen: dict[str, object] = {}

    class Model(torch.nn.Module):
        config = type(
            "C", (), {"model_type": "siglip2", "text_config": type("T", (), {"max_position_embeddings": 64})}
        )

        def get_text_features(self, input_ids: torch.Tensor) -> torch.Tensor:
            return input_ids.float()

    def read(texts: list[str], **options: object) -> dict[str, torch.Tensor]:
        seen.update(options, texts=texts)
        return {"input_ids": torch.ones(len(texts), 4), "attention_mask": torch.ones(len(texts), 4)}

    HfText(Model(), read, "org/siglip2").embed(["A Photo, of: it's!"])
    assert seen["texts"] == ["a photo of its"]
    assert (seen["padding"], seen["max_length"], seen["truncation"]) == ("max_length", 64, True)


def test_class_files_hold_every_text_and_are_scored(clip: Path, tmp_path: Path) -> None:
    root = class_folder(tmp_path / "images", train=1, val=2, classes=2)
    names = sorted(path.name for path in (root / "val").iterdir())
    (tmp_path / "classes.txt").write_text(f"{names[0]}\tcat; red cat\n{names[1]}\tdog; red\n")
    (tmp_path / "templates.txt").write_text("a photo of a {} .\n{}\n\n")
    out = tmp_path / "classes.npz"
    argv = [
        f"hf:{clip}",
        "--classes",
        str(tmp_path / "classes.txt"),
        "--templates",
        str(tmp_path / "templates.txt"),
    ]
    assert text([*argv, "--batch-size", "3", "--out", str(out)]) == 0
    arrays = read_npz(out, ("embeddings", "classes", "tower"))
    assert arrays["embeddings"].shape == (2, 4, 12) and list(arrays["classes"]) == names
    tower = load_text_tower(f"hf:{clip}")
    texts = ["a photo of a cat .", "cat", "a photo of a red cat .", "red cat"]
    np.testing.assert_allclose(arrays["embeddings"][0], tower.embed(texts).numpy(), atol=1e-5)
    others = ["a photo of a dog .", "dog", "a photo of a red .", "red"]
    np.testing.assert_allclose(arrays["embeddings"][1], tower.embed(others).numpy(), atol=1e-5)
    assert read_class_embeddings(out).templates == 4
    scored = ["evaluate", "zero-shot", "--encoder", f"hf:{clip},summary=projected", "--classes", str(out)]
    size = ["--resize", "28", "--crop", "28", "--workers", "0", "--device", "cpu"]
    assert main([*scored, "--data", f"folder:{root}", *size, "--out", str(tmp_path / "out.json")]) == 0


def test_captions_keep_their_images(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("a.jpg\ta cat\nb/c.jpg\ta dog\na.jpg\tred cat\n")
    out = tmp_path / "captions.npz"
    argv = [f"hf:{clip}", "--captions", str(tmp_path / "captions.txt"), "--image-encoder", "timm:clip"]
    assert text([*argv, "--out", str(out)]) == 0
    found = read_captions(out)
    assert found.images == ("a.jpg", "b/c.jpg", "a.jpg") and found.tower == "timm:clip"
    assert found.names == ("a.jpg", "b/c.jpg") and found.owners().tolist() == [0, 1, 0]
    own = load_text_tower(f"hf:{clip}").embed(["a dog"])[0]
    torch.testing.assert_close(found.values[1], own / own.norm(), atol=1e-5, rtol=1e-5)


def test_a_line_without_a_caption_is_refused(tmp_path: Path) -> None:
    """A space in place of the tab made all of it the name of an image, and its own caption."""
    (tmp_path / "captions.txt").write_text("a.png\ta dog\nb.png a cat\n")
    argv = ["hf:none", "--captions", str(tmp_path / "captions.txt"), "--out", str(tmp_path / "c.npz")]
    with pytest.raises(
        DataError, match=r"'b.png a cat' has no caption: write the image, a tab, and a caption"
    ):
        text(argv)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Windows' editors put one first; it became part of the first class and of the first template."""
    (tmp_path / "classes.txt").write_text("\ufeffcat\r\nred_dog\tdog\r\n")
    (tmp_path / "templates.txt").write_text("\ufeff{} in a photo\r\n")
    assert read_rows(tmp_path / "classes.txt") == [("cat", "cat"), ("red_dog", "dog")]
    assert read_templates(tmp_path / "templates.txt") == ("{} in a photo",)


def test_open_clip_is_called_by_its_own_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Model(torch.nn.Module):
        def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens.double() * 2

    called: list[object] = []
    fake = ModuleType("open_clip")
    fake.create_model_and_transforms = lambda name, pretrained: (
        called.append((name, pretrained)) or (Model(), 0, 0)
    )  # type: ignore[attr-defined]
    fake.get_tokenizer = lambda name: lambda texts: torch.tensor([[len(t), 1] for t in texts])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    tower = load_text_tower("open_clip:ViT-B-16,pretrained=openai")
    assert called == [("ViT-B-16", "openai")]
    assert torch.equal(tower.embed(["abc", "d"]), torch.tensor([[6.0, 2.0], [2.0, 2.0]]))
    (tmp_path / "names.txt").write_text("cat\n")
    with pytest.raises(ConfigError, match="which image encoder shares the space of open_clip:ViT-B-16"):
        text(
            ["open_clip:ViT-B-16", "--classes", str(tmp_path / "names.txt"), "--out", str(tmp_path / "o.npz")]
        )


@pytest.mark.parametrize(
    ("tower", "files", "options", "kind", "error"),
    [
        ("clip", {"c": "cat"}, ["--classes", "c"], ConfigError, "a text tower is called hf:ORG/REPO"),
        (
            "hf:nowhere/at-all",
            {"c": "cat"},
            ["--classes", "c"],
            CheckpointError,
            "transformers cannot load it",
        ),
        (
            "open_clip:A,tag=b",
            {"c": "cat"},
            ["--classes", "c"],
            ConfigError,
            "the only option is pretrained=TAG",
        ),
        ("hf:x", {"c": "\n"}, ["--classes", "c"], DataError, "is empty"),
        ("hf:x", {"c": "cat\t ; "}, ["--classes", "c"], DataError, "'cat' has no words"),
        ("hf:x", {"c": "n01440764\t\n"}, ["--classes", "c"], DataError, "'n01440764' has no words"),
        ("hf:x", {"c": "\ttench\n"}, ["--classes", "c"], DataError, "'tench' has no name before its tab"),
        (
            "hf:x",
            {"c": "cat\tred\ndog\ncat"},
            ["--classes", "c"],
            DataError,
            "'cat' stands there more than once",
        ),
        ("hf:x", {"c": "cat"}, ["--classes", "c", "--out", "c/o.npz"], ConfigError, "c is a file"),
        (
            "hf:x",
            {"c": "cat", "t": "a photo"},
            ["--classes", "c", "--templates", "t"],
            DataError,
            "has no {}",
        ),
        ("hf:x", {"c": "a\tb", "t": "{}"}, ["--captions", "c", "--templates", "t"], ConfigError, "no effect"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    tower: str,
    files: dict[str, str],
    options: list[str],
    kind: type[Exception],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=error):
        text([tower, "--out", "o.npz", *options])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtraError, match=r"codistill\[text\]"):
        load_text_tower("open_clip:ViT-B-16")


def test_every_word_of_a_class_counts_as_much_also_beside_classes_with_more(
    clip: Path, tmp_path: Path
) -> None:
    words = {"a": ["cat", "red", "house"], "b": ["dog", "cat"], "c": ["red"]}
    (tmp_path / "classes.txt").write_text("".join(f"{key}\t{'; '.join(of)}\n" for key, of in words.items()))
    out = tmp_path / "classes.npz"
    assert text([f"hf:{clip}", "--classes", str(tmp_path / "classes.txt"), "--out", str(out)]) == 0
    tower = load_text_tower(f"hf:{clip}")
    for found, of in zip(read_class_embeddings(out).values.numpy(), words.values(), strict=True):
        vectors = tower.embed([f"a photo of a {word}." for word in of]).numpy()
        mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0)
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
