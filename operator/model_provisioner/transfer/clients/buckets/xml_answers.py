"""Reads XML that a server has sent into plain texts. All of it is untrusted.

Called by the modules beside this one that know what the elements mean. Entities and document types are refused, so that
no short body becomes a long one; depth, text and entries are bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_provisioner.transfer.clients.bodies import Malformed

_MAX_DEPTH = 8
_MAX_TEXT = 4096
"""Characters of one text: a key of 1,024 bytes is at most three times as long when it is percent-encoded."""
_MAX_ENTRIES = 1000
_MAX_NAMES = 200
"""Of the elements outside of entries, and of those in one entry."""
_NO_XML = "what is no XML"


@dataclass(frozen=True, slots=True)
class Document:
    """The texts of a document, without namespaces.

    `texts` has those of single elements by their path below the root, such as `Checksum/ChecksumSHA256`. `entries` are
    the repeated elements, each with its texts by name.
    """

    texts: Mapping[str, str]
    entries: tuple[Mapping[str, str], ...]


def read_xml(body: bytes, roots: frozenset[str], entry: str = "") -> Document:
    """The document `body`, whose root is one of `roots`; `entry` is the path of the repeated elements.

    Raises Malformed.
    """
    from xml.parsers import expat  # noqa: PLC0415 - a worker that moves bytes would load it

    def refuse(*_: object) -> None:
        raise Malformed("XML with a document type")

    reader = _Reader(roots, entry)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError):  # no XML, or an encoding that is not known
        raise Malformed(_NO_XML) from None
    return Document(reader.texts, tuple(reader.entries))


@dataclass
class _Reader:
    """Collects what `Document` has. `_path` is where the parser is, below the root."""

    roots: frozenset[str]
    entry: str
    texts: dict[str, str] = field(default_factory=dict)
    entries: list[dict[str, str]] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _depth: int = 0
    _text: list[str] = field(default_factory=list)
    _length: int = 0

    def start(self, tag: str, _: object) -> None:
        name = tag.rpartition(":")[2]
        if self._depth >= _MAX_DEPTH or (not self._depth and name not in self.roots):
            raise Malformed("XML of another shape")
        if self._depth:
            self._path.append(name)
        self._depth += 1
        self._text, self._length = [], 0
        if self.entry and "/".join(self._path) == self.entry:
            if len(self.entries) >= _MAX_ENTRIES:
                raise Malformed(f"more than {_MAX_ENTRIES:,} entries in a page")
            self.entries.append({})

    def end(self, _: str) -> None:
        path = "/".join(self._path)
        if self.entry and path.startswith(f"{self.entry}/"):
            self._keep(self.entries[-1], path.removeprefix(f"{self.entry}/"))
        elif path != self.entry:
            self._keep(self.texts, path)
        self._depth -= 1
        if self._path:
            self._path.pop()
        self._text, self._length = [], 0

    def _keep(self, texts: dict[str, str], name: str) -> None:
        if len(texts) >= _MAX_NAMES and name not in texts:
            raise Malformed("XML of another shape")
        texts[name] = "".join(self._text)

    def text(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_TEXT:
            raise Malformed("a text that is too long")
        self._text.append(text)
