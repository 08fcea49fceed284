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
  /** struct kvm_lapic_state. */
  kLapic = 0x4000,
  kMpState = 0x4400,
  /** struct kvm_msrs with one entry: TSC_DEADLINE, which must be set after the local APIC. */
  kDeadline = 0x4410,
  kBlockBytes = 0x5000,
};
constexpr uint32_t kMaxMsrs = (kXsave - kMsrs - 8) / 16;

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
  /** Where the local APIC is in the kernel. MP_STATE comes first when state is got: it makes the kernel act on INIT and SIPI. */
  kPartLapic = 1024,
  kPartDeadline = 2048,
  kPartMpState = 4096,
};

/** State of the machine's interrupt hardware in the kernel. */
enum class Chip : uint32_t { kPicMaster = 0, kPicSlave = 1, kIoApic = 2, kPit = 3 };
constexpr uint32_t kChips = 4;
/** The kernel's structure without what identifies the chip. */
size_t ChipBytes(Chip chip);

/** How a GSI reaches its CPU; mirrors lib/accel/kvm/native.ts (NativeKvm.setRoutes). */
struct Route {
  uint32_t gsi;
  /** 0: pin `b` of chip `a`; 1: message to address `a` (low) and `b` (high) with data `c`. */
  uint32_t kind;
  uint32_t a;
  uint32_t b;
  uint32_t c;
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
  /** Local APICs, I/O APIC and 8259As in the kernel. Before the first vCPU, as the next. */
  int CreateIrqchip();
  /** Local APICs alone; the first `pins` routes are an I/O APIC's, whose level-triggered vectors exit at their EOI. */
  int SplitIrqchip(uint32_t pins);
  int CreatePit();
  /** data: ChipBytes(chip). */
  int ChipState(Chip chip, uint8_t* data, bool set);
  int IrqLine(uint32_t gsi, bool level);
  int SetRoutes(const Route* routes, size_t count);
  /** taken: an APIC has accepted it. */
  int SignalMsi(uint64_t address, uint32_t data, bool* taken);
  /** Signals of eventfd `event` raise the GSI; `resample` (or -1) is signalled at the end of a level-triggered one. */
  int Irqfd(int event, uint32_t gsi, int resample, bool on);
  /** A guest's write of `bytes` (0: of any width) to the port or address, of `*match` alone if given, signals `event` and does not exit. */
  int Ioeventfd(int event, uint64_t address, uint32_t bytes, const uint64_t* match, bool port, bool on);
  /** vCPUs from now on note the pages that they write in a ring of that size. */
  int EnableDirtyRing(uint32_t capability, uint32_t bytes);
  uint32_t ring_bytes() const { return ring_bytes_; }
  /** Pages whose entries have been taken are watched again. */
  int ResetDirtyRings();
  const System& system() const { return *system_; }

 private:
  std::unique_ptr<System> system_;
  int fd_ = -1;
  uint32_t ring_bytes_ = 0;
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
  /** The local APIC is the kernel's: external interrupts are injected as events, which can be read back. */
  void KernelApic(bool on) { kernel_apic_ = on; }
  /** Maps the ring of written pages. */
  int MapRing(uint32_t bytes);
  /** Takes entries out of the ring: pairs of slot (with its address space) and page. @return how many */
  uint32_t Harvest(uint32_t* out, uint32_t most);

 private:
  int GetLapic();
  int Settle();
  int Inject(uint32_t vector);
  int Set(uint32_t mask, uint32_t* failed);
  int Get(uint32_t mask, uint32_t* failed);
  int Part(uint32_t part, bool set);
  int Flush();
  int Run();

  int fd_;
  uint8_t* run_;
  uint8_t* block_;
  bool kernel_apic_ = false;
  void* ring_ = nullptr;
  uint32_t ring_bytes_ = 0;
  uint32_t ring_next_ = 0;
};

}  // namespace kvm
}  // namespace vmx
