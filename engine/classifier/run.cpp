#include "classifier/run.h"

namespace beex {
namespace {

// The steps of a run, and what they add up to.
class Run {
 public:
  Run(Network& network, const CostModel& cost, const Policy& policy, const RunObservers& observers)
      : network_(network), config_(network.config()), cost_(cost), policy_(policy), observers_(observers) {}

  void begin(std::span<const std::uint32_t> ids, std::size_t first_length) {
    network_.embed(ids, first_length);
    result_.work = cost_.embedding(ids.size());
    count_exit();
    read_exit();
  }

  bool stopped() const { return decision_.stop; }

  // What the next block and the exit after it cost at most: the kernels take as long for some tokens as for the next multiple of 8.
  double cost_of(std::uint32_t block) const {
    const auto filled = [](std::size_t tokens) { return (tokens + 7) & ~std::size_t{7}; };
    const std::size_t entering = filled(network_.alive().size()), kept = filled(network_.tokens_after(block, policy_.gamma));
    return cost_.block(entering, kept) + cost_.pooling(kept) + cost_.exit();
  }

  void take(std::uint32_t block) {
    BlockReading reading{observers_.window, block, false, -1.0f, static_cast<std::uint32_t>(network_.alive().size()), {}};
    if (config_.skip_width > 0 && policy_.skip_threshold < 1.0f) {
      count_pooling();
      result_.work += cost_.gate();
      reading.gate = network_.read_skip_gate(block);
      reading.skipped = reading.gate > policy_.skip_threshold;
    }
    if (!reading.skipped) {
      network_.run_block(block, policy_.gamma);
      result_.work += cost_.block(reading.entering, network_.alive().size());
      ++result_.blocks;
      result_.exit = block + 1;
      pooled_ = false;
    }
    reading.alive = network_.alive();
    if (observers_.trace.block != nullptr) observers_.trace.block(observers_.trace.context, reading);
    if (!reading.skipped) look_at_exit();
  }

  // The answer, once nothing is left to run.
  RunAnswer finish(bool out_of_time) {
    if (!counted_) count_exit();
    if (!read_) read_exit();
    result_.reason = out_of_time ? ExitReason::kBudget : decision_.reason;
    result_.answer = result_.reason == ExitReason::kRising ? before_ : answer_;
    return result_;
  }

 private:
  // With the rule off the exits in between decide nothing; an observer sees them all the same.
  void look_at_exit() {
    const bool wanted = policy_.rule.kind != ExitKind::kOff || result_.exit == config_.blocks;
    counted_ = read_ = false;
    if (wanted) count_exit();
    if (wanted || observers_.exit.reached != nullptr) read_exit();
  }

  void read_exit() {
    read_ = true;
    before_ = answer_;
    answer_ = network_.read_exit(result_.exit);
    if (observers_.exit.reached != nullptr) {
      observers_.exit.reached(observers_.exit.context,
                              {observers_.window, result_.exit, answer_.logits, answer_.probabilities, answer_.entropy});
    }
    if (result_.exit == 0 && network_.doubtful()) return;  // the rule sees nothing of it
    decision_ = decide(policy_.rule, result_.exit, config_.blocks, answer_.entropy, answer_.probabilities, config_.task == Task::kMultiLabel,
                       seen_);
  }

  void count_exit() {
    counted_ = true;
    count_pooling();
    result_.work += cost_.exit();
  }

  // A gate and an exit that read the same state share its pooling.
  void count_pooling() {
    if (pooled_) return;
    pooled_ = true;
    result_.work += cost_.pooling(network_.alive().size());
  }

  Network& network_;
  const Config& config_;
  const CostModel& cost_;
  const Policy& policy_;
  const RunObservers& observers_;
  RunAnswer result_;
  ExitState seen_;
  ExitDecision decision_;
  ExitAnswer answer_, before_;
  bool pooled_ = false;                  // the state as it is now is in the work, pooled
  bool counted_ = false, read_ = false;  // the exit after the last block that ran
};

}  // namespace

RunAnswer run(Network& network, const CostModel& cost, std::span<const std::uint32_t> ids, std::size_t first_length, const Policy& policy,
              const Deadline& deadline, const RunObservers& observers) {
  Run run(network, cost, policy, observers);
  run.begin(ids, first_length);
  for (std::uint32_t block = 0; block < network.config().blocks && !run.stopped(); ++block) {
    const bool limited = deadline.at < std::numeric_limits<double>::infinity();
    if (limited && deadline.clock() + run.cost_of(block) * deadline.unit_time > deadline.at) return run.finish(true);
    run.take(block);
  }
  return run.finish(false);
}

}  // namespace beex
