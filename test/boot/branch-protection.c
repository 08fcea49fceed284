/*
 * A process that is guarded: built with -mbranch-protection=standard and without a library, so that the kernel maps its code guarded. Tries
 * pointers signed with the process's keys, calls of good targets, and one of a bad target, whose SIGILL it waits for.
 */
static long call(long n, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}

static void say(const char *text) {
  long n = 0;
  while (text[n]) n++;
  call(64, 1, (long)text, n, 0); /* write */
}

static void leave(const char *text) {
  say(text);
  call(94, 0, 0, 0, 0); /* exit_group */
}

struct info { int signo, error, code, pad; };
struct action { void (*handler)(int, struct info *, void *); unsigned long flags; void *restorer; unsigned long mask; };

static void on_signal(int n, struct info *i, void *context) {
  (void)context;
  if (n == 4 && i->code == 1) leave("bti ok\n"); /* SIGILL, ILL_ILLOPC */
  leave("another signal\n");
}

static int counter;
__attribute__((noinline)) static int good(int n) { return counter += n; }
/* No landing pad: the function begins after one. */
__asm__(".text\nbad:\n  mov w0, #7\n  ret\n");
extern int bad(int);

static unsigned long sign(unsigned long p, unsigned long m) { __asm__ volatile("pacia %0, %1" : "+r"(p) : "r"(m)); return p; }
static unsigned long authenticate(unsigned long p, unsigned long m) { __asm__ volatile("autia %0, %1" : "+r"(p) : "r"(m)); return p; }

void _start(void) {
  struct action a = { on_signal, 4 /* SA_SIGINFO */, 0, 0 };
  call(134, 4, (long)&a, 0, 8);  /* rt_sigaction SIGILL */
  call(134, 11, (long)&a, 0, 8); /* SIGSEGV */
  unsigned long p = (unsigned long)&counter;
  int changed = 0;
  for (unsigned long m = 0; m < 1000; m += 8) {
    unsigned long s = sign(p, m);
    changed += s != p;
    if (authenticate(s, m) != p) leave("authentication fails\n");
  }
  /* Codes of seven bits and more: one in 128 may be zero. */
  if (changed < 100) leave("no codes\n");
  say("pac ok\n");
  int (*volatile f)(int) = good;
  for (int i = 0; i < 100000; i++) f(1);
  if (counter != 100000) leave("calls are lost\n");
  say("calls ok\n");
  f = bad;
  f(1);
  leave("nothing guards\n");
}
