#!lua
-- Applies to one organisation what one batch of events adds: once, however often it is sent.
--
-- KEYS  1 the organisation's mark  2 its agents  3 its dead letters  4.. keys that the batch refers to by number
-- ARGV  1 the batch, JSON  then for each refused event: position, reason, message, event
-- Returns the mark it found: below batch.first everything was applied now, otherwise nothing was.
--
-- An error halfway would leave the first half applied and the mark unmoved. So nothing here can fail: every argument
-- is judged before it comes, and the #! line lets the server refuse a script as a whole when its memory is full.

local batch = cjson.decode(ARGV[1])
local mark = tonumber(redis.call('GET', KEYS[1]) or 0)
if mark >= batch.first then
  return mark
end
redis.call('SET', KEYS[1], string.format('%.0f', batch.last), 'EX', batch.mark_ttl)

for i = 2, #ARGV, 4 do
  redis.call('XADD', KEYS[3], 'MAXLEN', batch.dead_letters, '*',
    'position', ARGV[i], 'reason', ARGV[i + 1], 'message', ARGV[i + 2], 'event', ARGV[i + 3])
end
if #ARGV > 1 then
  redis.call('EXPIRE', KEYS[3], batch.dead_letter_ttl)
end

-- As text, because how a large Lua number is rendered depends on the server's version.
local function add(key, ttl, fields)
  for field, number in pairs(fields) do
    redis.call('HINCRBY', key, field, string.format('%.0f', number))
  end
  redis.call('EXPIRE', key, ttl)
end

for _, bucket in ipairs(batch.buckets) do
  add(KEYS[bucket.key], bucket.ttl, bucket.add)
end

-- An agent that is neither counted already nor under the cap is counted with the others beyond it.
local function has_series(agent)
  return redis.call('ZSCORE', KEYS[2], agent) or redis.call('ZCARD', KEYS[2]) < batch.cap
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. batch.oldest)
for _, bucket in ipairs(batch.agents) do
  local agent, key = bucket.agent, KEYS[bucket.key]
  if has_series(agent) then
    redis.call('ZADD', KEYS[2], 'GT', bucket.minute, agent)
    redis.call('EXPIRE', KEYS[2], batch.agents_ttl)
  else
    agent, key = batch.overflow, KEYS[bucket.overflow]
  end
  add(key, bucket.ttl, bucket.add)
  redis.call('ZINCRBY', KEYS[bucket.calls], bucket.count, agent)
  redis.call('EXPIRE', KEYS[bucket.calls], bucket.ttl)
end

return mark
