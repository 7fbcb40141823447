"""Finds the programs that the tests' source names, from its syntax tree.

What runs inside a pod is left out: the arguments of devctl, kubectl and ssh are never looked into.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import dropwhile
from pathlib import Path

_STARTERS = {
    "subprocess": ("run", "Popen", "call", "check_call", "check_output"),
    "asyncio": ("create_subprocess_exec",),
    "os": ("execv", "execve", "execvp", "execvpe"),
    "pty": ("spawn",),
    "shutil": ("which",),
    "toolchain": ("find", "need"),
}
"""Functions that start or find a program, by module: their first argument is its name or its argument list."""
_OURS = ("need", "find_tool", "enter")
"""The same of the project, by name alone. (enter: the node's programs are the machine's.)"""
_WRAPPERS = {
    "env": ("-u",),
    "nsenter": ("-t",),
    "unshare": ("--propagation",),
    "setpriv": (),
    "sudo": ("-u",),
    "timeout": (),
    "nice": ("-n",),
}
"""Programs whose arguments name the next one, each with the options that take the next argument as their value."""
_SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash", "zsh")
_ABSOLUTE = re.compile(r"(?<![\w.=/])/(?:usr/)?(?:s?bin|libexec|lib/[\w+.-]+)/[\w+.-]+(?:/[\w+.-]+)*")
_SEPARATORS = re.compile(r"&&|\|\||;;|[;|&\n(){}]|\$\(|`")
_KEYWORDS = """
if then else elif fi for while until do done case esac in function select ! { } [ [[ : . alias bg break builtin cd
command continue declare echo eval exec exit export false fg getopts hash jobs kill let local printf pwd read readonly
return set shift source test times trap true type ulimit umask unalias unset wait
"""
"""What the shell itself does."""


_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """A parsed Python file: ``path`` is what places are called by, ``text`` the file's contents when not on disk."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text() if text is None else text)
        self.functions = [node for node in ast.walk(self.tree) if isinstance(node, _Function)]


class Programs:
    """Finds the programs that a set of modules names, with the places."""

    def __init__(self, sources: Sequence[Source], *, wrappers: bool = True) -> None:
        """With ``wrappers``, functions that start what they are given count as well, and so do absolute paths."""
        self._sources = sources
        self._wrappers = wrappers
        self._constants = {
            target.id: node.value
            for source in sources
            for node in source.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self._starters = dict.fromkeys(_OURS if wrappers else (), 0)
        if wrappers:
            self._learn()

    def named(self) -> dict[str, set[str]]:
        """Each program, as a name or an absolute path, with the places (FILE:LINE) that name it."""
        found: dict[str, set[str]] = {}
        for source in self._sources:
            absolute = self._absolute(source) if self._wrappers else ()
            for name, line in [*self._started(source), *absolute]:
                found.setdefault(name, set()).add(f"{source.path}:{line}")
        return found

    def _learn(self) -> None:
        """Learn which functions of the tests pass a parameter on to a starter, through any number of them."""
        changed = True
        while changed:
            changed = False
            for node in (function for source in self._sources for function in source.functions):
                if node.name not in self._starters and not node.name.startswith("test_"):
                    position = self._passed_on(node)
                    if position is not None:
                        self._starters[node.name] = position
                        changed = True

    def _passed_on(self, node: _Function) -> int | None:
        """The position of the parameter that a function starts as a program; None when it does no such thing."""
        parameters = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
        rest = node.args.vararg.arg if node.args.vararg else None
        for _, argument in self._calls(node):
            name = _first_name(argument)
            if name is not None and name == rest:
                return len(parameters)
            if name in parameters and not self._assigned(node, name):
                return parameters.index(name)
        return None

    def _calls(self, scope: ast.AST) -> Iterator[tuple[ast.Call, ast.expr]]:
        """The calls in a scope that start a program, each with the argument that says which."""
        for call in ast.walk(scope):
            if isinstance(call, ast.Call):
                position = self._position(call.func)
                if position is not None and len(call.args) > position:
                    yield call, call.args[position]

    def _position(self, called: ast.expr) -> int | None:
        match called:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in _STARTERS.get(module, ()):
                return 0
            case ast.Attribute(value=ast.Name(id=module)) if module in _STARTERS:
                return None
            case ast.Attribute(attr=name) | ast.Name(id=name):
                return self._starters.get(name)
            case _:
                return None

    def _started(self, source: Source) -> Iterator[tuple[str, int]]:
        inside = {call for function in source.functions for call in ast.walk(function)}
        for scope in (*source.functions, source.tree):
            for call, argument in self._calls(scope):
                if scope is source.tree and call in inside:
                    continue  # a name is a function's own before it is the module's
                words = call.args[call.args.index(argument) :] if isinstance(argument, ast.Constant) else [argument]
                for name in self._programs(self._flat(words, scope)):
                    yield name, call.lineno

    def _flat(self, words: Sequence[ast.expr], scope: ast.AST, depth: int = 0) -> list[str | None]:
        """An argument list as constants, None for each argument that the source alone doesn't tell."""
        found: list[str | None] = []
        for word in words:
            found += self._value(word, scope, depth)
        return found

    def _value(self, word: ast.expr, scope: ast.AST, depth: int) -> list[str | None]:
        if depth > 6:
            return [None]
        match word:
            case ast.Constant(value=str() as text):
                return [text]
            case ast.JoinedStr(values=parts):
                # Wherever a value stands is a word that can't be told.
                return ["".join(str(p.value) if isinstance(p, ast.Constant) else "\0" for p in parts)]
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return self._flat(elements, scope, depth + 1)
            case ast.Starred(value=inner):
                return self._value(inner, scope, depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                sides = [self._value(side, scope, depth + 1) for side in (left, right)]
                texts = [each[0] for each in sides if len(each) == 1]
                if len(texts) == 2 and all(isinstance(each, str) for each in texts) and not _listed(left, right):
                    return ["".join(str(each) for each in texts)]
                return [*sides[0], *sides[1]]
            case ast.IfExp(body=body):
                return self._value(body, scope, depth + 1)
            case ast.BoolOp(values=[*_, last]):
                return self._value(last, scope, depth + 1)
            case ast.Name(id=name):
                known = self._assigned(scope, name) or self._constants.get(name)
                return self._value(known, scope, depth + 1) if known is not None else [None]
            case _:
                return [None]

    @staticmethod
    def _assigned(scope: ast.AST, name: str) -> ast.expr | None:
        """What a name is first given in a function."""
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return node.value
        return None

    def _programs(self, words: Sequence[str | None]) -> Iterator[str]:
        """The program that an argument list starts, and those that it starts in turn."""
        if not words or words[0] is None or "\0" in words[0]:
            return
        first, *rest = words
        assert first is not None
        if first.startswith("-"):
            return
        yield first
        if first in _SHELLS:
            flags = [number for number, word in enumerate(rest) if word and re.fullmatch("-[a-z]*c", word)]
            if flags and len(rest) > flags[0] + 1:
                text = rest[flags[0] + 1]
                yield from in_shell_text(text) if text else ()
                # What "$@" is, after $0 and what the text takes off it by `shift`.
                yield from self._programs(list(dropwhile(lambda word: word is None, rest[flags[0] + 3 :])))
        elif first in _WRAPPERS:
            words = _after_options(rest, _WRAPPERS[first])
            yield from self._programs(words[1:] if first == "timeout" else words)

    @staticmethod
    def _absolute(source: Source) -> Iterator[tuple[str, int]]:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for path in _ABSOLUTE.findall(node.value):
                    yield path, node.lineno


def in_shell_text(text: str) -> Iterator[str]:
    """The first word of each command in shell text; what the shell does itself and its own functions left out."""
    text = re.sub(r"(?m)(^|\s)#.*$", "", text.replace("\\\n", " "))
    own = set(re.findall(r"(?m)^\s*([\w-]+)\s*\(\)", text))
    quiet = re.sub(r"'[^']*'", "\0", text)  # no shell text in single quotes
    quiet = re.sub(r'"((?:[^"\\$`]|\\.|\$(?!\())*)"', "\0", quiet)
    for command in _SEPARATORS.split(quiet):
        words = [word for word in command.split() if not re.match(r"[<>]|\d[<>]|[A-Za-z_]\w*=", word)]
        while words and words[0] in ("if", "then", "else", "elif", "while", "until", "do", "!", "exec", "command"):
            words = words[1:]
        if words and re.fullmatch(r"[A-Za-z/][\w+./-]*", words[0]) and words[0] not in {*_KEYWORDS.split(), *own}:
            yield words[0]


def _after_options(words: Sequence[str | None], valued: Sequence[str]) -> list[str | None]:
    rest = list(words)
    while rest and rest[0] is not None and (rest[0].startswith("-") or "=" in rest[0]):
        rest = rest[2:] if rest[0] in valued else rest[1:]
    return rest


def _first_name(argument: ast.expr) -> str | None:
    """The name that an argument list begins with or is."""
    match argument:
        case ast.Name(id=name):
            return name
        case ast.Starred(value=inner):
            return _first_name(inner)
        case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]):
            return _first_name(first)
        case ast.Call(func=ast.Name(id="str" | "list" | "find_tool"), args=[first, *_]):
            return _first_name(first)
        case _:
            return None


def _listed(*sides: ast.expr) -> bool:
    return any(isinstance(side, ast.List | ast.Tuple) for side in sides)
