// How long a unit of cost takes on this machine, as far as it is known.
#pragma once

namespace beex {

// Runs are added up until they are long enough for a coarse clock. A shorter time is believed at once, as nothing makes a run faster
// than it can be; a longer one, which may be somebody else's use of the machine, only in part.
class Pace {
 public:
  // A run of `units` of cost took `microseconds`.
  void add(double units, double microseconds) {
    constexpr double kLongEnough = 1500.0, kPart = 0.25;
    units_ += units;
    microseconds_ += microseconds;
    if (microseconds_ < kLongEnough) return;
    const double measured = microseconds_ / units_;
    unit_time_ = unit_time_ == 0.0 || measured < unit_time_ ? measured : unit_time_ + kPart * (measured - unit_time_);
    units_ = microseconds_ = 0.0;
  }

  // In microseconds; 0 until something was measured.
  double unit_time() const { return unit_time_; }

 private:
  double units_ = 0.0, microseconds_ = 0.0;
  double unit_time_ = 0.0;
};

}  // namespace beex
