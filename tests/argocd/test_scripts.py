"""Scripts are tested with no more libraries than Argo CD provides."""

import pytest
from lupa import lua51

from tests.argocd.scripts import run


@pytest.mark.parametrize(
    "source",
    [
        "return io.open('/etc/passwd')",
        "return os.date()",
        "return require('os').getenv('HOME')",
        "return require('io')",
        "return string.format('x')",
        "return ('x'):upper()",
        "return python.eval('1')",
        "return loadfile('/etc/passwd')",
        "return math.floor(1.5)",
    ],
)
def test_what_argo_cd_does_not_give_is_not_there(source: str) -> None:
    with pytest.raises(lua51.LuaError):
        run(source, {})


def test_what_argo_cd_gives_is_there() -> None:
    source = "return {require('os').date('!%Y'), obj.metadata.name, table.concat({'a', 'b'})}"
    year, *rest = run(source, {"metadata": {"name": "tiny"}})
    assert int(year) > 2000
    assert rest == ["tiny", "ab"]
