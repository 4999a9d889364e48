"""Runs a script of deploy/argocd as Argo CD does: in Lua 5.1 with few libraries, the object is the global `obj`.

Called by the tests of this folder. Argo CD's util/lua/lua.go (`runLuaWithResourceActionParameters`) provides the base
library without access to files, `table`, and with `require` an `os` that has only `date` and `time`. `string` and the
methods of strings are missing unless an administrator sets `useOpenLibs`.
"""

from pathlib import Path
from typing import Any

from lupa import lua51

ARGOCD = Path(__file__).parents[2] / "deploy" / "argocd"
Document = dict[str, Any]

_SANDBOX = """
local names = {
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
  "setmetatable", "table", "tonumber", "tostring", "type", "unpack", "xpcall",
}
local libraries = {os = {date = os.date, time = os.time}}
local environment = {}
for _, name in ipairs(names) do
  environment[name] = _G[name]
end
environment.require = function(name)
  return libraries[name] or error("module " .. name .. " not found")
end
getmetatable("").__index = nil
return function(source, obj)
  environment.obj = obj
  return setfenv(assert(loadstring(source)), environment)()
end
"""


def run(source: str, document: Document) -> Any:
    """The result of the script `source` for the object `document`. Raises lua51.LuaError."""
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    returned = lua.execute(_SANDBOX)(source, lua.table_from(document, recursive=True))
    return _decoded(returned)


def run_file(name: str, document: Document) -> Any:
    return run((ARGOCD / name).read_text(), document)


def _decoded(value: Any) -> Any:
    """A Lua value as Argo CD's JSON encoder reads it: a table with keys from 1 is a list."""
    if lua51.lua_type(value) != "table":
        return value
    if 1 in value:
        return [_decoded(item) for item in value.values()]
    return {key: _decoded(item) for key, item in value.items()}
