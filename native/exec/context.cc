#include "exec/context.h"

#include <mutex>
#include <unordered_map>

#include "exec/host.h"
#include "exec/layout.h"

#if defined(__linux__)
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cmath>
#endif

namespace vmx {

namespace {

/** Never destroyed: other threads may kick while static destructors run. */
struct Directory {
  std::mutex mutex;
  std::unordered_map<uint64_t, Context*> contexts;
  uint64_t next = 1;
};

Directory& directory() {
  static Directory* d = new Directory;
  return *d;
}

}  // namespace

bool KickById(double id) {
  Directory& d = directory();
  std::lock_guard<std::mutex> lock(d.mutex);
  auto it = d.contexts.find(static_cast<uint64_t>(id));
  if (it == d.contexts.end()) return false;
  it->second->Kick();
  return true;
}

Context* FindContext(double id) {
  Directory& d = directory();
  std::lock_guard<std::mutex> lock(d.mutex);
  auto it = d.contexts.find(static_cast<uint64_t>(id));
  return it == d.contexts.end() ? nullptr : it->second;
}

void Context::Raise(Why why) {
  pending_high_->fetch_or(why, std::memory_order_seq_cst);
  std::lock_guard<std::mutex> lock(blocked_mutex_);
  if (blocked_in_) blocked_in_->Interrupt();
}

bool Context::Block(Interruptible* in) {
  std::lock_guard<std::mutex> lock(blocked_mutex_);
  blocked_in_ = in;
  return pending_high_->load(std::memory_order_seq_cst) != 0;
}

#if defined(__linux__)

/**
 * The thread that sets PENDING while the JavaScript thread is inside generated code. It sleeps in one epoll set: a timer, and
 * the event loop's descriptor, which is itself an epoll set. The loop is watched edge-triggered, so work
 * that the loop has not come round to does not make this thread spin.
 */
class Helper {
 public:
  static Helper* Start(Context* context, int loop_fd) {
    Helper* h = new Helper;
    h->context_ = context;
    h->loop_fd_ = loop_fd;
    h->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    h->timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_event timer = {};
    timer.events = EPOLLIN;
    timer.data.u32 = kTimer;
    if (h->epoll_fd_ < 0 || h->timer_fd_ < 0 || epoll_ctl(h->epoll_fd_, EPOLL_CTL_ADD, h->timer_fd_, &timer) != 0 ||
        !h->StartThread()) {
      delete h;
      return nullptr;
    }
    return h;
  }

  /** Stops and joins the thread. */
  ~Helper() {
    if (running_) {
      stop_.store(true);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        SetTimer(1);  // a moment long past: wakes the thread
      }
      pthread_join(thread_, nullptr);
    }
    if (timer_fd_ >= 0) close(timer_fd_);
    if (epoll_fd_ >= 0) close(epoll_fd_);
  }

  /**
   * The caller has stored `deadline` already. No system call when the timer goes off earlier anyway: the thread then finds the
   * deadline still ahead and sleeps on. Sequential consistency makes it safe: either this thread sees the timer
   * spent, or the helper, which marks it spent before it reads the deadline, sees the new deadline.
   */
  void Arm(uint64_t deadline) {
    if (deadline >= armed_.load(std::memory_order_seq_cst)) return;
    std::lock_guard<std::mutex> lock(mutex_);
    if (deadline >= armed_.load(std::memory_order_seq_cst)) return;
    armed_.store(deadline, std::memory_order_seq_cst);
    SetTimer(deadline);
  }

  /** Switching on, also when it is on already, looks at the descriptor anew. */
  bool WatchLoop(bool on) {
    if (!on && !watching_) return true;
    epoll_event event = {};
    event.events = on ? EPOLLIN | EPOLLET : 0;
    event.data.u32 = kLoop;
    if (epoll_ctl(epoll_fd_, added_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, loop_fd_, &event) != 0) return false;
    added_ = true;
    watching_ = on;
    return true;
  }

 private:
  enum : uint32_t { kTimer, kLoop };

  void SetTimer(uint64_t ns) {
    if (ns == 0) ns = 1;  // zero would switch the timer off
    itimerspec spec = {};
    spec.it_value.tv_sec = static_cast<time_t>(ns / 1000000000u);
    spec.it_value.tv_nsec = static_cast<long>(ns % 1000000000u);
    timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &spec, nullptr);
  }

  bool StartThread() {
    // Signals belong to Node's threads.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    running_ = pthread_create(&thread_, &attr, &Helper::Main, this) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    return running_;
  }

  static void* Main(void* self) {
    pthread_setname_np(pthread_self(), "vmx-deadline");
    static_cast<Helper*>(self)->Loop();
    return nullptr;
  }

  void Loop() {
    for (;;) {
      epoll_event events[2];
      // Asked before every sleep: OnTimer may have taken the expiry that was to wake this thread for its end.
      if (stop_.load()) return;
      int n = epoll_wait(epoll_fd_, events, 2, -1);
      for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == kLoop) {
          context_->Raise(Context::kLook);
        } else {
          OnTimer();
        }
      }
    }
  }

  void OnTimer() {
    std::lock_guard<std::mutex> lock(mutex_);
    uint64_t count;
    // Nothing to read: Arm has set the timer anew since epoll_wait returned.
    if (read(timer_fd_, &count, sizeof count) != static_cast<ssize_t>(sizeof count)) return;
    armed_.store(kNever, std::memory_order_seq_cst);
    uint64_t next = context_->Expire();
    if (next == kNever) return;
    armed_.store(next, std::memory_order_seq_cst);
    SetTimer(next);
  }

  Context* context_ = nullptr;
  int loop_fd_ = -1;
  int epoll_fd_ = -1;
  int timer_fd_ = -1;
  bool running_ = false;
  bool added_ = false;
  bool watching_ = false;
  std::atomic<bool> stop_{false};
  /** When the timer goes off; kNever when it is spent. */
  std::atomic<uint64_t> armed_{kNever};
  std::mutex mutex_;
  pthread_t thread_ = {};
};

bool Context::Supported() { return true; }

Context* Context::Create(uv_loop_s* loop, std::shared_ptr<Region> state, std::shared_ptr<Region> exec) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return nullptr;
  Context* c = new Context;
  c->kick_fd_ = fd;
  c->loop_ = loop;
  c->frame_.state = state->base();
  if (exec) {
    PrepareGuard();
    c->frame_.exec_start = reinterpret_cast<uintptr_t>(exec->exec());
    c->frame_.exec_bytes = exec->bytes();
    c->entry_first_ = static_cast<double>(c->frame_.exec_start);
    c->entry_end_ = static_cast<double>(c->frame_.exec_start + exec->bytes());
    exec->AddUser();
  }
  state->AddUser();
  c->pending_high_ = reinterpret_cast<std::atomic<uint32_t>*>(state->base() + kSlotPending * 8 + 4);
  c->state_ = std::move(state);
  c->exec_ = std::move(exec);
  Directory& d = directory();
  std::lock_guard<std::mutex> lock(d.mutex);
  uint64_t id = d.next++;
  c->id_ = static_cast<double>(id);
  d.contexts.emplace(id, c);
  return c;
}

void Context::Dispose() {
  if (!state_) return;
  {
    Directory& d = directory();
    std::lock_guard<std::mutex> lock(d.mutex);
    d.contexts.erase(static_cast<uint64_t>(id_));
  }
  delete helper_;
  helper_ = nullptr;
  close(kick_fd_);
  frame_ = {};
  entry_first_ = entry_end_ = 0;
  entries_[0] = entries_[1] = 0;
  state_->RemoveUser();
  if (exec_) exec_->RemoveUser();
  state_.reset();
  exec_.reset();
}

bool Context::EnsureHelper() {
  if (!helper_) helper_ = Helper::Start(this, uv_backend_fd(loop_));
  return helper_ != nullptr;
}

bool Context::SetDeadline(uint64_t ns) {
  deadline_.store(ns, std::memory_order_seq_cst);
  if (ns == kNever) return true;
  if (!EnsureHelper()) return false;
  helper_->Arm(ns);
  return true;
}

uint64_t Context::Expire() {
  uint64_t deadline = deadline_.load(std::memory_order_seq_cst);
  while (deadline <= MonotonicNs()) {
    // The exchange fails if the deadline was replaced meanwhile; then the new one counts.
    if (deadline_.compare_exchange_strong(deadline, kNever, std::memory_order_seq_cst)) {
      Raise(kDeadline);
      deadline = deadline_.load(std::memory_order_seq_cst);
    }
  }
  return deadline;
}

void Context::Kick() {
  Raise(kLook);
  // Pairs with Wait, which announces itself before it looks at PENDING: one of the two sees the other.
  if (!waiting_.load(std::memory_order_seq_cst)) return;
  uint64_t one = 1;
  ssize_t written = write(kick_fd_, &one, sizeof one);
  (void)written;  // can fail only when the counter is full, which wakes as well
}

bool Context::Spin(uint64_t ns) const {
  uint64_t end = MonotonicNs() + ns;
  for (int i = 1;; i++) {
    if (pending_high_->load(std::memory_order_acquire) != 0) return true;
    if ((i & 15) == 0 && MonotonicNs() >= end) return false;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

bool Context::WatchLoop(bool on) {
  if (!on && !helper_) return true;
  return EnsureHelper() && helper_->WatchLoop(on);
}

namespace {

/** What a walk over the loop's handles finds. */
struct LoopSurvey {
  /** ms from the loop's cached clock to the next timer. */
  uint64_t due_in = UINT64_MAX;
  int idle = 0;
  bool closing = false;
};

void SurveyHandle(uv_handle_t* handle, void* argument) {
  LoopSurvey* survey = static_cast<LoopSurvey*>(argument);
  if (uv_is_closing(handle)) survey->closing = true;
  if (!uv_is_active(handle)) return;
  uv_handle_type type = uv_handle_get_type(handle);
  if (type == UV_IDLE) {
    survey->idle++;
  } else if (type == UV_TIMER) {
    uint64_t due_in = uv_timer_get_due_in(reinterpret_cast<uv_timer_t*>(handle));
    if (due_in < survey->due_in) survey->due_in = due_in;
  }
}

/** Whether one of libuv's intrusive queues holds anything; its head's first word points to itself when it does not. */
template <typename Queue>
bool NotEmpty(const Queue& queue) {
  const void* const* head = reinterpret_cast<const void* const*>(&queue);
  return *head != head;
}

}  // namespace

/**
 * Whether JavaScript must get its turn now; otherwise lowers `until` to the loop's next timer. The backend descriptor alone
 * does not tell: timers, immediates and closing handles live in user space, and a descriptor JavaScript has just begun to
 * watch enters the epoll set only when the loop next runs.
 */
bool Context::LoopHasWork(uint64_t* until, bool (*immediates)(void*), void* argument) const {
  // A loop without a live handle reports timeout 0, which means "would exit", not "has work".
  if (!uv_loop_alive(loop_)) return false;
  if (NotEmpty(loop_->watcher_queue) || NotEmpty(loop_->pending_queue)) return true;
  int timeout = uv_backend_timeout(loop_);
  uint64_t due_in = timeout < 0 ? UINT64_MAX : static_cast<uint64_t>(timeout);
  if (timeout == 0) {
    // Work, or merely Node's idle handle, by which it asks for immediates to be run: it stays active while they run,
    // so a run loop driven by setImmediate would be told of work for ever, though the only immediate is itself.
    LoopSurvey survey;
    uv_walk(loop_, SurveyHandle, &survey);
    if (survey.closing || survey.idle != 1 || immediates(argument)) return true;
    due_in = survey.due_in;
  }
  if (due_in != UINT64_MAX) {
    // Relative to the loop's cached clock (CLOCK_MONOTONIC in ms), which may be long behind.
    uint64_t due = (uv_now(loop_) + due_in) * 1000000u;
    if (due <= MonotonicNs()) return true;
    if (due < *until) *until = due;
  }
  return false;
}

int Context::Wait(uint64_t until, bool (*immediates)(void*), void* argument) {
  uint64_t asked = until;
  uint64_t deadline = deadline_.load(std::memory_order_seq_cst);
  if (deadline < until) asked = until = deadline;
  if (LoopHasWork(&until, immediates, argument)) return 1;
  waiting_.store(true, std::memory_order_seq_cst);
  int result = 0;
  for (;;) {
    uint64_t now = MonotonicNs();
    bool raised = pending_high_->load(std::memory_order_seq_cst) != 0;
    uint64_t ns = raised || until <= now ? 0 : until - now;
    timespec timeout;
    timeout.tv_sec = static_cast<time_t>(ns / 1000000000u);
    timeout.tv_nsec = static_cast<long>(ns % 1000000000u);
    pollfd fds[2] = {{uv_backend_fd(loop_), POLLIN, 0}, {kick_fd_, POLLIN, 0}};
    int n = ppoll(fds, 2, until == kNever && !raised ? nullptr : &timeout, nullptr);
    if (n < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (fds[1].revents) {
      uint64_t count;
      ssize_t got = read(kick_fd_, &count, sizeof count);
      (void)got;
      // A kick that came just after an earlier Wait had ended has been seen through PENDING; only a live one counts.
      if (!fds[0].revents && pending_high_->load(std::memory_order_seq_cst) == 0) continue;
    }
    if (fds[0].revents) {
      result = 1;
    } else if (n == 0 && !raised && until < asked) {
      result = 1;  // a JavaScript timer is due
    }
    break;
  }
  waiting_.store(false, std::memory_order_seq_cst);
  // Spares the caller from waiting for the helper thread to say what is known here.
  if (deadline != kNever) Expire();
  return result;
}

#else

// The same is to be built on kqueue (macOS) and waitable timers (Windows); nobody has written it, and run() without a
// fault guard would take the process down with the first fault.
class Helper {};
bool Context::Supported() { return false; }
Context* Context::Create(uv_loop_s*, std::shared_ptr<Region>, std::shared_ptr<Region>) { return nullptr; }
void Context::Dispose() {}
bool Context::EnsureHelper() { return false; }
bool Context::SetDeadline(uint64_t) { return false; }
uint64_t Context::Expire() { return kNever; }
void Context::Kick() {}
bool Context::Spin(uint64_t) const { return false; }
bool Context::WatchLoop(bool) { return false; }
bool Context::LoopHasWork(uint64_t*, bool (*)(void*), void*) const { return false; }
int Context::Wait(uint64_t, bool (*)(void*), void*) { return 0; }

#endif

}  // namespace vmx
