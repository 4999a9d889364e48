-- Which actions make sense for a ModelDownload as it is now; the others are shown greyed out.
local ready = false
for _, one in ipairs((obj.status or {}).conditions or {}) do
  if one.type == "Ready" then
    ready = one.status == "True"
  end
end
local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

-- Suspending a model that is Ready changes nothing, and only published files can be read again.
return {
  suspend = {disabled = deleting or suspended or ready, iconClass = "fa fa-fw fa-pause"},
  resume = {disabled = deleting or not suspended, iconClass = "fa fa-fw fa-play"},
  verify = {disabled = deleting or not ready, iconClass = "fa fa-fw fa-check"},
  retry = {disabled = deleting or suspended or ready, iconClass = "fa fa-fw fa-redo"},
}
