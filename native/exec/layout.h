// The slots of a vCPU's state region that native code touches. Mirrors lib/engine/state.ts (a test compares them by effect).
#pragma once
#include <cstddef>
#include <cstdint>

namespace vmx {

constexpr size_t kSlotPending = 3;
constexpr size_t kSlotXAddr = 5;
constexpr size_t kSlotXVal = 6;
constexpr size_t kSlotXAux = 7;
constexpr size_t kSlotXAbort = 55;
/** A state region smaller than this cannot hold the slots above. */
constexpr size_t kMinStateBytes = 4096;

}  // namespace vmx
