#include "kvm/kvm.h"

#if defined(__linux__) && defined(__x86_64__)
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmx {
namespace kvm {

namespace {

// Some versions of the kernel's header give structures with a flexible array member another size in C++, and that size is
// part of the ioctl's number. Head of struct kvm_cpuid2 and struct kvm_msrs; their entries follow at once.
struct ListHead {
  uint32_t count;
  uint32_t padding;
};
static_assert(sizeof(ListHead) == 8, "ABI");
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, ListHead);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, ListHead);
constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, ListHead);
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, ListHead);
struct XsaveArea {
  uint32_t region[1024];
};
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea);
constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
static_assert(sizeof(kvm_regs) == 144 && sizeof(kvm_sregs2) == 320 && sizeof(kvm_xcrs) == 392 && sizeof(kvm_vcpu_events) == 64 && sizeof(kvm_debugregs) == 128, "ABI");
static_assert(sizeof(kvm_lapic_state) == 0x400 && sizeof(kvm_dirty_gfn) == 16, "ABI");
// As above: struct kvm_irq_routing and struct kvm_signal_mask end in flexible arrays.
constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, ListHead);
struct SignalMask {
  uint32_t bytes;
  uint8_t set[8];
};
constexpr unsigned long kSetSignalMask = _IOW(KVMIO, 0x8b, uint32_t);

/** Registers of the local APIC's timer in struct kvm_lapic_state. */
constexpr size_t kLvtTimer = 0x320, kTimerInitial = 0x380, kTimerCurrent = 0x390;
constexpr uint32_t kTimerDeadlineMode = 1u << 18;

/** Gets a vCPU's thread out of KVM_RUN. Not one that glibc or Node use. */
int KickSignal() { return SIGRTMIN + 3; }

void OnKick(int) {}

/** Without SA_RESTART, so that the ioctl returns. Installed once and for all. */
bool PrepareSignal() {
  static bool ok = [] {
    struct sigaction action = {};
    action.sa_handler = OnKick;
    return sigaction(KickSignal(), &action, nullptr) == 0;
  }();
  return ok;
}

int Ioctl(int fd, unsigned long request, void* argument) {
  return ioctl(fd, request, argument) < 0 ? errno : 0;
}

Failure OpenFailure(const char* path, int error) {
  std::string p(path);
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return {"ERR_KVM_NO_DEVICE", p + " does not exist: this kernel has no KVM or the host offers no virtualisation (load kvm_amd or kvm_intel, switch it on in the firmware set-up, or enable nested virtualisation)"};
    case EACCES:
    case EPERM:
      return {"ERR_KVM_PERMISSION", "no permission to open " + p + " (add the user to the group kvm and log in anew, or chmod the device)"};
    case EBUSY:
      return {"ERR_KVM_BUSY", p + " is in use by another hypervisor"};
    default:
      return {"ERR_KVM", "cannot open " + p + ": " + strerror(error)};
  }
}

}  // namespace

System::~System() {
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<System> System::Open(const char* path, Failure* failure) {
  std::unique_ptr<System> s(new System);
  s->fd_ = open(path, O_RDWR | O_CLOEXEC);
  if (s->fd_ < 0) {
    *failure = OpenFailure(path, errno);
    return nullptr;
  }
  int version = ioctl(s->fd_, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    *failure = {"ERR_KVM_OLD", std::string(path) + (version < 0 ? " is no KVM device" : " speaks version " + std::to_string(version) + " of the KVM interface; 12 is needed (Linux 2.6.22 or later)")};
    return nullptr;
  }
  int bytes = ioctl(s->fd_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (bytes < static_cast<int>(sizeof(kvm_run))) {
    *failure = {"ERR_KVM_OLD", std::string(path) + " maps less than a kvm_run structure"};
    return nullptr;
  }
  s->run_bytes_ = static_cast<size_t>(bytes);
  return s;
}

int System::Capability(int cap) const {
  int r = ioctl(fd_, KVM_CHECK_EXTENSION, cap);
  return r < 0 ? 0 : r;
}

std::vector<uint32_t> System::SupportedCpuid() const {
  std::vector<uint8_t> memory;
  ListHead* c = nullptr;
  std::vector<uint32_t> out;
  // How many entries there are is found out by trying; too large a number is refused as well.
  for (uint32_t n = 64;; n *= 2) {
    memory.assign(sizeof(ListHead) + n * sizeof(kvm_cpuid_entry2), 0);
    c = reinterpret_cast<ListHead*>(memory.data());
    c->count = n;
    int e = Ioctl(fd_, kGetSupportedCpuid, c);
    if (e == 0) break;
    if (e != E2BIG || n > 4096) return out;
  }
  const kvm_cpuid_entry2* entries = reinterpret_cast<const kvm_cpuid_entry2*>(c + 1);
  for (uint32_t i = 0; i < c->count; i++) {
    const kvm_cpuid_entry2& e = entries[i];
    out.insert(out.end(), {e.function, e.index, e.flags, e.eax, e.ebx, e.ecx, e.edx});
  }
  return out;
}

Vm::~Vm() {
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<Vm> Vm::Create(const char* path, Failure* failure) {
  std::unique_ptr<Vm> vm(new Vm);
  vm->system_ = System::Open(path, failure);
  if (!vm->system_) return nullptr;
  if (!PrepareSignal()) {
    *failure = {"ERR_KVM", std::string("cannot install a signal handler: ") + strerror(errno)};
    return nullptr;
  }
  do {
    vm->fd_ = ioctl(vm->system_->fd(), KVM_CREATE_VM, 0);
  } while (vm->fd_ < 0 && errno == EINTR);
  if (vm->fd_ < 0) {
    *failure = {errno == EMFILE || errno == ENFILE || errno == ENOMEM ? "ERR_NO_RESOURCE" : "ERR_KVM", std::string("KVM refuses to create a virtual machine: ") + strerror(errno)};
    return nullptr;
  }
  return vm;
}

int Vm::SetSlot(uint32_t slot, uint64_t gpa, uint64_t bytes, uint8_t* host, uint32_t flags) {
  kvm_userspace_memory_region r = {};
  r.slot = slot;
  r.flags = flags;
  r.guest_phys_addr = gpa;
  r.memory_size = bytes;
  r.userspace_addr = reinterpret_cast<uint64_t>(host);
  return Ioctl(fd_, KVM_SET_USER_MEMORY_REGION, &r);
}

int Vm::Coalesce(uint64_t gpa, uint32_t bytes, bool on) {
  kvm_coalesced_mmio_zone z = {};
  z.addr = gpa;
  z.size = bytes;
  return Ioctl(fd_, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &z);
}

int Vm::DirtyLog(uint32_t slot, uint8_t* bitmap) {
  kvm_dirty_log log = {};
  log.slot = slot;
  log.dirty_bitmap = bitmap;
  return Ioctl(fd_, KVM_GET_DIRTY_LOG, &log);
}

int Vm::EnableCapability(uint32_t cap, uint64_t argument) {
  kvm_enable_cap c = {};
  c.cap = cap;
  c.args[0] = argument;
  return Ioctl(fd_, KVM_ENABLE_CAP, &c);
}

int Vm::FilterMsrs(const std::vector<uint32_t>& ranges) {
  // Two ranges for each triple at most: reads and writes have bitmaps of their own.
  kvm_msr_filter filter = {};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  std::vector<std::vector<uint8_t>> bitmaps;
  size_t n = 0;
  for (size_t i = 0; i + 2 < ranges.size(); i += 3) {
    if (n == KVM_MSR_FILTER_MAX_RANGES) return E2BIG;
    uint32_t count = ranges[i + 1];
    bitmaps.emplace_back((count + 7) / 8, 0xff);
    kvm_msr_filter_range& r = filter.ranges[n++];
    r.base = ranges[i];
    r.nmsrs = count;
    r.flags = (ranges[i + 2] & 1 ? KVM_MSR_FILTER_READ : 0) | (ranges[i + 2] & 2 ? KVM_MSR_FILTER_WRITE : 0);
    r.bitmap = bitmaps.back().data();
  }
  return Ioctl(fd_, KVM_X86_SET_MSR_FILTER, &filter);
}

int Vm::CreateVcpu(uint32_t id, int* fd) {
  *fd = ioctl(fd_, KVM_CREATE_VCPU, id);
  return *fd < 0 ? errno : 0;
}

int Vm::CreateIrqchip() { return Ioctl(fd_, KVM_CREATE_IRQCHIP, nullptr); }

int Vm::SplitIrqchip(uint32_t pins) { return EnableCapability(KVM_CAP_SPLIT_IRQCHIP, pins); }

int Vm::CreatePit() {
  // Port 61h in the kernel as well: it has the gate and the output of channel 2.
  kvm_pit_config config = {};
  config.flags = KVM_PIT_SPEAKER_DUMMY;
  int e = Ioctl(fd_, KVM_CREATE_PIT2, &config);
  if (e) return e;
  // Ticks that a guest has missed are missed, as with the 8254 of lib/devices.
  kvm_reinject_control control = {};
  return Ioctl(fd_, KVM_REINJECT_CONTROL, &control);
}

size_t ChipBytes(Chip chip) {
  switch (chip) {
    case Chip::kPicMaster:
    case Chip::kPicSlave:
      return sizeof(kvm_pic_state);
    case Chip::kIoApic:
      return sizeof(kvm_ioapic_state);
    case Chip::kPit:
      return sizeof(kvm_pit_state2);
  }
  return 0;
}

int Vm::ChipState(Chip chip, uint8_t* data, bool set) {
  if (chip == Chip::kPit) return Ioctl(fd_, set ? KVM_SET_PIT2 : KVM_GET_PIT2, data);
  kvm_irqchip c = {};
  c.chip_id = static_cast<uint32_t>(chip);
  if (set) memcpy(&c.chip, data, ChipBytes(chip));
  int e = Ioctl(fd_, set ? KVM_SET_IRQCHIP : KVM_GET_IRQCHIP, &c);
  if (!e && !set) memcpy(data, &c.chip, ChipBytes(chip));
  return e;
}

int Vm::IrqLine(uint32_t gsi, bool level) {
  kvm_irq_level l = {};
  l.irq = gsi;
  l.level = level ? 1 : 0;
  return Ioctl(fd_, KVM_IRQ_LINE, &l);
}

int Vm::SetRoutes(const Route* routes, size_t count) {
  std::vector<uint8_t> memory(sizeof(ListHead) + count * sizeof(kvm_irq_routing_entry));
  reinterpret_cast<ListHead*>(memory.data())->count = static_cast<uint32_t>(count);
  kvm_irq_routing_entry* table = reinterpret_cast<kvm_irq_routing_entry*>(memory.data() + sizeof(ListHead));
  for (size_t i = 0; i < count; i++) {
    const Route& r = routes[i];
    table[i].gsi = r.gsi;
    table[i].type = r.kind == 0 ? KVM_IRQ_ROUTING_IRQCHIP : KVM_IRQ_ROUTING_MSI;
    if (r.kind == 0) {
      table[i].u.irqchip.irqchip = r.a;
      table[i].u.irqchip.pin = r.b;
    } else {
      table[i].u.msi.address_lo = r.a;
      table[i].u.msi.address_hi = r.b;
      table[i].u.msi.data = r.c;
    }
  }
  return Ioctl(fd_, kSetGsiRouting, memory.data());
}

int Vm::SignalMsi(uint64_t address, uint32_t data, bool* taken) {
  kvm_msi m = {};
  m.address_lo = static_cast<uint32_t>(address);
  m.address_hi = static_cast<uint32_t>(address >> 32);
  m.data = data;
  int r = ioctl(fd_, KVM_SIGNAL_MSI, &m);
  *taken = r > 0;
  // The kernel's -1 for "nobody" comes out as this.
  return r >= 0 || errno == EPERM ? 0 : errno;
}

int Vm::Irqfd(int event, uint32_t gsi, int resample, bool on) {
  kvm_irqfd f = {};
  f.fd = static_cast<uint32_t>(event);
  f.gsi = gsi;
  f.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN;
  if (resample >= 0) {
    f.flags |= KVM_IRQFD_FLAG_RESAMPLE;
    f.resamplefd = static_cast<uint32_t>(resample);
  }
  return Ioctl(fd_, KVM_IRQFD, &f);
}

int Vm::Ioeventfd(int event, uint64_t address, uint32_t bytes, const uint64_t* match, bool port, bool on) {
  kvm_ioeventfd e = {};
  e.fd = event;
  e.addr = address;
  e.len = bytes;
  e.flags = (port ? KVM_IOEVENTFD_FLAG_PIO : 0) | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN);
  if (match) {
    e.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    e.datamatch = *match;
  }
  return Ioctl(fd_, KVM_IOEVENTFD, &e);
}

int Vm::EnableDirtyRing(uint32_t capability, uint32_t bytes) {
  int e = EnableCapability(capability, bytes);
  if (!e) ring_bytes_ = bytes;
  return e;
}

int Vm::ResetDirtyRings() { return ioctl(fd_, KVM_RESET_DIRTY_RINGS, 0) < 0 ? errno : 0; }

Vcpu::~Vcpu() {
  if (ring_) munmap(ring_, ring_bytes_);
  close(fd_);
}

int Vcpu::MapRing(uint32_t bytes) {
  void* ring = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(KVM_DIRTY_LOG_PAGE_OFFSET) * getpagesize());
  if (ring == MAP_FAILED) return errno;
  madvise(ring, bytes, MADV_DONTFORK);
  ring_ = ring;
  ring_bytes_ = bytes;
  return 0;
}

uint32_t Vcpu::Harvest(uint32_t* out, uint32_t most) {
  if (!ring_) return 0;
  kvm_dirty_gfn* ring = static_cast<kvm_dirty_gfn*>(ring_);
  uint32_t entries = ring_bytes_ / sizeof(kvm_dirty_gfn);
  uint32_t n = 0;
  while (n < most) {
    kvm_dirty_gfn& g = ring[ring_next_ % entries];
    if (!(__atomic_load_n(&g.flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY)) break;
    out[n * 2] = g.slot;
    out[n * 2 + 1] = static_cast<uint32_t>(g.offset);
    __atomic_store_n(&g.flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    ring_next_++;
    n++;
  }
  return n;
}

int Vcpu::SetCpuid(const uint32_t* entries, size_t count) {
  std::vector<uint8_t> memory(sizeof(ListHead) + count * sizeof(kvm_cpuid_entry2));
  ListHead* c = reinterpret_cast<ListHead*>(memory.data());
  c->count = static_cast<uint32_t>(count);
  kvm_cpuid_entry2* table = reinterpret_cast<kvm_cpuid_entry2*>(c + 1);
  for (size_t i = 0; i < count; i++) {
    const uint32_t* e = entries + i * 7;
    kvm_cpuid_entry2& out = table[i];
    out.function = e[0];
    out.index = e[1];
    out.flags = e[2];
    out.eax = e[3];
    out.ebx = e[4];
    out.ecx = e[5];
    out.edx = e[6];
  }
  return Ioctl(fd_, kSetCpuid2, c);
}

int Vcpu::TscKhz() {
  int khz = ioctl(fd_, KVM_GET_TSC_KHZ, 0);
  return khz < 0 ? 0 : khz;
}

int Vcpu::Part(uint32_t part, bool set) {
  switch (part) {
    case kPartXcrs:
      return Ioctl(fd_, set ? KVM_SET_XCRS : KVM_GET_XCRS, block_ + kXcrs);
    case kPartXsave:
      return Ioctl(fd_, set ? kSetXsave : kGetXsave, block_ + kXsave);
    case kPartSregs:
      return Ioctl(fd_, set ? KVM_SET_SREGS2 : KVM_GET_SREGS2, block_ + kSregs);
    case kPartRegs:
      return Ioctl(fd_, set ? KVM_SET_REGS : KVM_GET_REGS, block_ + kRegs);
    case kPartMsrs: {
      ListHead* m = reinterpret_cast<ListHead*>(block_ + kMsrs);
      if (m->count > kMaxMsrs) return EINVAL;
      int done = ioctl(fd_, set ? kSetMsrs : kGetMsrs, m);
      if (done < 0) return errno;
      // The kernel stops at the first MSR it does not know.
      return static_cast<uint32_t>(done) == m->count ? 0 : ENOENT;
    }
    case kPartEvents:
      return Ioctl(fd_, set ? KVM_SET_VCPU_EVENTS : KVM_GET_VCPU_EVENTS, block_ + kEvents);
    case kPartDebugRegs:
      return Ioctl(fd_, set ? KVM_SET_DEBUGREGS : KVM_GET_DEBUGREGS, block_ + kDebugRegs);
    case kPartTscOffset: {
      kvm_device_attr a = {};
      a.group = KVM_VCPU_TSC_CTRL;
      a.attr = KVM_VCPU_TSC_OFFSET;
      a.addr = reinterpret_cast<uint64_t>(block_ + kTscOffset);
      return Ioctl(fd_, set ? KVM_SET_DEVICE_ATTR : KVM_GET_DEVICE_ATTR, &a);
    }
    case kPartGuestDebug:
      return set ? Ioctl(fd_, KVM_SET_GUEST_DEBUG, block_ + kGuestDebug) : 0;
    case kPartFlush:
      return set ? Flush() : EINVAL;
    case kPartLapic:
      return set ? Ioctl(fd_, KVM_SET_LAPIC, block_ + kLapic) : GetLapic();
    case kPartDeadline: {
      int done = ioctl(fd_, set ? kSetMsrs : kGetMsrs, block_ + kDeadline);
      return done < 0 ? errno : done == 1 ? 0 : ENOENT;
    }
    case kPartMpState:
      return Ioctl(fd_, set ? KVM_SET_MP_STATE : KVM_GET_MP_STATE, block_ + kMpState);
    default:
      return EINVAL;
  }
}

// Somebody else has executed the guest and may have changed its page tables: the vCPU's own translations must go. KVM drops them
// when a control register changes, so one does, for a moment.
int Vcpu::Flush() {
  constexpr uint64_t kCr0Wp = 1u << 16;
  kvm_sregs2* s = reinterpret_cast<kvm_sregs2*>(block_ + kSregs);
  s->cr0 ^= kCr0Wp;
  int e = Ioctl(fd_, KVM_SET_SREGS2, s);
  s->cr0 ^= kCr0Wp;
  return e ? e : Ioctl(fd_, KVM_SET_SREGS2, s);
}

// A timer interrupt that is due becomes a request in the APIC when the vCPU next runs, and what KVM_GET_LAPIC gives does not show it
// before. So the vCPU runs, as far as that takes: a signal that is pending keeps it from entering the guest.
int Vcpu::Settle() {
  sigset_t kick, old;
  sigemptyset(&kick);
  sigaddset(&kick, KickSignal());
  pthread_sigmask(SIG_BLOCK, &kick, &old);
  pthread_kill(pthread_self(), KickSignal());
  SignalMask open = {8, {}};
  int e = Ioctl(fd_, kSetSignalMask, &open);
  kvm_run* run = reinterpret_cast<kvm_run*>(run_);
  run->immediate_exit = 0;
  if (!e && ioctl(fd_, KVM_RUN, 0) < 0 && errno != EINTR && errno != EAGAIN) e = errno;
  Ioctl(fd_, kSetSignalMask, nullptr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return e;
}

int Vcpu::GetLapic() {
  uint8_t* s = block_ + kLapic;
  auto reg = [s](size_t at) { return *reinterpret_cast<uint32_t*>(s + at); };
  if (int e = Ioctl(fd_, KVM_GET_LAPIC, s)) return e;
  // A deadline that has passed and not been served still reads as itself. Counts that ran out do not: settled, and again if one did
  // so meanwhile.
  for (int i = 0; i < 8; i++) {
    if (reg(kLvtTimer) & kTimerDeadlineMode || reg(kTimerInitial) == 0) return 0;
    uint32_t before = reg(kTimerCurrent);
    if (int e = Settle()) return e;
    if (int e = Ioctl(fd_, KVM_GET_LAPIC, s)) return e;
    if (reg(kTimerCurrent) <= before && (before == 0 || reg(kTimerCurrent) != 0)) return 0;
  }
  return 0;
}

// KVM_INTERRUPT would queue the vector where nobody can read it back when the vCPU does not get as far as taking it.
int Vcpu::Inject(uint32_t vector) {
  kvm_vcpu_events events = {};
  if (int e = Ioctl(fd_, KVM_GET_VCPU_EVENTS, &events)) return e;
  if (events.interrupt.injected) return EBUSY;
  events.flags = 0;
  events.interrupt.injected = 1;
  events.interrupt.nr = static_cast<uint8_t>(vector);
  events.interrupt.soft = 0;
  if (int e = Ioctl(fd_, KVM_SET_VCPU_EVENTS, &events)) return e;
  kvm_mp_state mp = {};
  if (int e = Ioctl(fd_, KVM_GET_MP_STATE, &mp)) return e;
  if (mp.mp_state != KVM_MP_STATE_HALTED) return 0;
  mp.mp_state = KVM_MP_STATE_RUNNABLE;
  return Ioctl(fd_, KVM_SET_MP_STATE, &mp);
}

int Vcpu::Set(uint32_t mask, uint32_t* failed) {
  for (uint32_t part = 1; part <= mask && part != 0; part <<= 1) {
    if (!(mask & part)) continue;
    if (int e = Part(part, true)) {
      *failed = 1 | part << 8;
      return e;
    }
  }
  return 0;
}

int Vcpu::Get(uint32_t mask, uint32_t* failed) {
  // First what moves other parts: INIT and SIPI into the registers, then the timer's interrupt into the APIC, which may end a HLT.
  uint32_t first = mask & (kPartLapic | kPartMpState);
  mask &= ~first;
  for (uint32_t part : {kPartMpState, kPartLapic, kPartMpState}) {
    if (!(first & part)) continue;
    if (int e = Part(part, false)) {
      *failed = 4 | part << 8;
      return e;
    }
  }
  for (uint32_t part = 1; part <= mask && part != 0; part <<= 1) {
    if (!(mask & part)) continue;
    if (int e = Part(part, false)) {
      *failed = 4 | part << 8;
      return e;
    }
  }
  return 0;
}

int Vcpu::Run() {
  int e = ioctl(fd_, KVM_RUN, 0) < 0 ? errno : 0;
  // EINTR is how a kick is told; the exit reason is out of date then.
  if (e == EINTR || e == EAGAIN) {
    reinterpret_cast<kvm_run*>(run_)->exit_reason = KVM_EXIT_INTR;
    return 0;
  }
  return e;
}

void Vcpu::Execute(Mailbox* box) {
  static thread_local bool ready = false;
  if (!ready) {
    // A vCPU's thread starts with all signals blocked.
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, KickSignal());
    pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
    ready = true;
  }
  if ((box->error = static_cast<uint32_t>(Set(box->set_mask, &box->failed)))) return;
  if (box->nmi) {
    box->nmi = 0;
    if ((box->error = static_cast<uint32_t>(Ioctl(fd_, KVM_NMI, nullptr)))) {
      box->failed = 2;
      return;
    }
  }
  if (box->vector >= 0) {
    kvm_interrupt interrupt = {static_cast<uint32_t>(box->vector)};
    box->vector = -1;
    if ((box->error = static_cast<uint32_t>(kernel_apic_ ? Inject(interrupt.irq) : Ioctl(fd_, KVM_INTERRUPT, &interrupt)))) {
      box->failed = 2;
      return;
    }
  }
  if (box->command & kCommandRun) {
    if ((box->error = static_cast<uint32_t>(Run()))) {
      box->failed = 3;
      return;
    }
  }
  box->error = static_cast<uint32_t>(Get(box->get_mask, &box->failed));
}

void Vcpu::Interrupt(bool running, uintptr_t thread) {
  // immediate_exit first: whether the signal comes before, in or after KVM_RUN, the thread leaves it.
  __atomic_store_n(&reinterpret_cast<kvm_run*>(run_)->immediate_exit, 1, __ATOMIC_SEQ_CST);
  if (running) pthread_kill(static_cast<pthread_t>(thread), KickSignal());
}

}  // namespace kvm
}  // namespace vmx

#endif
