/*
 * Vector code of a Linux process for RISC-V: AT_HWCAP, a sum, a string's length by fault-only-first loads up to the end of a mapping, demand paging in the middle of
 * accesses, registers while another process runs and a signal is handled. Prints "vector ok", or what is wrong.
 * Build: riscv64-linux-gnu-gcc -O1 -static. Inline assembler uses the vector registers; the compiler does not.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define V(text) ".option push\n.option arch, +v\n" text "\n.option pop\n"

static void fail(const char *what) {
  printf("vector: %s\n", what);
  exit(1);
}

/* sum of a[i] * b[i] */
static double dot(const double *a, const double *b, size_t n) {
  double r;
  size_t vl;
  __asm__ volatile(V("vsetvli %0, x0, e64, m4, ta, ma\n vmv.v.i v8, 0") : "=r"(vl));
  while (n > 0) {
    __asm__ volatile(V("vsetvli %0, %1, e64, m4, tu, ma\n vle64.v v16, (%2)\n vle64.v v24, (%3)\n vfmacc.vv v8, v16, v24") : "=&r"(vl) : "r"(n), "r"(a), "r"(b) : "memory");
    a += vl;
    b += vl;
    n -= vl;
  }
  __asm__ volatile(V("vsetvli %1, x0, e64, m4, ta, ma\n vmv.s.x v4, x0\n vfredusum.vs v4, v8, v4\n vfmv.f.s %0, v4") : "=f"(r), "=&r"(vl));
  return r;
}

static size_t length(const char *s) {
  const char *p = s;
  long first;
  size_t vl;
  for (;;) {
    __asm__ volatile(V("vsetvli %0, x0, e8, m8, ta, ma\n vle8ff.v v8, (%2)\n csrr %0, vl\n vmseq.vi v0, v8, 0\n vfirst.m %1, v0") : "=&r"(vl), "=&r"(first) : "r"(p) : "memory");
    if (first >= 0) return p - s + first;
    p += vl;
  }
}

static void copy(void *to, const void *from, size_t n) {
  size_t vl;
  while (n > 0) {
    __asm__ volatile(V("vsetvli %0, %1, e8, m8, ta, ma\n vle8.v v8, (%2)\n vse8.v v8, (%3)") : "=&r"(vl) : "r"(n), "r"(from), "r"(to) : "memory");
    to = (char *)to + vl;
    from = (const char *)from + vl;
    n -= vl;
  }
}

static void fill(long v) {
  __asm__ volatile(V("vsetvli t0, x0, e64, m8, ta, ma\n vmv.v.x v0, %0\n addi %0, %0, 1\n vmv.v.x v8, %0\n addi %0, %0, 1\n vmv.v.x v16, %0\n addi %0, %0, 1\n vmv.v.x v24, %0") : "+r"(v) : : "t0");
}

static void check(long v, const char *what) {
  static uint64_t image[4][64];
  uint64_t *p = image[0];
  size_t n;
  __asm__ volatile(V("vsetvli %0, x0, e64, m8, ta, ma\n vse64.v v0, (%1)\n add %1, %1, 512\n vse64.v v8, (%1)\n add %1, %1, 512\n vse64.v v16, (%1)\n add %1, %1, 512\n vse64.v v24, (%1)") : "=&r"(n), "+r"(p) : : "memory");
  for (int g = 0; g < 4; g++) for (size_t i = 0; i < n; i++) if (image[g][i] != (uint64_t)(v + g)) fail(what);
}

static volatile int signalled;
static void on_signal(int s) {
  (void)s;
  fill(-1000);
  signalled = 1;
}

int main(void) {
  if (!(getauxval(AT_HWCAP) & (1ul << ('v' - 'a')))) fail("not in AT_HWCAP");
  static double a[1000], b[1000];
  for (int i = 0; i < 1000; i++) {
    a[i] = i;
    b[i] = 2 * i + 1;
  }
  /* 2 * sum i^2 + sum i, exact */
  if (dot(a, b, 1000) != 2.0 * 332833500 + 499500) fail("wrong sum");
  /* The page after the string is not there. */
  char *m = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(m + 8192, 4096);
  for (int n = 0; n < 300; n++) {
    char *s = m + 8192 - 1 - n;
    memset(s, 'x', n);
    if (length(s) != (size_t)n) fail("wrong length");
  }
  /* Pages come as they are touched, from both sides of page boundaries. */
  size_t big = 1 << 20;
  unsigned char *from = mmap(0, big + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *to = mmap(0, big + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; i < big; i++) from[i + 37] = (unsigned char)(i * 7 + (i >> 8));
  copy(to + 101, from + 37, big);
  if (memcmp(to + 101, from + 37, big) != 0 || to[100] != 0 || to[101 + big] != 0) fail("wrong copy");
  /* Two processes with different registers, which take turns. System calls need not keep them, so there is none here. */
  pid_t child = fork();
  long mine = child == 0 ? 5000 : 9000;
  for (int round = 0; round < 10; round++) {
    fill(mine + round);
    uint64_t now, end;
    __asm__ volatile("rdtime %0" : "=r"(now));
    end = now + 100000; /* 10 ms */
    while (now < end) __asm__ volatile("rdtime %0" : "=r"(now));
    check(mine + round, "registers lost by a switch");
  }
  if (child == 0) _exit(0);
  int status;
  waitpid(child, &status, 0);
  if (status != 0) fail("the child failed");
  signal(SIGALRM, on_signal);
  ualarm(20000, 0);
  fill(33);
  while (!signalled) __asm__ volatile("" ::: "memory");
  check(33, "registers lost by a signal");
  printf("vector ok\n");
  return 0;
}
