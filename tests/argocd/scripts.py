"""Runs a script of deploy/argocd as Argo CD does: Lua 5.1 with few libraries, the object as the global `obj`.

What there is stands in Argo CD's util/lua/lua.go (`runLuaWithResourceActionParameters`): the base library without
access to files, `table`, and an `os` of `date` and `time` that only `require` gives. No `string`, not even as methods
of strings, unless an administrator sets `useOpenLibs`.
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
    """What the script returns. Raises lua51.LuaError."""
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    returned = lua.execute(_SANDBOX)(source, lua.table_from(document, recursive=True))
    return _decoded(returned)


def run_file(name: str, document: Document) -> Any:
    return run((ARGOCD / name).read_text(), document)


def _decoded(value: Any) -> Any:
    """As Argo CD's JSON encoder sees it: a table with keys from 1 is a list."""
    if lua51.lua_type(value) != "table":
        return value
    if 1 in value:
        return [_decoded(item) for item in value.values()]
    return {key: _decoded(item) for key, item in value.items()}
