-- Health of RunaiCluster and RunaiControlPlane (runai-operator.io).
--
-- Both kinds follow kstatus: status.observedGeneration is -1 until the operator has looked, Ready is always present,
-- Reconciling and Stalled are present only while True and never together. Whether the cluster's agent is connected is
-- told in the message and does not count: waves that install or repair the agent must not wait for it.
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

because("Healthy", "Ready")
if conditions["Connected"] ~= nil then
  hs.message = hs.message .. " (agent " .. conditions["Connected"].reason .. ": " .. conditions["Connected"].message .. ")"
end
return hs
