"""`codistill completion bash|zsh|fish`: a completion script, made from the parsers without importing PyTorch.

After `codistill WORD` it completes the words that can come next (tasks, parts, recipes); after `--`, the flags of that
command and task; after a flag with a fixed set of values, these values; elsewhere, files.
"""

from codistill.commands.parsers.catalogue import CommandLine, command_lines
from codistill.commands.parsers.completion import parse

BASH = """\
# Completion of codistill in bash: eval "$(codistill completion bash)"
_codistill_known() {
  case "$1" in
@known@
    *) return 1 ;;
  esac
}
_codistill() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
  local one="${COMP_WORDS[1]}" next="" flags="" values=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "@commands@" -- "$cur"))
    return
  fi
  local key="$one ${COMP_WORDS[2]}" place=3
  [ "$COMP_CWORD" -gt 2 ] && _codistill_known "$key" || { key="$one"; place=2; _codistill_known "$key" || return; }
  case "$key:$prev" in
@values@
  esac
  if [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [ "${cur#-}" != "$cur" ]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif [ "$COMP_CWORD" -eq "$place" ] && [ -n "$next" ]; then
    COMPREPLY=($(compgen -W "$next" -- "$cur"))
  fi
}
complete -o default -F _codistill codistill
"""
ZSH = """\
# Completion of codistill in zsh: eval "$(codistill completion zsh)" after compinit
autoload -U +X bashcompinit && bashcompinit
"""
FISH = """\
# Completion of codistill in fish: codistill completion fish > ~/.config/fish/completions/codistill.fish
function __codistill_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l count (count $words)
    if test $count -eq 1
        string split ' ' -- '@commands@'
        return
    end
    set -l key "$words[2]"
    set -l place 2
    if test $count -gt 2
        switch "$words[2] $words[3]"
            case @two@
                set key "$words[2] $words[3]"
                set place 3
        end
    end
    set -l next
    set -l flags
    set -l values
    switch "$key"
@known@
    end
    switch "$key:$words[-1]"
@values@
    end
    if test -n "$values"
        string split ' ' -- $values
    else if string match -q -- '-*' $cur
        string split ' ' -- $flags
    else if test $count -eq $place; and test -n "$next"
        string split ' ' -- $next
    end
end
complete -c codistill -a '(__codistill_complete)'
"""


def main(argv: list[str]) -> int:
    """Print the script."""
    print(script(parse(argv).shell), end="")
    return 0


def script(shell: str) -> str:
    """The completion script of a shell: `bash`, `zsh` or `fish`."""
    lines = _with_short(list(command_lines().values()))
    parts = _fish(lines) if shell == "fish" else _bash(lines)
    text = {"bash": BASH, "zsh": ZSH + BASH.partition("\n")[2], "fish": FISH}[shell]
    words = dict.fromkeys(key.partition(" ")[0] for key in lines)
    for name, part in {**parts, "commands": " ".join(words)}.items():
        text = text.replace(f"@{name}@", part)
    return text


def _with_short(lines: list[CommandLine]) -> dict[str, CommandLine]:
    """Command lines by the words that are typed, including short spellings."""
    typed = {" ".join(line.words): line for line in lines}
    return typed | {" ".join(line.short): line for line in lines if line.short}


def _choices(lines: dict[str, CommandLine]) -> dict[str, list[str]]:
    """For every set of values, the places `KEY:--flag` where it is allowed."""
    found: dict[str, list[str]] = {}
    for key, line in lines.items():
        for flag, values in line.options.items():
            if values:
                found.setdefault(" ".join(values), []).append(f"{key}:{flag}")
    return found


def _bash(lines: dict[str, CommandLine]) -> dict[str, str]:
    known = [
        f'    "{key}") next="{" ".join(line.next)}" flags="{" ".join(line.options)}" ;;'
        for key, line in lines.items()
    ]
    values = [
        "    " + "|".join(f'"{place}"' for place in places) + f') values="{said}" ;;'
        for said, places in _choices(lines).items()
    ]
    return {"known": "\n".join(known), "values": "\n".join(values)}


def _fish(lines: dict[str, CommandLine]) -> dict[str, str]:
    known = [
        f"        case '{key}'\n            set next '{' '.join(line.next)}'\n"
        f"            set flags '{' '.join(line.options)}'"
        for key, line in lines.items()
    ]
    values = [
        f"        case {' '.join(repr(place) for place in places)}\n            set values '{said}'"
        for said, places in _choices(lines).items()
    ]
    two = " ".join(repr(key) for key in lines if " " in key)
    return {"known": "\n".join(known), "values": "\n".join(values), "two": two}
