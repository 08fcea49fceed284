// An execution context: entry into generated code, and the ways to get out of it and to sleep.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "exec/guard.h"
#include "memory/region.h"

struct uv_loop_s;

namespace vmx {

/** Deadline that never comes. */
constexpr uint64_t kNever = UINT64_MAX;

class Helper;

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

  bool CanRun(uintptr_t entry) const { return entry - frame_.exec_start < frame_.exec_bytes; }
  int32_t Run(uintptr_t entry) {
    current_frame = &frame_;
    int32_t result = reinterpret_cast<int32_t (*)(void*)>(entry)(frame_.state);
    current_frame = nullptr;
    return result;
  }
  /** False when the helper thread could not be started. */
  bool SetDeadline(uint64_t ns);
  void Kick();
  int Wait(uint64_t until);
  bool WatchLoop(bool on);
  void Dispose();

  bool disposed() const { return !state_; }
  double id() const { return id_; }

  /** Sets the high word of PENDING. */
  void Raise();
  /** The helper's timer went off: raises if the deadline has come. Returns the time to sleep until. */
  uint64_t Expire();

 private:
  Context() = default;
  bool EnsureHelper();
  bool LoopHasWork(uint64_t* until) const;

  RunFrame frame_ = {};
  std::atomic<uint32_t>* pending_high_ = nullptr;
  std::atomic<uint64_t> deadline_{kNever};
  std::atomic<bool> waiting_{false};
  int kick_fd_ = -1;
  double id_ = 0;
  uv_loop_s* loop_ = nullptr;
  Helper* helper_ = nullptr;
  std::shared_ptr<Region> state_;
  std::shared_ptr<Region> exec_;
};

/** Kicks a context of any thread. False when there is none of that id (any more). */
bool KickById(double id);

}  // namespace vmx
