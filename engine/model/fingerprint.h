// A self-test in one number: a hash of all that small networks with made-up weights compute on the way. It is the same for every kernel
// table of every build, as the engine's arithmetic is fixed to the last bit (FORMAT.md, "The arithmetic").
//
// The networks go through every kernel and op: the three forms of the SLFN, activations of 1, 2 and 4 bits, rows of 1, 2, 4 and 8 bits,
// n-grams, gates, elimination, both kinds of pooling and of answers. It knows no text and no pack.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace beex {

// 0 when there is no memory for it, about 200 kB; it is given back.
std::uint32_t fingerprint(const KernelTable& kernels);

}  // namespace beex
