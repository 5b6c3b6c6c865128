"""Brings the catalogues of translations up to date: ``python -m docs.translations``.

The sentences stand in the code (``docs/translating.md``); this finds them there, asks the bot for its commands, and
merges all of it into ``cogs/ui/languages/*.po``. A test fails while a catalogue lacks something.
"""

import ast
import asyncio
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from cogs.ui.language import babel_locale, path_of
from config.catalogue import Catalogue
from docs.reference import all_commands
from domain.language import Language

ROOT = Path(__file__).parent.parent
COGS = ROOT / "cogs"
TEXTS = COGS / "ui" / "texts.py"
"""Every constant in it is a text; of the other modules of ``cogs/ui`` the values of their tables are."""
SPEAKING = frozenset({"say", "translated", "fill"})
"""Functions whose first argument is a text."""
NAMES = frozenset({"LANGUAGES"})
"""Tables of names that every language shares."""
OWN_NAME = "Easel"
WIDTH = 120

Text = str | tuple[str, str]
"""A sentence, or its singular and plural."""


@dataclass(frozen=True, slots=True)
class Found:
    """A text and where it stands."""

    text: Text
    place: str


def template() -> Catalog:
    """Everything that the bot can say, with nothing translated."""
    catalog = Catalog(project="Easel", charset="utf-8", fuzzy=False)
    for found in [*in_code(), *in_commands(asyncio.run(all_commands())), *in_models(Catalogue.load())]:
        catalog.add(found.text, locations=[(found.place, 0)])
    return catalog


def in_code() -> list[Found]:
    """What stands in the modules of cogs."""
    found = []
    for path in sorted(COGS.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        texts = [*_called(tree)]
        if path.parent == TEXTS.parent:
            texts += _tables(tree, constants=path == TEXTS)
        place = path.relative_to(ROOT).as_posix()
        found += [Found(text, place) for text in texts]
    return found


def in_commands(commands: Iterable[Mapping[str, Any]]) -> Iterator[Found]:
    """Descriptions and choices, and the names of menus: ``commands`` are as Discord gets them."""
    for command in commands:
        # Menus have no description; their name is what people read.
        yield Found(command.get("description") or command["name"], "commands")
        yield from in_commands(command.get("options", ()))
        choices = [choice["name"] for choice in command.get("choices", ())]
        # Names of settings are typed as they are.
        if not any("_" in choice for choice in choices):
            yield from (Found(choice, "commands") for choice in choices)


def in_models(catalogue: Catalogue) -> Iterator[Found]:
    """What is said of each model when one is picked."""
    for model in catalogue:
        yield Found(model.summary, "config/models")


def _called(tree: ast.AST) -> Iterator[Text]:
    """First arguments of the functions that speak, plurals, and what an option expects."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Plural":
            one, other = (text for argument in node.args[:2] for text in _strings(argument))
            yield (one, other)
        elif name in SPEAKING and node.args:
            yield from _strings(node.args[0])
        elif name == "malformed":
            yield from _strings(node.args[2])
        for keyword in node.keywords:
            if keyword.arg == "expected":
                yield from _strings(keyword.value)


def _tables(tree: ast.Module, *, constants: bool) -> Iterator[str]:
    """Texts that stand at the top of a module: values of tables, and in ``texts`` also what has a name of its own."""
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)) if name in NAMES:
                continue
            case ast.Assign(value=ast.Dict(values=values)) | ast.AnnAssign(value=ast.Dict(values=values)):
                yield from (text for value in values if not isinstance(value, ast.Tuple) for text in _strings(value))
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if constants:
                yield from _strings(value)


def _strings(node: ast.expr) -> Iterator[str]:
    """The words in an expression: a literal, either side of a choice, the members of a tuple."""
    match node:
        case ast.Constant(value=str(text)) if any(character.isalpha() for character in text):
            yield text
        case ast.IfExp():
            yield from _strings(node.body)
            yield from _strings(node.orelse)
        case ast.Tuple() | ast.List():
            for one in node.elts:
                yield from _strings(one)


_WORDS = re.compile(r"[A-Za-z]{2,}[’']?[a-z]* [A-Za-z]{2,}|[A-Za-z]{2,}[:,]? $|^ [·,(]? ?[A-Za-z]{2,}")
"""Two words, or one that a value stands beside."""
_SEVERAL = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
_READ = re.compile(r"[A-Za-z ’'….,:!?“”-]+")
_UNSAID = frozenset(
    {"debug", "info", "warning", "error", "exception", "log", "compile", "getLogger", "retrying", "create_task"}
)
"""What is handed to these is read in a terminal, or is no text."""
_SHOWN = frozenset({"title", "label", "placeholder", "content"})
"""Keywords with which discord.py is given what people read."""


def hard_coded() -> Iterator[str]:
    """Words in the modules of cogs that no catalogue can have: ``file:line: text``."""
    known = {part for found in template() for part in ([found.id] if isinstance(found.id, str) else found.id)}
    for path in sorted(COGS.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        unsaid = {id(node) for parent in ast.walk(tree) for node in _not_for_people(parent)}
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and id(node) not in unsaid:
                pieces = [piece.value for piece in node.values if isinstance(piece, ast.Constant)]
                unsaid |= {id(piece) for piece in node.values}
                if any(_WORDS.search(str(piece)) for piece in pieces):
                    yield f"{place}:{node.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg in _SHOWN and any(
                        _READ.fullmatch(text) and text not in known | {OWN_NAME} for text in _strings(keyword.value)
                    ):
                        yield f"{place}:{node.lineno}: {ast.unparse(keyword)}"
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)) if id(node) not in unsaid and text not in known:
                    if _SEVERAL.search(text):
                        yield f"{place}:{node.lineno}: {text}"


def _not_for_people(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, what is logged, and what is raised at programmers."""
    match node:
        case ast.Expr(value=ast.Constant()):
            yield node.value
        case ast.Raise() | ast.Assert() | ast.AnnAssign(target=ast.Name(id="PUBLIC")):
            yield from ast.walk(node)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _UNSAID:
            yield from ast.walk(node)
        case ast.Call(func=ast.Attribute(attr="__init__")):
            yield from ast.walk(node)


def merged(language: Language, found: Catalog) -> Catalog:
    """The language's catalogue with what is new, without what is gone. What was reworded is marked as fuzzy."""
    catalog = Catalog(locale=babel_locale(language), project="Easel", charset="utf-8", fuzzy=False)
    if path_of(language).exists():
        with path_of(language).open("rb") as file:
            catalog = read_po(file)
        catalog.locale = babel_locale(language)
    found.creation_date = catalog.creation_date
    catalog.update(found)
    return catalog


def lacking(catalog: Catalog) -> list[str]:
    """What a catalogue has no translation for that could be trusted."""
    texts = []
    for message in catalog:
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and (message.fuzzy or not all(forms)):
            texts.append(message.id if isinstance(message.id, str) else message.id[0])
    return texts


def main() -> int:
    """Update all catalogues and say what lacks; returns 0."""
    found = template()
    for language in Language:
        if language is Language.ENGLISH:
            continue
        catalog = merged(language, found)
        with path_of(language).open("wb") as file:
            write_po(file, catalog, width=WIDTH, sort_output=True, ignore_obsolete=True, include_lineno=False)
        missing = lacking(catalog)
        lines = [f"{language.value}: {len(catalog) - len(missing)} of {len(catalog)} sentences", *missing]
        sys.stdout.write("\n    ".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
