#!lua
-- Applies to one organisation what one batch adds: once, however often it is sent.
--
-- KEYS  1 the mark  2 the index of series  3 the dead letters  4 the retention policies
-- ARGV  1 the batch, JSON  then for each refused event: position, reason, message, event
-- Returns the mark it found, and how many events came too late for every bucket. Below batch.first everything was
-- applied now, otherwise nothing was.
--
-- The keys of buckets are put together here, as brikk_monitoring.store.keys says: all have the organisation's hash tag,
-- so they are on this server, and three of them for each series would be most of the batch.
--
-- An error halfway would leave the first half applied and the mark unmoved. So nothing here can fail: every argument
-- is judged before it comes, and the #! line lets the server refuse a script as a whole when its memory is full.

local batch = cjson.decode(ARGV[1])
local mark = tonumber(redis.call('GET', KEYS[1]) or 0)
if mark >= batch.first then
  return {mark, 0}
end
redis.call('SET', KEYS[1], string.format('%.0f', batch.last), 'EX', batch.mark_ttl)

for i = 2, #ARGV, 4 do
  redis.call('XADD', KEYS[3], 'MAXLEN', batch.dead_letters, '*',
    'position', ARGV[i], 'reason', ARGV[i + 1], 'message', ARGV[i + 2], 'event', ARGV[i + 3])
end
if #ARGV > 1 then
  redis.call('EXPIRE', KEYS[3], batch.dead_letter_ttl)
end

local resolutions = {{'minute', 60}, {'hour', 3600}, {'day', 86400}}
local policies = {}
local stored = redis.call('HGETALL', KEYS[4])
for i = 1, #stored, 2 do
  local seconds = {}
  for number in string.gmatch(stored[i + 1], '%d+') do
    seconds[#seconds + 1] = tonumber(number)
  end
  policies[stored[i]] = seconds
end
local default = policies['default'] or batch.retention

-- The buckets of a minute that are held still, as {what their keys begin with, how long they are held}.
local function buckets_of(minute, metric)
  local retention, held = policies[metric] or default, {}
  for i, resolution in ipairs(resolutions) do
    local number = math.floor(minute * 60 / resolution[2])
    local ttl = (number + 1) * resolution[2] + retention[i] - batch.now
    if ttl > 0 then
      held[#held + 1] = {batch.prefix .. ':' .. resolution[1] .. ':' .. string.format('%.0f', number) .. ':', ttl}
    end
  end
  return held
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', batch.now - batch.series_ttl)
local places = redis.call('ZCARD', KEYS[2])
local placed = {}

-- A series that neither has a place nor gets one is counted with the others of its group.
local function has_place(series, others)
  if placed[series] == nil then
    placed[series] = true
    if not redis.call('ZSCORE', KEYS[2], series) then
      placed[series] = others == '' or places < batch.cap
      places = placed[series] and places + 1 or places
    end
    if placed[series] then
      redis.call('ZADD', KEYS[2], batch.now, series)
    end
  end
  return placed[series]
end

local ranks = {}
for _, entry in ipairs(batch.entries) do
  local held = buckets_of(entry.minute, entry.metric)
  if #held > 0 then
    local series, group = entry.series, entry.group
    if not has_place(series, entry.others) then
      series, group = entry.others, entry.others_group
    end
    local names = {}
    for field in pairs(entry.add) do
      names[#names + 1] = field
    end
    for _, bucket in ipairs(held) do
      local key = bucket[1] .. series
      -- Two commands for all fields: one for each would take most of the script's time.
      local sums, changes = redis.call('HMGET', key, unpack(names)), {}
      for number, field in ipairs(names) do
        changes[#changes + 1] = field
        -- As text, because how a large Lua number is rendered depends on the server's version.
        changes[#changes + 1] = string.format('%.0f', (sums[number] or 0) + entry.add[field])
      end
      redis.call('HSET', key, unpack(changes))
      redis.call('EXPIRE', key, bucket[2])
      if group ~= '' then
        local rank = bucket[1] .. 'rank:' .. group
        redis.call('ZINCRBY', rank, entry.count, series)
        ranks[rank] = bucket[2]
      end
    end
  end
end
for rank, ttl in pairs(ranks) do
  redis.call('EXPIRE', rank, ttl)
end
if next(placed) then
  redis.call('EXPIRE', KEYS[2], batch.series_ttl)
end

local expired = 0
for _, minute in ipairs(batch.minutes) do
  if #buckets_of(minute[1], minute[3]) == 0 then
    expired = expired + minute[2]
  end
end
return {mark, expired}
