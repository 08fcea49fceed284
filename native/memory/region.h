// Memory that JavaScript holds as an ArrayBuffer: who owns a mapping and when it goes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace vmx {

/**
 * One allocation. It is shared between the ArrayBuffer's finalizer, the table of live regions and the contexts that use it, all
 * on one JavaScript thread, so no member needs to be atomic. It is unmapped by `Free`, or when the last owner goes.
 */
class Region {
 public:
  Region(uint8_t* base, uint8_t* exec, size_t bytes) : base_(base), exec_(exec), bytes_(bytes) {}
  ~Region() { UnmapNow(); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint8_t* base() const { return base_; }
  /** Executable alias, or null for plain memory. */
  uint8_t* exec() const { return exec_; }
  size_t bytes() const { return bytes_; }
  /** What JavaScript sees as `address`. */
  uintptr_t address() const { return reinterpret_cast<uintptr_t>(exec_ ? exec_ : base_); }

  /** A context relies on the memory: an explicit free waits for it. */
  void AddUser() { users_++; }
  void RemoveUser();
  void Free();

 private:
  void UnmapNow();

  uint8_t* base_;
  uint8_t* exec_;
  size_t bytes_;
  int users_ = 0;
  bool freed_ = false;
};

/** Live regions of one JavaScript environment by address. */
using RegionTable = std::unordered_map<uintptr_t, std::shared_ptr<Region>>;

}  // namespace vmx
