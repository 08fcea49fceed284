#include "kvm/doorbells.h"

#if defined(__linux__) && defined(__x86_64__)
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "exec/context.h"

namespace vmx {
namespace kvm {

namespace {
constexpr uint32_t kQuit = UINT32_MAX;

bool Watch(int epoll, int fd, uint32_t n) {
  epoll_event e = {};
  e.events = EPOLLIN;
  e.data.u32 = n;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}
}  // namespace

std::unique_ptr<Doorbells> Doorbells::Start(std::atomic<uint32_t>* rung, uint32_t count, double context) {
  std::unique_ptr<Doorbells> d(new Doorbells);
  d->rung_ = rung;
  d->events_.assign(count, -1);
  d->context_ = context;
  d->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  d->quit_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (d->epoll_ < 0 || d->quit_ < 0 || !Watch(d->epoll_, d->quit_, kQuit)) return nullptr;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  int failed = pthread_create(&thread, nullptr, &Doorbells::Main, d.get());
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (failed) return nullptr;
  d->thread_ = thread;
  return d;
}

Doorbells::~Doorbells() {
  if (thread_) {
    eventfd_write(quit_, 1);
    pthread_join(static_cast<pthread_t>(thread_), nullptr);
  }
  for (int fd : events_) {
    if (fd >= 0) close(fd);
  }
  if (quit_ >= 0) close(quit_);
  if (epoll_ >= 0) close(epoll_);
}

int Doorbells::Event(uint32_t n) {
  if (events_[n] >= 0) return events_[n];
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return -1;
  if (!Watch(epoll_, fd, n)) {
    close(fd);
    return -1;
  }
  return events_[n] = fd;
}

void* Doorbells::Main(void* self) {
  pthread_setname_np(pthread_self(), "vmx-doorbells");
  static_cast<Doorbells*>(self)->Loop();
  return nullptr;
}

void Doorbells::Loop() {
  for (;;) {
    epoll_event ready[16];
    int n = epoll_wait(epoll_, ready, 16, -1);
    bool rang = false;
    for (int i = 0; i < n; i++) {
      uint32_t bell = ready[i].data.u32;
      if (bell == kQuit) return;
      eventfd_t count;
      // Taken before it is told: what rings from now on is told again.
      if (eventfd_read(events_[bell], &count) != 0) continue;
      rung_[bell / 32].fetch_or(1u << (bell % 32), std::memory_order_seq_cst);
      rang = true;
    }
    if (rang) KickById(context_);
  }
}

}  // namespace kvm
}  // namespace vmx

#endif
