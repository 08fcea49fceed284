#include "accel/vcpu_thread.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>
#include <cstdio>

#include "exec/context.h"
#include "exec/host.h"

namespace vmx {

namespace {

void Futex(std::atomic<uint32_t>* word, int op, uint32_t value, const timespec* timeout) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), op | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

std::unique_ptr<VcpuThread> VcpuThread::Start(std::unique_ptr<VcpuBackend> backend, Mailbox* box, double context, int index) {
  std::unique_ptr<VcpuThread> t(new VcpuThread);
  t->backend_ = std::move(backend);
  t->box_ = box;
  t->context_ = context;
  t->index_ = index;
  box->spin_ns = kSpinMin;
  // Signals belong to Node's threads; the backend unblocks its own.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 256 << 10);
  pthread_t thread;
  int failed = pthread_create(&thread, &attr, &VcpuThread::Main, t.get());
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (failed) return nullptr;
  t->thread_ = thread;
  return t;
}

VcpuThread::~VcpuThread() {
  if (!thread_) return;
  // A command in progress ends first: its thread would overwrite the word.
  while (!WaitIdle(1000000)) Interrupt();
  box_->status.store(kQuit, std::memory_order_seq_cst);
  Futex(&box_->status, FUTEX_WAKE, INT_MAX, nullptr);
  pthread_join(static_cast<pthread_t>(thread_), nullptr);
}

void VcpuThread::Post() {
  box_->status.store(kPosted, std::memory_order_seq_cst);
  // Pairs with Next, which announces its sleep before it looks at the status again.
  if (box_->sleeping.load(std::memory_order_seq_cst)) Futex(&box_->status, FUTEX_WAKE, 1, nullptr);
}

namespace {

class Here : public Interruptible {
 public:
  explicit Here(VcpuBackend* backend) : backend_(backend), thread_(pthread_self()) {}
  void Interrupt() override { backend_->Interrupt(true, static_cast<uintptr_t>(thread_)); }

 private:
  VcpuBackend* backend_;
  pthread_t thread_;
};

}  // namespace

bool VcpuThread::RunHere() {
  Context* context = FindContext(context_);
  if (!context || box_->status.load(std::memory_order_acquire) != kIdle) return false;
  box_->here++;
  box_->error = box_->failed = 0;
  Here here(backend_.get());
  if (context->Block(&here)) backend_->Interrupt(false, 0);
  uint64_t from = MonotonicNs();
  backend_->Execute(box_);
  box_->busy_ns += MonotonicNs() - from;
  context->Block(nullptr);
  return true;
}

void VcpuThread::Interrupt() {
  uint32_t s = box_->status.load(std::memory_order_seq_cst);
  backend_->Interrupt(s == kPosted || s == kBusy, thread_);
}

bool VcpuThread::WaitIdle(uint64_t ns) {
  uint64_t end = MonotonicNs() + ns;
  int spins = 0;
  for (;;) {
    uint32_t s = box_->status.load(std::memory_order_acquire);
    if (s == kIdle) return true;
    if (MonotonicNs() >= end) return false;
    if (++spins < 200) {
      Relax();
    } else {
      timespec nap = {0, 20000};
      nanosleep(&nap, nullptr);
    }
  }
}

void* VcpuThread::Main(void* self) {
  VcpuThread* t = static_cast<VcpuThread*>(self);
  char name[16];
  snprintf(name, sizeof name, "vmx-vcpu%d", t->index_);
  pthread_setname_np(pthread_self(), name);
  t->Loop();
  return nullptr;
}

bool VcpuThread::Next() {
  uint64_t spin_until = idle_since_ + box_->spin_ns;
  for (int i = 0;; i++) {
    uint32_t s = box_->status.load(std::memory_order_acquire);
    if (s == kPosted) {
      box_->hot++;
      // Hot again: it may pay to wait longer.
      box_->spin_ns = box_->spin_ns * 2 > kSpinMax ? kSpinMax : box_->spin_ns * 2;
      return true;
    }
    if (s == kQuit) return false;
    if ((i & 15) == 15 && MonotonicNs() >= spin_until) break;
    Relax();
  }
  box_->spin_ns = box_->spin_ns / 2 < kSpinMin ? kSpinMin : box_->spin_ns / 2;
  for (;;) {
    box_->sleeping.store(1, std::memory_order_seq_cst);
    uint32_t s = box_->status.load(std::memory_order_seq_cst);
    if (s == kIdle) Futex(&box_->status, FUTEX_WAIT, kIdle, nullptr);
    box_->sleeping.store(0, std::memory_order_seq_cst);
    s = box_->status.load(std::memory_order_acquire);
    if (s == kPosted) return true;
    if (s == kQuit) return false;
  }
}

void VcpuThread::Loop() {
  idle_since_ = MonotonicNs();
  while (Next()) {
    uint64_t from = MonotonicNs();
    uint64_t bucket = (from - idle_since_) / kHistogramNs;
    box_->histogram[bucket < kHistogramBuckets ? bucket : kHistogramBuckets - 1]++;
    box_->commands++;
    box_->status.store(kBusy, std::memory_order_seq_cst);
    box_->error = box_->failed = 0;
    backend_->Execute(box_);
    idle_since_ = MonotonicNs();
    box_->busy_ns += idle_since_ - from;
    box_->status.store(kIdle, std::memory_order_seq_cst);
    KickById(context_);
  }
}

}  // namespace vmx

#endif
