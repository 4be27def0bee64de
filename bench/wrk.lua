-- What wrk asks for and what it says at its end, for bench/load.py: `wrk -s wrk.lua URL -- other|same`.
local count = 0

function init(arguments)
  if arguments[1] == "other" then
    local path = wrk.path
    request = function()
      count = count + 1
      return wrk.format(nil, path .. "/" .. count)
    end
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
