"""Makes the image of a release the default of its chart.

Called by `.github/workflows/release.yml` before it packages the chart.

The values in the repository name no registry, because an image that is built by hand may lie in any.
"""

import re
import sys
from pathlib import Path

_REPOSITORY = re.compile(r"^  repository: model-provisioner$", re.MULTILINE)
_DIGEST = re.compile(r'^  digest: ""$', re.MULTILINE)


def with_image(values: str, repository: str, digest: str) -> str:
    """The text of `values` with this image instead of the one without a registry. Raises ValueError.

    `digest` is `sha256:` and 64 hexadecimal digits.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ValueError(f"{digest!r} is not a digest: write sha256: and 64 hexadecimal digits")
    for pattern, line in ((_REPOSITORY, f"  repository: {repository}"), (_DIGEST, f"  digest: {digest}")):
        values, count = pattern.subn(line, values)
        if count != 1:
            raise ValueError(f"the values have {count} lines like {pattern.pattern!r}, not one")
    return values


def main() -> None:
    """Changes the file that the first argument names: the others are the image's repository and its digest."""
    name, repository, digest = sys.argv[1:]
    file = Path(name)
    file.write_text(with_image(file.read_text(), repository, digest))


if __name__ == "__main__":
    main()
