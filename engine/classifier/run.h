// One input (a window of a text, or a pair) on its way through the network under a policy (FORMAT.md, "Exit rule", "Skip gates",
// "Cost"). It knows no text; nothing fails and nothing is allocated.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "beex/exit_rule.h"
#include "beex/observe.h"
#include "beex/policy.h"
#include "model/cost.h"
#include "model/network.h"

namespace beex {

// What one input answered.
struct RunAnswer {
  ExitAnswer answer;
  std::uint32_t exit = 0;    // after the last block that ran
  std::uint32_t blocks = 0;  // that ran
  ExitReason reason = ExitReason::kLast;
  double work = 0.0;  // in units of the cost model
};

// Until when a run may go on: no block is begun that would end later.
struct Deadline {
  Clock clock;
  double at = std::numeric_limits<double>::infinity();  // in the clock's microseconds
  double unit_time = 0.0;                               // microseconds that a unit of cost takes here
};

struct RunObservers {
  std::uint32_t window = 0;  // what to call the input
  ExitObserver exit;
  TraceObserver trace;
};

// `ids` and `first_length` are as for Network::embed. The answer's spans hold until the next run.
RunAnswer run(Network& network, const CostModel& cost, std::span<const std::uint32_t> ids, std::size_t first_length, const Policy& policy,
              const Deadline& deadline, const RunObservers& observers);

}  // namespace beex
