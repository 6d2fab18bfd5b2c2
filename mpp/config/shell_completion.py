"""
Makes scripts for bash, zsh and fish that complete mpp's options, from the table of options. It runs no shell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mpp.config.options import COMPLETION, HELP_WORDS, OPTIONS
from mpp.core.errors import ConfigError
from mpp.core.text.values import parse_path
from mpp.discovery.kinds.option import Option

_BASH = """\
# bash completion for mpp, version 4 or later:  . <(mpp --completion bash)
_mpp() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}} values=
    # Readline takes "--option=value" for three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $option == = ]]; then
        option=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case $option in
{cases}
        *) values="{flags}" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
}}
complete -F _mpp mpp
"""

_ZSH = """\
#compdef mpp
# zsh completion for mpp, after compinit:  . <(mpp --completion zsh)
_mpp() {{
    _arguments -S : \\
{arguments}
        '1:: :({words})'
}}
if [[ $funcstack[1] == _mpp ]]; then
    _mpp "$@"
else
    compdef _mpp mpp
fi
"""

_FISH = """\
# fish completion for mpp:  mpp --completion fish | source
complete -c mpp -f
{lines}
"""


def completion(shell: str) -> str:
    """
    Return the completion script for a shell.

    :raise ConfigError: the shell is not supported.
    """
    if shell not in _SCRIPTS:
        raise ConfigError(COMPLETION.flag, f"{shell!r} is not a supported shell; expected one of {', '.join(_SCRIPTS)}")
    return _SCRIPTS[shell]()


def _bash() -> str:
    cases = []
    for option in OPTIONS:
        names = "|".join(name for name in (option.flag, option.short) if name)
        if option.switch:
            continue
        if _is_file(option):
            act = 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return'
        else:
            act = f'values="{" ".join(option.choices)}"'
        cases.append(f"        {names}) {act} ;;")
    return _BASH.format(cases="\n".join(cases), flags=" ".join(option.flag for option in OPTIONS))


def _zsh() -> str:
    return _ZSH.format(
        arguments="\n".join(f"        {_zsh_argument(option)} \\" for option in OPTIONS), words=" ".join(HELP_WORDS)
    )


def _zsh_argument(option: Option) -> str:
    said = re.sub(r"([\[\]:\\])", r"\\\1", _brief(option))
    value = ""
    if _is_file(option):
        value = ":file:_files"
    elif not option.switch:
        offered = " ".join(choice.replace(":", "\\:") for choice in option.choices)
        value = f":value:({offered})" if offered else ":value: "
    repeated, equals = "*" if option.repeatable else "", "" if option.switch else "="
    if option.short:
        return f"'({option.short} {option.flag})'{{{option.short},{option.flag}{equals}}}{_quoted(f'[{said}]{value}')}"
    return _quoted(f"{repeated}{option.flag}{equals}[{said}]{value}")


def _fish() -> str:
    lines = []
    for option in OPTIONS:
        short = f" -s {option.short[1:]}" if option.short else ""
        value = "" if option.switch else " -r -F" if _is_file(option) else f" -x -a {_quoted(' '.join(option.choices))}"
        said = _brief(option).replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"complete -c mpp -l {option.flag[2:]}{short}{value} -d '{said}'")
    return _FISH.format(lines="\n".join(lines))


def _is_file(option: Option) -> bool:
    return option.parse is parse_path


def _brief(option: Option) -> str:
    """Return the first part of an option's help, which fits in a line of a menu."""
    return option.help.partition(";")[0].partition(". ")[0]


def _quoted(text: str) -> str:
    """Quote a text for a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


_SCRIPTS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
