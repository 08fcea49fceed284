#include "exec/guard.h"

#include "exec/layout.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define VMX_GUARD 1
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>
#endif

namespace vmx {

VMX_TLS const RunFrame* current_frame = nullptr;

#if VMX_GUARD

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
constexpr size_t kSignalStackBytes = 64 << 10;

struct sigaction previous[65];

uintptr_t ProgramCounter(const ucontext_t* uc) {
#if defined(__x86_64__)
  return static_cast<uintptr_t>(uc->uc_mcontext.gregs[REG_RIP]);
#else
  return static_cast<uintptr_t>(uc->uc_mcontext.pc);
#endif
}

void Store64(uint8_t* state, size_t slot, uint64_t value) { memcpy(state + slot * 8, &value, 8); }

/** True when the fault belongs to generated code; the thread then continues at the abort path. */
bool Divert(int sig, const siginfo_t* info, ucontext_t* uc) {
  const RunFrame* frame = current_frame;
  // si_code <= 0: somebody sent the signal, the instruction at PC is innocent.
  if (!frame || info->si_code <= 0) return false;
  uintptr_t pc = ProgramCounter(uc);
#if defined(__x86_64__)
  // INT3 is a trap: the saved PC is behind it.
  if (sig == SIGTRAP && pc - 1 - frame->exec_start < frame->exec_bytes &&
      *reinterpret_cast<const uint8_t*>(pc - 1) == 0xcc) {
    pc--;
  }
#endif
  if (pc - frame->exec_start >= frame->exec_bytes) return false;
  uint64_t abort_pc;
  memcpy(&abort_pc, frame->state + kSlotXAbort * 8, 8);
  if (abort_pc == 0) return false;
  uint32_t signal32 = static_cast<uint32_t>(sig);
  Store64(frame->state, kSlotXAddr, pc);
  Store64(frame->state, kSlotXVal, reinterpret_cast<uintptr_t>(info->si_addr));
  memcpy(frame->state + kSlotXAux * 8, &signal32, 4);
#if defined(__x86_64__)
  greg_t* regs = uc->uc_mcontext.gregs;
  regs[REG_RIP] = static_cast<greg_t>(abort_pc);
  regs[REG_RDI] = reinterpret_cast<greg_t>(frame->state);
  // The ABI wants DF clear; TF and AC would fault again at once.
  regs[REG_EFL] &= ~static_cast<greg_t>(0x100 | 0x400 | 0x40000);
#else
  uc->uc_mcontext.pc = abort_pc;
  uc->uc_mcontext.regs[0] = reinterpret_cast<uint64_t>(frame->state);
#endif
  return true;
}

/** Does what would have happened had this library not installed a handler. */
void Chain(int sig, siginfo_t* info, void* context) {
  const struct sigaction& old = previous[sig];
  if (old.sa_flags & SA_SIGINFO) {
    old.sa_sigaction(sig, info, context);  // V8's WebAssembly trap handler is usually here
    return;
  }
  if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) {
    old.sa_handler(sig);
    return;
  }
  bool sent = info->si_code <= 0;
  if (old.sa_handler == SIG_IGN && sent) return;
  struct sigaction dfl;
  memset(&dfl, 0, sizeof dfl);
  dfl.sa_handler = SIG_DFL;
  sigaction(sig, &dfl, nullptr);
  // A faulting instruction runs again and takes the default action with its own registers in the core file. A trap or a
  // sent signal would not come back by itself.
  if (sent || sig == SIGTRAP) raise(sig);
}

void Handler(int sig, siginfo_t* info, void* context) {
  if (!Divert(sig, info, static_cast<ucontext_t*>(context))) Chain(sig, info, context);
}

void Install() {
  // The handlers outlive every environment, so the library must never be unloaded (Node does that when the last worker
  // that loaded it ends).
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&Install), &self) && self.dli_fname) {
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (int sig : kSignals) sigaction(sig, nullptr, &previous[sig]);
  for (int sig : kSignals) sigaction(sig, &action, nullptr);
}

/** Generated code may fault with a stack pointer that is no stack, so the handler needs a stack of its own. */
class SignalStack {
 public:
  SignalStack() {
    stack_t old;
    if (sigaltstack(nullptr, &old) == 0 && !(old.ss_flags & SS_DISABLE)) return;  // the thread has one
    void* p = mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    stack_t mine;
    memset(&mine, 0, sizeof mine);
    mine.ss_sp = p;
    mine.ss_size = kSignalStackBytes;
    if (sigaltstack(&mine, nullptr) == 0) {
      memory_ = p;
    } else {
      munmap(p, kSignalStackBytes);
    }
  }
  ~SignalStack() {
    if (!memory_) return;
    stack_t off;
    memset(&off, 0, sizeof off);
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    munmap(memory_, kSignalStackBytes);
  }
  void Touch() {}

 private:
  void* memory_ = nullptr;
};

}  // namespace

bool PrepareGuard() {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, Install);
  static thread_local SignalStack stack;
  stack.Touch();
  return true;
}

#else

// macOS needs the same with its own machine context, Windows a vectored exception handler; neither is written.
bool PrepareGuard() { return false; }

#endif

}  // namespace vmx
