-- Which actions make sense for a ModelDownload as it is now; the others are shown greyed out.
local is = {}
for _, one in ipairs((obj.status or {}).conditions or {}) do
  is[one.type] = one.status == "True"
end
local ready = is.Ready == true
local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

-- Suspending a model that is Ready changes nothing, and only published files can be read again. One that is suspended
-- has nothing to try, unless it waits for somebody, as for the word that another volume is the right one.
return {
  suspend = {disabled = deleting or suspended or ready, iconClass = "fa fa-fw fa-pause"},
  resume = {disabled = deleting or not suspended, iconClass = "fa fa-fw fa-play"},
  verify = {disabled = deleting or not ready, iconClass = "fa fa-fw fa-check"},
  retry = {disabled = deleting or ready or (suspended and not is.Stalled), iconClass = "fa fa-fw fa-redo"},
}
