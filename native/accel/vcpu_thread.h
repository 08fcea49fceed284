// A vCPU that runs on a thread of its own, and the mailbox through which the JavaScript thread commands it. What a command does
// is the hypervisor's business: one VcpuBackend per hypervisor (native/kvm; HVF and WHVP would be the same).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace vmx {

constexpr uint32_t kHistogramBuckets = 40;
constexpr uint64_t kHistogramNs = 250;

/**
 * The head of the shared block, in 32-bit words. Mirrors lib/accel/mailbox.ts. `status` says whose turn it is: everything
 * else in the block belongs to the JavaScript thread while it is kIdle, to the vCPU's thread otherwise.
 */
struct Mailbox {
  std::atomic<uint32_t> status;
  /** VcpuCommand bits. */
  uint32_t command;
  /** Parts of the state to set before, and to get after running: bits as the backend defines them. */
  uint32_t set_mask;
  uint32_t get_mask;
  /** Vector of an external interrupt to inject before running, or -1. */
  int32_t vector;
  /** 1: inject an NMI. */
  uint32_t nmi;
  /** 0, or the error number of the step that failed. */
  uint32_t error;
  /** Which step failed: 1 set, 2 inject, 3 run, 4 get; part of the state in bits 8 and up. */
  uint32_t failed;
  /** The thread sleeps (futex on status). */
  std::atomic<uint32_t> sleeping;
  /** How long the thread spins for the next command before it sleeps, ns. */
  uint32_t spin_ns;
  /** Commands done by the thread, of which found while spinning; and done on the JavaScript thread. */
  uint32_t commands;
  uint32_t hot;
  uint32_t here;
  uint32_t reserved;
  /** Time in commands, ns. */
  uint64_t busy_ns;
  /** Time from the thread's last reply to the next command, in steps of kHistogramNs; the last counts what is longer. */
  uint32_t histogram[kHistogramBuckets];
};
static_assert(sizeof(Mailbox) <= 0x100, "the backend's structures follow");

enum MailboxStatus : uint32_t { kIdle = 0, kPosted = 1, kBusy = 2, kQuit = 3 };
enum VcpuCommand : uint32_t { kCommandRun = 1 };

/** Limits of adaptive spinning: a reply within the time spun doubles it, a sleep halves it. A reply takes some microseconds. */
constexpr uint32_t kSpinMin = 10000;
constexpr uint32_t kSpinMax = 50000;

class VcpuBackend {
 public:
  virtual ~VcpuBackend() = default;
  /** Does what the mailbox asks for; sets error and failed. On the vCPU's thread. */
  virtual void Execute(Mailbox* box) = 0;
  /** Makes a running Execute return soon, or the next one at once. `thread`: its pthread. From the JavaScript thread. */
  virtual void Interrupt(bool running, uintptr_t thread) = 0;
};

class VcpuThread {
 public:
  /** Null when no thread can be started. @param context kicked when a command is done. */
  static std::unique_ptr<VcpuThread> Start(std::unique_ptr<VcpuBackend> backend, Mailbox* box, double context, int index);
  /** Stops and joins the thread, then destroys the backend. */
  ~VcpuThread();

  /**
   * Executes the command in the mailbox on the calling (JavaScript) thread, which its context's deadline and event loop interrupt: no
   * other thread has to wake up. False while the vCPU's own thread is at work.
   */
  bool RunHere();
  /** A command has been put into the mailbox. */
  void Post();
  void Interrupt();
  /** Waits until the command is done, at most `ns`. */
  bool WaitIdle(uint64_t ns);

 private:
  VcpuThread() = default;
  static void* Main(void* self);
  void Loop();
  /** Waits for a command; false: quit. */
  bool Next();

  std::unique_ptr<VcpuBackend> backend_;
  Mailbox* box_ = nullptr;
  double context_ = 0;
  int index_ = 0;
  uintptr_t thread_ = 0;
  uint64_t idle_since_ = 0;
};

}  // namespace vmx
