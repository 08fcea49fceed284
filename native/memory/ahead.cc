#include "memory/ahead.h"

#if defined(__linux__)
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#endif

namespace vmx {

#if defined(__linux__)

namespace {

// Linux 5.14 and 6.1; older headers lack them, older kernels refuse them.
constexpr int kPopulateWrite = 23, kCollapse = 25;
constexpr size_t kHuge = size_t{2} << 20;
/** Work that waits is advice: beyond this it is not worth keeping. */
constexpr size_t kMostWaiting = 1024;

struct Work {
  uint8_t* base;
  uint8_t* alias;
  size_t bytes;
};

/**
 * The thread, and what it has to do. One for the process, which stays: a thread for each piece of work would need a stack, and mmap waits for
 * page faults that are being served, which are what this is about. Never destroyed: the thread may run while static destructors do.
 */
struct Backer {
  std::mutex mutex;
  std::condition_variable wanted;
  std::deque<Work> work;
  bool started = false;
};

Backer& backer() {
  static Backer* b = new Backer;
  return *b;
}

/** The kernel is asked by system calls and the memory itself is not touched, so it may go away meanwhile. */
void Back(const Work& w) {
  for (size_t at = 0; at < w.bytes; at += kHuge) {
    size_t n = w.bytes - at < kHuge ? w.bytes - at : kHuge;
    if (!w.alias) {
      if (madvise(w.base + at, n, kPopulateWrite) != 0) return;
      continue;
    }
    // Shared memory gets huge pages by itself only where the host's administrator wants it; one that has a page can be collapsed.
    if (n < kHuge || madvise(w.base + at, 4096, kPopulateWrite) != 0 || madvise(w.base + at, n, kCollapse) != 0) return;
    madvise(w.alias + at, n, kCollapse);
  }
}

void* Main(void*) {
  pthread_setname_np(pthread_self(), "vmx-memory");
  Backer& b = backer();
  std::unique_lock<std::mutex> lock(b.mutex);
  for (;;) {
    b.wanted.wait(lock, [&b] { return !b.work.empty(); });
    Work w = b.work.front();
    b.work.pop_front();
    lock.unlock();
    Back(w);
    lock.lock();
  }
  return nullptr;
}

bool Start() {
  // Signals belong to Node's threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 64 << 10);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  bool ok = pthread_create(&thread, &attr, &Main, nullptr) == 0;
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return ok;
}

}  // namespace

void BackAhead(uint8_t* base, uint8_t* alias, size_t bytes) {
  Backer& b = backer();
  std::lock_guard<std::mutex> lock(b.mutex);
  if (!b.started) b.started = Start();
  if (!b.started || b.work.size() >= kMostWaiting) return;
  b.work.push_back(Work{base, alias, bytes});
  b.wanted.notify_one();
}

#else

void BackAhead(uint8_t*, uint8_t*, size_t) {}

#endif

}  // namespace vmx
