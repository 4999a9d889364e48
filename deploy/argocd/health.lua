-- The health of a ModelDownload, by the rules of kstatus. The messages are those of its conditions.
local status = obj.status or {}

local function condition(kind)
  for _, one in ipairs(status.conditions or {}) do
    if one.type == kind then
      return one
    end
  end
  return {}
end

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "being deleted"}
end
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "waiting for the operator to see the latest change"}
end

local ready, reconciling, stalled = condition("Ready"), condition("Reconciling"), condition("Stalled")
if stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if reconciling.status == "True" then
  return {status = "Progressing", message = reconciling.message}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Progressing", message = ready.message}
