"""Decides how the output of a command looks as a picture. Called by `__main__`. Pure: text in, SVG out.

The picture has its own ground, so that it is readable on a light and on a dark page.
"""

from html import escape

CELL, LINE, SIZE = 7.8, 20.0, 13.0  # width of a column, height of a line and of the letters, in pixels
PADDING = 18.0  # pixels around the text
GROUND, EDGE, TEXT, PROMPT = "#161b22", "#30363d", "#e6edf3", "#7ee787"
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


def to_svg(command: str, output: str) -> str:
    """The picture of a terminal after `command` has printed `output`.

    Each line is stretched to the width of its columns, so that the columns of a table line up in every font.
    """
    lines = [line.rstrip() for line in output.rstrip("\n").split("\n")]
    columns = max(len(line) for line in [f"$ {command}", *lines])
    width, height = PADDING * 2 + CELL * columns, PADDING * 2 + LINE * (1 + len(lines))
    rows = [_row(0, f'<tspan fill="{PROMPT}">$</tspan> {escape(command)}', len(command) + 2)]
    rows += [_row(number, escape(line), len(line)) for number, line in enumerate(lines, start=1) if line]
    frame = f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
            f' height="{height:g}" role="img">',
            f"<title>{escape(command)}</title>",
            f'{frame} fill="{GROUND}" stroke="{EDGE}"/>',
            f'<g fill="{TEXT}" font-family="{FONTS}" font-size="{SIZE:g}">',
            *rows,
            "</g>",
            "</svg>\n",
        ]
    )


def _row(number: int, markup: str, columns: int) -> str:
    """The line `number`, from 0, whose text is `columns` long."""
    baseline = PADDING + LINE * number + LINE * 0.7
    place = f'x="{PADDING:g}" y="{baseline:g}" textLength="{CELL * columns:g}"'
    return f'<text {place} xml:space="preserve">{markup}</text>'  # Chromium does not take it from the element around
