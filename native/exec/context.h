// An execution context: entry into generated code, and the ways to get out of it and to sleep.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "exec/guard.h"
#include "memory/region.h"

struct uv_loop_s;

namespace vmx {

/** Deadline that never comes. */
constexpr uint64_t kNever = UINT64_MAX;

class Helper;

/** Something that the context's own thread is blocked in. */
class Interruptible {
 public:
  /** Makes it return soon. From any thread. */
  virtual void Interrupt() = 0;

 protected:
  ~Interruptible() = default;
};

/**
 * Belongs to one JavaScript thread. Only Kick may be called from others, through KickById.
 * After Dispose the object is an empty shell: Run refuses, the rest does nothing.
 */
class Context {
 public:
  /** Null with errno-like failure when the host has no descriptors left or the platform is not supported. */
  static Context* Create(uv_loop_s* loop, std::shared_ptr<Region> state, std::shared_ptr<Region> exec);
  static bool Supported();
  ~Context() { Dispose(); }

  /** In doubles, as the address comes from JavaScript: also refuses NaN, and everything once disposed. */
  bool CanRun(double entry) const { return entry >= entry_first_ && entry < entry_end_; }
  int32_t Run(double address) { return Call(static_cast<uintptr_t>(static_cast<int64_t>(address))); }
  /** Addresses for Enter. False, and nothing is set, unless both can be run. */
  bool SetEntries(const double entries[2]) {
    if (!CanRun(entries[0]) || !CanRun(entries[1])) return false;
    for (int i = 0; i < 2; i++) entries_[i] = static_cast<uintptr_t>(static_cast<int64_t>(entries[i]));
    return true;
  }
  /** Runs one of them. False if there is none, as after Dispose. */
  bool Enter(int which) {
    if (entries_[which] == 0) return false;
    Call(entries_[which]);
    return true;
  }
  /** False when the helper thread could not be started. */
  bool SetDeadline(uint64_t ns);
  void Kick();
  /** `immediates` tells whether JavaScript has immediates queued. */
  int Wait(uint64_t until, bool (*immediates)(void*), void* argument);
  /** Spins until the high word of PENDING is set, at most `ns`. */
  bool Spin(uint64_t ns) const;
  bool WatchLoop(bool on);
  /** From now on (until null is given) Raise interrupts it. @return whether the word is set already. */
  bool Block(Interruptible* in);
  void Dispose();

  bool disposed() const { return !state_; }
  double id() const { return id_; }

  /** Why the high word of PENDING is set: the deadline, or anything that JavaScript's event loop may have to look at. */
  enum Why : uint32_t { kDeadline = 1, kLook = 2 };
  /** Sets the bit in the high word of PENDING. */
  void Raise(Why why);
  /** The helper's timer went off: raises if the deadline has come. Returns the time to sleep until. */
  uint64_t Expire();

 private:
  Context() = default;
  int32_t Call(uintptr_t entry) {
    current_frame = &frame_;
    int32_t result = reinterpret_cast<int32_t (*)(void*)>(entry)(frame_.state);
    current_frame = nullptr;
    return result;
  }
  bool EnsureHelper();
  bool LoopHasWork(uint64_t* until, bool (*immediates)(void*), void* argument) const;

  RunFrame frame_ = {};
  double entry_first_ = 0;
  double entry_end_ = 0;
  uintptr_t entries_[2] = {0, 0};
  std::atomic<uint32_t>* pending_high_ = nullptr;
  std::atomic<uint64_t> deadline_{kNever};
  std::atomic<bool> waiting_{false};
  std::mutex blocked_mutex_;
  Interruptible* blocked_in_ = nullptr;
  int kick_fd_ = -1;
  double id_ = 0;
  uv_loop_s* loop_ = nullptr;
  Helper* helper_ = nullptr;
  std::shared_ptr<Region> state_;
  std::shared_ptr<Region> exec_;
};

/** The context of that id, for its own thread; null if there is none (any more). */
Context* FindContext(double id);

/** Kicks a context of any thread. False when there is none of that id (any more). */
bool KickById(double id);

}  // namespace vmx
