"""Reads Bicep as far as the checks need it: what is declared, and the values that are written down."""

from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


class Expression(str):
    """A value that is only known when it is deployed, as it is written."""


@dataclass
class Declaration:
    """A parameter, variable, resource, module or output."""

    kind: str
    name: str
    line: int
    # The type of a parameter or output, `Type/name@version` of a resource, the path of a module.
    type: str = ""
    value: object = None
    decorators: list = field(default_factory=list)
    existing: bool = False
    conditional: bool = False
    looped: bool = False


class File:
    """One template."""

    def __init__(self, path):
        self.path = Path(path)
        source = self.path.read_bytes()
        self.text = source.decode()
        root = PARSER.parse(source).root_node
        self.errors = [f"{self.path.name}:{node.start_point[0] + 1}: syntax error" for node in walk(root) if node.is_error or node.is_missing]
        self.declarations, decorators = [], []
        for node in root.named_children:
            if node.type == "decorators":
                decorators = [text(child)[1:] for child in node.named_children]
            elif node.type.endswith("_declaration"):
                self.declarations.append(declaration(node, decorators))
                decorators = []

    def all(self, kind):
        return [found for found in self.declarations if found.kind == kind]


def text(node):
    return node.text.decode()


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def declaration(node, decorators):
    kind = node.type.removesuffix("_declaration")
    names = [child for child in node.named_children if child.type == "identifier"]
    found = Declaration(kind, text(names[0]), node.start_point[0] + 1, decorators=decorators)
    found.existing = any(child.type == "existing" for child in node.children)
    rest = [child for child in node.named_children if child is not names[0] and child.id != names[0].id]
    if kind in ("resource", "module"):
        found.type = text(rest.pop(0)).strip("'")
    elif rest and rest[0].type == "type":
        found.type = text(rest.pop(0))
    body = rest[0] if rest else None
    while body is not None and body.type in ("for_statement", "if_statement"):
        found.looped |= body.type == "for_statement"
        found.conditional |= body.type == "if_statement"
        body = body.named_children[-1]
    found.value = value(body)
    return found


def value(node):
    """A Python value for what is written down, an `Expression` for what is not."""
    if node is None:
        return None
    if node.type == "object":
        return dict(pair(child) for child in node.named_children if child.type == "object_property")
    if node.type == "array":
        return [value(child) for child in node.named_children if child.type != "comment"]
    if node.type == "string" and all(child.type in ("string_content", "escape_sequence") for child in node.named_children):
        return text(node)[1:-1]
    if node.type == "number":
        return int(text(node))
    if node.type == "boolean":
        return text(node) == "true"
    if node.type == "null":
        return None
    return Expression(text(node))


def pair(node):
    key, content = node.named_children[0], node.named_children[-1]
    return (text(key).strip("'"), value(content))
