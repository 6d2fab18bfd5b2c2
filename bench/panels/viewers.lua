-- What viewers ask: wrk -s viewers.lua URL -- QUERIES RANGE STEP gzip|identity
--
-- The panels of a dashboard in turn, one query a line of the file QUERIES, as Grafana asks for them: a form by POST, and another
-- X-Query-Group-Id for each query. Start and end are multiples of the step and advance with the clock. RANGE and STEP are in seconds.
-- The figures are printed as one line of JSON, which begins with FIGURES; times are in seconds.

local queries, range, step, encoding = {}, 0, 0, ""
local made_for, before, after, turn, asked = nil, {}, {}, 0, 0
local MARK = "group-id-of-this-query"

local function escaped(text)
   return (text:gsub("[^%w_.~-]", function(char) return string.format("%%%02X", char:byte()) end))
end

function init(arguments)
   for line in io.lines(arguments[1]) do
      queries[#queries + 1] = escaped(line)
   end
   range, step, encoding = tonumber(arguments[2]), tonumber(arguments[3]), arguments[4]
   math.randomseed(os.time())
end

local function make(last)
   made_for = last
   for number, query in ipairs(queries) do
      local form = string.format("end=%d&query=%s&start=%d&step=%d", last, query, last - range, step)
      local fields = {}
      for name, value in pairs(wrk.headers) do
         fields[name] = value
      end
      fields["Content-Type"], fields["Accept-Encoding"] = "application/x-www-form-urlencoded", encoding
      fields["X-Panel-Id"], fields["X-Query-Group-Id"] = tostring(number), MARK
      local text = wrk.format("POST", "/api/v1/query_range", fields, form)
      local first, final = text:find(MARK, 1, true)
      before[number], after[number] = text:sub(1, first - 1), text:sub(final + 1)
   end
end

function request()
   local now = os.time()
   if now - now % step ~= made_for then
      make(now - now % step)
   end
   turn, asked = turn % #queries + 1, asked + 1
   return before[turn] .. asked .. after[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format('FIGURES {"requests": %d, "seconds": %f, "bytes": %d, "median": %f, "p95": %f, "worst": %f, "bad": %d}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e6, latency:percentile(95) / 1e6,
      latency.max / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
