// Doorbells: eventfds that a hypervisor signals when a guest writes to an address (KVM_IOEVENTFD), or at the end of an interrupt
// (KVM_IRQFD's resample). A thread waits for them, notes which have rung and wakes the machine's thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace vmx {
namespace kvm {

class Doorbells {
 public:
  /** Null when descriptors or threads are short. @param rung one bit for each bell; outlives the object @param context is kicked */
  static std::unique_ptr<Doorbells> Start(std::atomic<uint32_t>* rung, uint32_t count, double context);
  ~Doorbells();
  /** The bell's eventfd, made at first; -1 and errno if that fails. n < count. */
  int Event(uint32_t n);

 private:
  Doorbells() = default;
  static void* Main(void* self);
  void Loop();

  std::atomic<uint32_t>* rung_ = nullptr;
  std::vector<int> events_;
  double context_ = 0;
  int epoll_ = -1;
  int quit_ = -1;
  uintptr_t thread_ = 0;
};

}  // namespace kvm
}  // namespace vmx
