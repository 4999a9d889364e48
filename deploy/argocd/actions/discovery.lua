-- Disables the actions that have no effect in the current state of a ModelDownload. Argo CD shows them greyed out.
local is = {}
for _, one in ipairs((obj.status or {}).conditions or {}) do
  is[one.type] = one.status == "True"
end
local ready = is.Ready == true
local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

-- `suspend` has no effect on a model that is Ready, and only published files can be verified again. A suspended object
-- has nothing to retry unless it is Stalled, for example until another volume is accepted.
return {
  suspend = {disabled = deleting or suspended or ready, iconClass = "fa fa-fw fa-pause"},
  resume = {disabled = deleting or not suspended, iconClass = "fa fa-fw fa-play"},
  verify = {disabled = deleting or not ready, iconClass = "fa fa-fw fa-check"},
  retry = {disabled = deleting or ready or (suspended and not is.Stalled), iconClass = "fa fa-fw fa-redo"},
}
