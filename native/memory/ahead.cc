#include "memory/ahead.h"

#if defined(__linux__)
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#endif

namespace vmx {

#if defined(__linux__)

namespace {

// Linux 5.14 and 6.1; older headers lack them, older kernels refuse them.
constexpr int kPopulateWrite = 23, kCollapse = 25;
constexpr size_t kHuge = size_t{2} << 20;

struct Work {
  uint8_t* base;
  uint8_t* alias;
  size_t bytes;
};

/** The kernel is asked by system calls and the memory itself is not touched, so it may go away meanwhile. */
void* Main(void* argument) {
  pthread_setname_np(pthread_self(), "vmx-memory");
  Work* w = static_cast<Work*>(argument);
  for (size_t at = 0; at < w->bytes; at += kHuge) {
    size_t n = w->bytes - at < kHuge ? w->bytes - at : kHuge;
    if (!w->alias) {
      if (madvise(w->base + at, n, kPopulateWrite) != 0) break;
      continue;
    }
    // Shared memory gets huge pages by itself only where the host's administrator wants it; one that has a page can be collapsed.
    if (n < kHuge || madvise(w->base + at, 4096, kPopulateWrite) != 0 || madvise(w->base + at, n, kCollapse) != 0) break;
    madvise(w->alias + at, n, kCollapse);
  }
  delete w;
  return nullptr;
}

}  // namespace

void BackAhead(uint8_t* base, uint8_t* alias, size_t bytes) {
  Work* w = new Work{base, alias, bytes};
  // Signals belong to Node's threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 64 << 10);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  if (pthread_create(&thread, &attr, &Main, w) != 0) delete w;
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

#else

void BackAhead(uint8_t*, uint8_t*, size_t) {}

#endif

}  // namespace vmx
