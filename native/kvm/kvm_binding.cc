// KVM for JavaScript: lib/accel/kvm/native.ts describes the objects.
#include "kvm/kvm_binding.h"

#include "binding.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <algorithm>
#include <cstring>

#include "kvm/doorbells.h"
#include "kvm/kvm.h"
#include "memory/mapping.h"

namespace vmx {
namespace kvm {

namespace {

Napi::Value ThrowErrno(Napi::Env env, const char* what, int error) {
  const char* code = error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN ? "ERR_NO_RESOURCE" : "ERR_KVM";
  return Throw(env, code, std::string(what) + ": " + strerror(error));
}

std::string PathOf(const Napi::CallbackInfo& info) { return info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "/dev/kvm"; }

struct VcpuShared {
  std::unique_ptr<VcpuThread> thread;
  std::shared_ptr<Region> run;
  std::shared_ptr<Region> block;
};

class VcpuObject : public Napi::ObjectWrap<VcpuObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "KvmVcpu", {InstanceMethod("post", &VcpuObject::Post), InstanceMethod("runHere", &VcpuObject::RunHere), InstanceMethod("kick", &VcpuObject::Kick), InstanceMethod("waitIdle", &VcpuObject::WaitIdle), InstanceMethod("harvest", &VcpuObject::Harvest), InstanceMethod("dispose", &VcpuObject::Dispose)});
  }
  explicit VcpuObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<VcpuObject>(info) {}
  ~VcpuObject() override { Release(); }

  void Adopt(Napi::Env env, VcpuShared shared, Vcpu* vcpu) {
    shared_ = std::move(shared);
    vcpu_ = vcpu;
    shared_.run->AddUser();
    shared_.block->AddUser();
    env_ = env;
    napi_add_env_cleanup_hook(env, OnEnvironmentEnd, this);
  }

 private:
  static void OnEnvironmentEnd(void* self) { static_cast<VcpuObject*>(self)->Stop(); }

  void Stop() {
    if (!shared_.thread) return;
    shared_.thread.reset();
    shared_.run->RemoveUser();
    shared_.block->RemoveUser();
    shared_.run.reset();
    shared_.block.reset();
  }
  void Release() {
    if (!shared_.thread) return;
    napi_remove_env_cleanup_hook(env_, OnEnvironmentEnd, this);
    Stop();
  }

  Napi::Value Post(const Napi::CallbackInfo& info) {
    if (shared_.thread) shared_.thread->Post();
    return info.Env().Undefined();
  }
  Napi::Value RunHere(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), shared_.thread && shared_.thread->RunHere()); }
  Napi::Value Kick(const Napi::CallbackInfo& info) {
    if (shared_.thread) shared_.thread->Interrupt();
    return info.Env().Undefined();
  }
  Napi::Value WaitIdle(const Napi::CallbackInfo& info) {
    double ns = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
    bool idle = !shared_.thread || shared_.thread->WaitIdle(ns > 0 && ns < 0x1p62 ? static_cast<uint64_t>(ns) : 0);
    return Napi::Boolean::New(info.Env(), idle);
  }
  /** harvest(pairs): how many entries of the ring of written pages have been taken. */
  Napi::Value Harvest(const Napi::CallbackInfo& info) {
    Napi::Uint32Array out = info[0].As<Napi::Uint32Array>();
    uint32_t n = shared_.thread ? vcpu_->Harvest(out.Data(), static_cast<uint32_t>(std::min<size_t>(out.ElementLength() / 2, UINT32_MAX))) : 0;
    return Napi::Number::New(info.Env(), n);
  }
  Napi::Value Dispose(const Napi::CallbackInfo& info) {
    Release();
    return info.Env().Undefined();
  }

  VcpuShared shared_;
  /** Belongs to the thread. */
  Vcpu* vcpu_ = nullptr;
  napi_env env_ = nullptr;
};

class VmObject : public Napi::ObjectWrap<VmObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "KvmVm",
                       {InstanceMethod("capability", &VmObject::Capability), InstanceMethod("enable", &VmObject::Enable), InstanceMethod("filterMsrs", &VmObject::FilterMsrs), InstanceMethod("setSlot", &VmObject::SetSlot),
                        InstanceMethod("dirtyLog", &VmObject::DirtyLog), InstanceMethod("coalesce", &VmObject::Coalesce), InstanceMethod("createVcpu", &VmObject::CreateVcpu), InstanceMethod("dispose", &VmObject::Dispose),
                        InstanceMethod("createIrqchip", &VmObject::CreateIrqchip), InstanceMethod("chip", &VmObject::ChipState), InstanceMethod("irqLine", &VmObject::IrqLine), InstanceMethod("setRoutes", &VmObject::SetRoutes), InstanceMethod("signalMsi", &VmObject::SignalMsi),
                        InstanceMethod("dirtyRing", &VmObject::DirtyRing), InstanceMethod("resetDirtyRings", &VmObject::ResetDirtyRings),
                        InstanceMethod("bells", &VmObject::Bells), InstanceMethod("ring", &VmObject::Ring), InstanceMethod("ioeventfd", &VmObject::Ioeventfd), InstanceMethod("irqfd", &VmObject::Irqfd), InstanceMethod("signal", &VmObject::Signal)});
  }
  explicit VmObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<VmObject>(info) {}
  ~VmObject() override { Release(); }
  void Adopt(std::shared_ptr<Vm> vm) { vm_ = std::move(vm); }

 private:
  void Release() {
    bells_.reset();
    irqfds_.clear();
    if (rung_) rung_->RemoveUser();
    rung_.reset();
    vm_.reset();
    if (ram_) ram_->RemoveUser();
    ram_.reset();
  }
  bool Gone(Napi::Env env) {
    if (!vm_) Throw(env, "ERR_STATE", "the virtual machine has been disposed of");
    return !vm_;
  }

  Napi::Value Capability(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), vm_->system().Capability(info[0].ToNumber().Int32Value()));
  }

  Napi::Value Enable(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    return Done(info.Env(), "KVM_ENABLE_CAP", vm_->EnableCapability(info[0].ToNumber().Uint32Value(), info[1].ToNumber().Uint32Value()));
  }

  Napi::Value FilterMsrs(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    Napi::Uint32Array a = info[0].As<Napi::Uint32Array>();
    int e = vm_->FilterMsrs(std::vector<uint32_t>(a.Data(), a.Data() + a.ElementLength()));
    return e ? ThrowErrno(info.Env(), "KVM_X86_SET_MSR_FILTER", e) : info.Env().Undefined();
  }

  /** setSlot(slot, gpa, bytes, memory, offset, flags). */
  Napi::Value SetSlot(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    std::shared_ptr<Region> region = FindRegion(env, info[3]);
    if (!region) return env.Undefined();
    double gpa = info[1].ToNumber().DoubleValue(), bytes = info[2].ToNumber().DoubleValue(), offset = info[4].ToNumber().DoubleValue();
    // Written so that NaN fails.
    if (!(gpa >= 0 && gpa < 0x1p52 && bytes >= 0 && offset >= 0 && offset + bytes <= static_cast<double>(region->bytes()))) {
      return Throw(env, "ERR_INVALID_ARG", "setSlot: outside of the memory");
    }
    if (ram_ && ram_ != region) return Throw(env, "ERR_INVALID_ARG", "setSlot: all slots must be of one memory");
    if (!ram_) {
      ram_ = region;
      ram_->AddUser();
    }
    int e = vm_->SetSlot(info[0].ToNumber().Uint32Value(), static_cast<uint64_t>(gpa), static_cast<uint64_t>(bytes), region->base() + static_cast<size_t>(offset), info[5].ToNumber().Uint32Value());
    if (e == EEXIST) return Throw(env, "ERR_KVM_SLOT", "setSlot: the slot overlaps another one");
    return e ? ThrowErrno(env, "KVM_SET_USER_MEMORY_REGION", e) : env.Undefined();
  }

  /** coalesce(gpa, bytes, on). */
  Napi::Value Coalesce(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    double gpa = info[0].ToNumber().DoubleValue();
    if (!(gpa >= 0 && gpa < 0x1p52)) return Throw(env, "ERR_INVALID_ARG", "coalesce: no physical address");
    int e = vm_->Coalesce(static_cast<uint64_t>(gpa), info[1].ToNumber().Uint32Value(), info[2].ToBoolean().Value());
    return e ? ThrowErrno(env, "KVM_REGISTER_COALESCED_MMIO", e) : env.Undefined();
  }

  /** dirtyLog(slot, bitmap, pages). */
  Napi::Value DirtyLog(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    Napi::Uint8Array bitmap = info[1].As<Napi::Uint8Array>();
    double pages = info[2].ToNumber().DoubleValue();
    // The kernel writes whole 64-bit words.
    if (!(pages >= 0 && pages < 0x1p40) || bitmap.ByteLength() < (static_cast<size_t>(pages) + 63) / 64 * 8) return Throw(env, "ERR_INVALID_ARG", "dirtyLog: the bitmap is too small");
    int e = vm_->DirtyLog(info[0].ToNumber().Uint32Value(), bitmap.Data());
    return e ? ThrowErrno(env, "KVM_GET_DIRTY_LOG", e) : env.Undefined();
  }

  static Napi::Value Done(Napi::Env env, const char* what, int error) { return error ? ThrowErrno(env, what, error) : env.Undefined(); }

  /** createIrqchip(pins, pit): 0 pins: all of it is the kernel's. */
  Napi::Value CreateIrqchip(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    uint32_t pins = info[0].ToNumber().Uint32Value();
    int e = pins ? vm_->SplitIrqchip(pins) : vm_->CreateIrqchip();
    if (e) return ThrowErrno(env, pins ? "KVM_CAP_SPLIT_IRQCHIP" : "KVM_CREATE_IRQCHIP", e);
    kernel_apics_ = true;
    return info[1].ToBoolean().Value() ? Done(env, "KVM_CREATE_PIT2", vm_->CreatePit()) : env.Undefined();
  }

  /** chip(which, data, set). */
  Napi::Value ChipState(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    uint32_t which = info[0].ToNumber().Uint32Value();
    Napi::Uint8Array data = info[1].As<Napi::Uint8Array>();
    if (which >= kChips || data.ByteLength() < ChipBytes(static_cast<Chip>(which))) return Throw(env, "ERR_INVALID_ARG", "chip: no such chip, or too little room for its state");
    return Done(env, "KVM_SET_IRQCHIP", vm_->ChipState(static_cast<Chip>(which), data.Data(), info[2].ToBoolean().Value()));
  }

  /** irqLine(gsi, level). */
  Napi::Value IrqLine(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    return Done(info.Env(), "KVM_IRQ_LINE", vm_->IrqLine(info[0].ToNumber().Uint32Value(), info[1].ToBoolean().Value()));
  }

  /** setRoutes(words). */
  Napi::Value SetRoutes(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    Napi::Uint32Array words = info[0].As<Napi::Uint32Array>();
    static_assert(sizeof(Route) == 20, "five words");
    return Done(info.Env(), "KVM_SET_GSI_ROUTING", vm_->SetRoutes(reinterpret_cast<const Route*>(words.Data()), words.ElementLength() / 5));
  }

  /** signalMsi(addressLo, addressHi, data): boolean. */
  Napi::Value SignalMsi(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    uint64_t address = info[0].ToNumber().Uint32Value() | static_cast<uint64_t>(info[1].ToNumber().Uint32Value()) << 32;
    bool taken = false;
    int e = vm_->SignalMsi(address, info[2].ToNumber().Uint32Value(), &taken);
    return e ? ThrowErrno(info.Env(), "KVM_SIGNAL_MSI", e) : Napi::Boolean::New(info.Env(), taken);
  }

  /** dirtyRing(capability, bytes). */
  Napi::Value DirtyRing(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    return Done(info.Env(), "KVM_CAP_DIRTY_LOG_RING", vm_->EnableDirtyRing(info[0].ToNumber().Uint32Value(), info[1].ToNumber().Uint32Value()));
  }

  Napi::Value ResetDirtyRings(const Napi::CallbackInfo& info) {
    if (Gone(info.Env())) return info.Env().Undefined();
    return Done(info.Env(), "KVM_RESET_DIRTY_RINGS", vm_->ResetDirtyRings());
  }

  /** bells(memory, count, contextId). */
  Napi::Value Bells(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    std::shared_ptr<Region> region = FindRegion(env, info[0]);
    if (!region) return env.Undefined();
    uint32_t count = info[1].ToNumber().Uint32Value();
    if (bells_ || count == 0 || (static_cast<size_t>(count) + 31) / 32 * 4 > region->bytes()) return Throw(env, "ERR_INVALID_ARG", "bells: there are some already, or too little memory");
    bells_ = Doorbells::Start(reinterpret_cast<std::atomic<uint32_t>*>(region->base()), count, info[2].ToNumber().DoubleValue());
    if (!bells_) return Throw(env, "ERR_NO_RESOURCE", "cannot start the thread that waits for doorbells");
    count_ = count;
    rung_ = region;
    rung_->AddUser();
    return env.Undefined();
  }

  /** Eventfd of bell n; -1 with an exception pending. */
  int Bell(Napi::Env env, const Napi::Value& n) {
    double bell = n.ToNumber().DoubleValue();
    if (!bells_ || !(bell >= 0 && bell < count_)) {
      Throw(env, "ERR_INVALID_ARG", "no such doorbell");
      return -1;
    }
    int fd = bells_->Event(static_cast<uint32_t>(bell));
    if (fd < 0) ThrowErrno(env, "eventfd", errno);
    return fd;
  }

  /** ring(bell): as the guest would. */
  Napi::Value Ring(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    int fd = Bell(env, info[0]);
    if (fd < 0) return env.Undefined();
    return Done(env, "eventfd", eventfd_write(fd, 1) < 0 ? errno : 0);
  }

  /** ioeventfd(bell, address, bytes, match, port, on); match: a number below 2^32, or -1. */
  Napi::Value Ioeventfd(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    double address = info[1].ToNumber().DoubleValue(), match = info[3].ToNumber().DoubleValue();
    if (!(address >= 0 && address < 0x1p52)) return Throw(env, "ERR_INVALID_ARG", "ioeventfd: no physical address");
    int fd = Bell(env, info[0]);
    if (fd < 0) return env.Undefined();
    uint64_t value = match >= 0 && match < 0x1p32 ? static_cast<uint64_t>(match) : 0;
    return Done(env, "KVM_IOEVENTFD", vm_->Ioeventfd(fd, static_cast<uint64_t>(address), info[2].ToNumber().Uint32Value(), match >= 0 ? &value : nullptr, info[4].ToBoolean().Value(), info[5].ToBoolean().Value()));
  }

  /** irqfd(n, gsi, resampleBell, on); n counts from 0; resampleBell -1: none. Its eventfd is no bell: the kernel alone reads it. */
  Napi::Value Irqfd(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    int resample = -1;
    if (info[2].ToNumber().Int32Value() >= 0 && (resample = Bell(env, info[2])) < 0) return env.Undefined();
    uint32_t n = info[0].ToNumber().Uint32Value();
    if (n >= kMaxIrqfds) return Throw(env, "ERR_INVALID_ARG", "irqfd: no such number");
    if (n >= irqfds_.size()) irqfds_.resize(n + 1);
    if (!irqfds_[n].Open()) return ThrowErrno(env, "eventfd", errno);
    return Done(env, "KVM_IRQFD", vm_->Irqfd(irqfds_[n].fd, info[1].ToNumber().Uint32Value(), resample, info[3].ToBoolean().Value()));
  }

  /** signal(n): the device behind irqfd n raises its interrupt. */
  Napi::Value Signal(const Napi::CallbackInfo& info) {
    uint32_t n = info[0].ToNumber().Uint32Value();
    if (n >= irqfds_.size() || irqfds_[n].fd < 0) return Throw(info.Env(), "ERR_INVALID_ARG", "signal: no such irqfd");
    return Done(info.Env(), "eventfd", eventfd_write(irqfds_[n].fd, 1) < 0 ? errno : 0);
  }

  /** createVcpu(index, contextId, cpuid): { vcpu, run, block, tscKHz }. */
  Napi::Value CreateVcpu(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (Gone(env)) return env.Undefined();
    uint32_t index = info[0].ToNumber().Uint32Value();
    double context = info[1].ToNumber().DoubleValue();
    Napi::Uint32Array cpuid = info[2].As<Napi::Uint32Array>();
    int fd;
    int e = vm_->CreateVcpu(index, &fd);
    if (e) return ThrowErrno(env, "KVM_CREATE_VCPU", e);
    size_t bytes = (vm_->system().run_bytes() + PageSize() - 1) / PageSize() * PageSize();
    void* run = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t* block = nullptr;
    if (run == MAP_FAILED || MapState(kBlockBytes, &block) != MapStatus::Ok) {
      int saved = errno;
      if (run != MAP_FAILED) munmap(run, bytes);
      close(fd);
      return ThrowErrno(env, "cannot map a vCPU's shared memory", saved);
    }
    madvise(run, bytes, MADV_DONTFORK);
    auto vcpu = std::make_unique<Vcpu>(fd, static_cast<uint8_t*>(run), block);
    Napi::Value run_memory = WrapMemory(env, static_cast<uint8_t*>(run), nullptr, bytes);
    Napi::Value block_memory = env.IsExceptionPending() ? env.Undefined() : WrapMemory(env, block, nullptr, kBlockBytes);
    if (env.IsExceptionPending()) return env.Undefined();
    std::shared_ptr<Region> run_region = FindRegion(env, run_memory), block_region = FindRegion(env, block_memory);
    if (!run_region || !block_region) return env.Undefined();
    e = vcpu->SetCpuid(cpuid.Data(), cpuid.ElementLength() / 7);
    if (e) return ThrowErrno(env, "KVM_SET_CPUID2", e);
    vcpu->KernelApic(kernel_apics_);
    if (vm_->ring_bytes() && (e = vcpu->MapRing(vm_->ring_bytes()))) return ThrowErrno(env, "cannot map the ring of written pages", e);
    int khz = vcpu->TscKhz();
    Vcpu* raw = vcpu.get();
    VcpuShared shared;
    shared.thread = VcpuThread::Start(std::move(vcpu), reinterpret_cast<Mailbox*>(block), context, static_cast<int>(index));
    if (!shared.thread) return Throw(env, "ERR_NO_RESOURCE", "cannot start a vCPU's thread");
    shared.run = run_region;
    shared.block = block_region;
    Napi::Object object = env.GetInstanceData<Environment>()->kvm_vcpu_class.New({});
    VcpuObject::Unwrap(object)->Adopt(env, std::move(shared), raw);
    Napi::Object result = Napi::Object::New(env);
    result.Set("vcpu", object);
    result.Set("run", run_memory);
    result.Set("block", block_memory);
    result.Set("tscKHz", Napi::Number::New(env, khz));
    return result;
  }

  Napi::Value Dispose(const Napi::CallbackInfo& info) {
    Release();
    return info.Env().Undefined();
  }

  struct EventFd {
    int fd = -1;
    EventFd() = default;
    EventFd(EventFd&& o) noexcept : fd(o.fd) { o.fd = -1; }
    ~EventFd() {
      if (fd >= 0) close(fd);
    }
    bool Open() { return fd >= 0 || (fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0; }
  };
  static constexpr uint32_t kMaxIrqfds = 1024;

  std::shared_ptr<Vm> vm_;
  std::shared_ptr<Region> ram_;
  std::unique_ptr<Doorbells> bells_;
  std::shared_ptr<Region> rung_;
  double count_ = 0;
  std::vector<EventFd> irqfds_;
  bool kernel_apics_ = false;
};

/** kvmProbe(path, capabilities): { capabilities, cpuid }. */
Napi::Value Probe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Failure failure;
  std::unique_ptr<System> system = System::Open(PathOf(info).c_str(), &failure);
  if (!system) return Throw(env, failure.code, failure.message);
  Napi::Uint32Array asked = info[1].As<Napi::Uint32Array>();
  Napi::Array capabilities = Napi::Array::New(env, asked.ElementLength());
  for (size_t i = 0; i < asked.ElementLength(); i++) capabilities.Set(static_cast<uint32_t>(i), Napi::Number::New(env, system->Capability(static_cast<int>(asked[i]))));
  std::vector<uint32_t> cpuid = system->SupportedCpuid();
  Napi::Uint32Array leaves = Napi::Uint32Array::New(env, cpuid.size());
  std::copy(cpuid.begin(), cpuid.end(), leaves.Data());
  Napi::Object result = Napi::Object::New(env);
  result.Set("capabilities", capabilities);
  result.Set("cpuid", leaves);
  return result;
}

Napi::Value CreateVm(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Failure failure;
  std::unique_ptr<Vm> vm = Vm::Create(PathOf(info).c_str(), &failure);
  if (!vm) return Throw(env, failure.code, failure.message);
  Napi::Object object = env.GetInstanceData<Environment>()->kvm_vm_class.New({});
  VmObject::Unwrap(object)->Adopt(std::move(vm));
  return object;
}

Napi::Value Tsc(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(__builtin_ia32_rdtsc())); }

}  // namespace

void Define(Napi::Env env, Napi::Object addon) {
  Environment* e = env.GetInstanceData<Environment>();
  e->kvm_vm_class = Napi::Persistent(VmObject::Define(env));
  e->kvm_vcpu_class = Napi::Persistent(VcpuObject::Define(env));
  addon.Set("kvmRevision", Napi::Number::New(env, 2));
  addon.Set("kvmProbe", Napi::Function::New(env, Probe, "kvmProbe"));
  addon.Set("kvmCreate", Napi::Function::New(env, CreateVm, "kvmCreate"));
  addon.Set("hostTsc", Napi::Function::New(env, Tsc, "hostTsc"));
}

}  // namespace kvm
}  // namespace vmx

#else

namespace vmx {
namespace kvm {

namespace {
Napi::Value Refuse(const Napi::CallbackInfo& info) { return Throw(info.Env(), "ERR_UNSUPPORTED", "KVM exists on Linux hosts with x86-64 processors only"); }
}  // namespace

void Define(Napi::Env env, Napi::Object addon) {
  for (const char* name : {"kvmProbe", "kvmCreate", "hostTsc"}) addon.Set(name, Napi::Function::New(env, Refuse, name));
}

}  // namespace kvm
}  // namespace vmx

#endif
