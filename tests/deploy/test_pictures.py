"""The pictures of the documentation: how they are made, and that the pages show them. `make pictures` takes them."""

import re
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.pictures.png import to_png
from deploy.pictures.terminal import to_svg

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"
TABLE = "NAME   STATUS\na      <b> & 3%   \n\nlong   last\n"


def test_each_line_of_the_output_is_a_text_at_its_place() -> None:
    root = ElementTree.fromstring(to_svg("get it", TABLE))
    texts = list(root.iter(f"{SVG}text"))
    assert ["".join(text.itertext()) for text in texts] == [
        "$ get it",
        "NAME   STATUS",
        "a      <b> & 3%",
        "long   last",
    ]
    heights = [float(text.attrib["y"]) for text in texts]
    assert [after - before for before, after in pairwise(heights)] == [20, 20, 40]


def test_columns_line_up_in_every_font_and_nothing_is_cut_off() -> None:
    root = ElementTree.fromstring(to_svg("get it", TABLE))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for text in root.iter(f"{SVG}text"):
        shown = "".join(text.itertext())
        assert text.attrib[SPACE] == "preserve"
        assert float(text.attrib["textLength"]) == pytest.approx(7.8 * len(shown))
        assert float(text.attrib["x"]) + float(text.attrib["textLength"]) < width
        assert float(text.attrib["y"]) < height


def test_text_is_light_on_a_ground_of_its_own() -> None:
    root = ElementTree.fromstring(to_svg("get it", TABLE))
    ground, texts = root.find(f"{SVG}rect"), root.find(f"{SVG}g")
    assert ground is not None
    assert texts is not None
    assert brightness(texts.attrib["fill"]) - brightness(ground.attrib["fill"]) > 150


def test_a_command_without_output_is_a_picture_too() -> None:
    texts = ElementTree.fromstring(to_svg("true", "")).iter(f"{SVG}text")
    assert ["".join(text.itertext()) for text in texts] == ["$ true"]


def test_a_png_has_the_pixels() -> None:
    file = to_png(bytes([1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 10, 11, 12, 255]), width=2)
    assert size(file) == (2, 2)
    start = file.index(b"IDAT")
    length = struct.unpack(">I", file[start - 4 : start])[0]
    assert zlib.decompress(file[start + 4 : start + 4 + length]) == bytes([0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12])
    assert struct.unpack(">I", file[start + 4 + length :][:4])[0] == zlib.crc32(file[start : start + 4 + length])


def test_the_pictures_are_there_and_small() -> None:
    page, terminal = (PICTURES / "page.png").read_bytes(), (PICTURES / "terminal.svg").read_bytes()
    assert size(page)[0] == 1200
    assert len(page) <= 150 * 1024
    assert len(terminal) <= 8 * 1024
    text = "".join(ElementTree.fromstring(terminal).itertext())
    assert re.search(r"NAME +MODEL +READY +STATUS +PROGRESS +SIZE +AGE", text)
    assert {"Available", "Downloading", "Queued", "SourceNotFound"} <= set(text.split())


@pytest.mark.parametrize(
    ("document", "pictures"),
    [
        ("README.md", ["docs/pictures/terminal.svg", "docs/pictures/page.png"]),
        ("docs/modeldownload.md", ["pictures/terminal.svg"]),
    ],
)
def test_pages_show_the_pictures_with_a_text_for_those_who_do_not_see_them(document: str, pictures: list[str]) -> None:
    found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", (ROOT / document).read_text())
    assert [target for _, target in found] == pictures
    assert all(len(text) > 40 for text, _ in found)


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG file in pixels."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def brightness(colour: str) -> float:
    """The mean of the three channels of #rrggbb, 0 to 255."""
    return sum(bytes.fromhex(colour.removeprefix("#"))) / 3
