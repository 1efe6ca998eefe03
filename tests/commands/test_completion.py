"""Completion scripts, asked as the shells ask them."""

import shutil
import subprocess
import sys

import pytest

from codistill.commands.completion import script

SHELLS = ("bash", "zsh", "fish")


def bash(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _codistill; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "-u", "-c", f"{script('bash')}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout.split()


def test_bash_offers_what_can_come_next() -> None:
    assert bash("codistill", "ins") == ["inspect"]
    assert {"segment", "fit", "completion"} <= set(bash("codistill", ""))
    assert bash("codistill", "fit", "seg") == ["segmentation"]
    assert bash("codistill", "distill", "dune-vitb") == ["dune-vitbase14-336", "dune-vitbase14-448"]
    assert bash("codistill", "fit", "depth", "") == ["cached", "published"]
    assert bash("codistill", "bench", "st") == ["step", "store"]


def test_bash_offers_flags_and_their_values() -> None:
    assert bash("codistill", "inspect", "x", "--ke") == ["--keys"]
    assert bash("codistill", "fit", "depth", "--device", "") == ["auto", "cpu", "cuda"]
    assert "--distill.sharing.mode" in bash("codistill", "distill", "debug", "--distill.sh")
    assert bash("codistill", "distill", "debug", "--distill.sharing.mode", "g") == ["generic"]
    assert "--no-denormalize" in bash("codistill", "depth", "a.jpg", "--no-d")


def test_files_are_left_to_the_shell() -> None:
    assert bash("codistill", "inspect", "") == [] and bash("codistill", "nonsense", "--x") == []
    assert "complete -o default" in script("bash")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_read_their_scripts(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-n", "/dev/stdin"], input=script(shell), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_fish_offers_the_same() -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    lines = ["codistill fit seg", "codistill fit depth --device ", "codistill inspect x --ke"]
    asked = "\n".join(f"complete -C '{line}'; echo ---" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{script('fish')}\n{asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third, _ = (part.split() for part in done.stdout.split("---"))
    assert first == ["segmentation"] and third == ["--keys"] and {"auto", "cpu", "cuda"} <= set(second)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from codistill.cli import main; main(['completion', 'bash']); "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
