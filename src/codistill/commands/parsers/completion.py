"""Options of `codistill completion`."""

import argparse

SHELLS = ("bash", "zsh", "fish")

PARSER = argparse.ArgumentParser(
    prog="codistill completion",
    description="A script that completes commands, tasks, recipes, options and their values in a shell.",
    epilog='bash: eval "$(codistill completion bash)" in ~/.bashrc. zsh: the same after compinit in ~/.zshrc. '
    "fish: codistill completion fish > ~/.config/fish/completions/codistill.fish",
)
PARSER.add_argument("shell", choices=SHELLS)

parse = PARSER.parse_args
