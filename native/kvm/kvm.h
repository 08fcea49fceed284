// KVM: the ioctls of a virtual machine and its vCPUs (Linux Documentation/virt/kvm/api.rst). No policy: lib/accel/kvm decides.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "accel/vcpu_thread.h"

namespace vmx {
namespace kvm {

/** A vCPU's shared block: the mailbox, then the parts of its state as the kernel's structures. Mirrors lib/accel/kvm/layout.ts. */
enum BlockOffset : size_t {
  kRegs = 0x100,
  kSregs = 0x200,
  kXcrs = 0x400,
  kEvents = 0x600,
  kDebugRegs = 0x680,
  /** 64-bit TSC offset. */
  kTscOffset = 0x710,
  /** struct kvm_guest_debug. */
  kGuestDebug = 0x740,
  /** struct kvm_msrs with its entries. */
  kMsrs = 0x800,
  kXsave = 0x1000,
  kBlockBytes = 0x4000,
};
constexpr uint32_t kMaxMsrs = (kXsave - kMsrs - 8) / 16;
constexpr size_t kXsaveBytes = kBlockBytes - kXsave;

/** Parts of the state, in the order they are set. */
enum StatePart : uint32_t {
  kPartXcrs = 1,
  kPartXsave = 2,
  kPartSregs = 4,
  kPartRegs = 8,
  kPartMsrs = 16,
  kPartEvents = 32,
  kPartDebugRegs = 64,
  kPartTscOffset = 128,
  kPartGuestDebug = 256,
  /** Not state: the vCPU's own translations are dropped. After the others, whose control registers it sets. */
  kPartFlush = 512,
};

struct Failure {
  const char* code = nullptr;
  std::string message;
  explicit operator bool() const { return code != nullptr; }
};

/** /dev/kvm, opened. */
class System {
 public:
  ~System();
  static std::unique_ptr<System> Open(const char* path, Failure* failure);
  int Capability(int cap) const;
  /** KVM_GET_SUPPORTED_CPUID: function, index, flags, eax, ebx, ecx, edx of each entry. */
  std::vector<uint32_t> SupportedCpuid() const;
  int fd() const { return fd_; }
  size_t run_bytes() const { return run_bytes_; }

 private:
  int fd_ = -1;
  size_t run_bytes_ = 0;
};

class Vm {
 public:
  ~Vm();
  static std::unique_ptr<Vm> Create(const char* path, Failure* failure);
  /** 0 or an error number, as everything below. */
  int SetSlot(uint32_t slot, uint64_t gpa, uint64_t bytes, uint8_t* host, uint32_t flags);
  /** Writes to the range are collected in the ring, or (off) exit again. */
  int Coalesce(uint64_t gpa, uint32_t bytes, bool on);
  int DirtyLog(uint32_t slot, uint8_t* bitmap);
  int EnableCapability(uint32_t cap, uint64_t argument);
  /** The guest may access these MSRs alone (pairs of first and count); the third word allows reads (1) and writes (2). */
  int FilterMsrs(const std::vector<uint32_t>& ranges);
  int CreateVcpu(uint32_t id, int* fd);
  const System& system() const { return *system_; }

 private:
  std::unique_ptr<System> system_;
  int fd_ = -1;
};

class Vcpu : public VcpuBackend {
 public:
  /** Takes over fd; run and block outlive the object. */
  Vcpu(int fd, uint8_t* run, uint8_t* block) : fd_(fd), run_(run), block_(block) {}
  ~Vcpu() override;
  void Execute(Mailbox* box) override;
  void Interrupt(bool running, uintptr_t thread) override;
  /** entries: as SupportedCpuid. */
  int SetCpuid(const uint32_t* entries, size_t count);
  int TscKhz();

 private:
  int Set(uint32_t mask, uint32_t* failed);
  int Get(uint32_t mask, uint32_t* failed);
  int Part(uint32_t part, bool set);
  int Flush();
  int Run();

  int fd_;
  uint8_t* run_;
  uint8_t* block_;
};

}  // namespace kvm
}  // namespace vmx
