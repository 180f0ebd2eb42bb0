-- Health of RunaiCluster and RunaiControlPlane (runai-operator.io).
--
-- Both kinds follow kstatus: status.observedGeneration is -1 until the operator has looked, Ready is always present,
-- Reconciling and Stalled are present only while True and never together. This is the strict variant of health.lua: an
-- agent that was connected and is not any more, or does not work, makes the object Degraded, which ends a sync with
-- several waves as failed. An agent that has not connected yet does not.
local hs = {}

if obj.status == nil or obj.status.conditions == nil then
  hs.status = "Progressing"
  hs.message = "Waiting for the operator to look at this object"
  return hs
end

if obj.status.observedGeneration ~= obj.metadata.generation then
  hs.status = "Progressing"
  hs.message = "Waiting for the operator to act on the latest change"
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local function is(kind, status)
  return conditions[kind] ~= nil and conditions[kind].status == status
end

local function because(status, kind)
  hs.status = status
  hs.message = conditions[kind].reason .. ": " .. conditions[kind].message
  return hs
end

if is("Stalled", "True") then
  return because("Degraded", "Stalled")
end

if is("Suspended", "True") then
  return because("Suspended", "Suspended")
end

if is("Reconciling", "True") then
  return because("Progressing", "Reconciling")
end

if not is("Ready", "True") then
  if conditions["Ready"] == nil then
    hs.status = "Progressing"
    hs.message = "Waiting for the condition Ready"
    return hs
  end
  return because("Progressing", "Ready")
end

local agent = conditions["Connected"]
if agent ~= nil then
  local troubles = { Disconnected = true, ServiceIssues = true, MissingPrerequisites = true }
  if troubles[agent.reason] then
    return because("Degraded", "Connected")
  end
end

because("Healthy", "Ready")
if agent ~= nil then
  hs.message = hs.message .. " (agent " .. agent.reason .. ": " .. agent.message .. ")"
end
return hs
