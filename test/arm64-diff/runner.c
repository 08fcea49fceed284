/*
 * Executes single A64 test cases natively (or under qemu-user): reads cases from standard input, writes the state after each to
 * standard output. Layout of a case and of a result: struct state below. Build: aarch64-linux-gnu-gcc -O1 -static runner.c
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE 0x10000000ul
#define DATA 0x10010000ul
#define DATA_BYTES 16384
#define STATE 0x10020000ul

struct state {
  uint64_t x[31];
  uint64_t sp;
  uint64_t nzcv, fpcr, fpsr;
  uint64_t signal;
  uint64_t memory; /* in: seed of the data area, 0 = not used; out: checksum */
  uint64_t offset; /* of the code in its area */
  uint32_t count, pad;
  uint32_t code[16];
  uint64_t host_sp, host_ret;
  uint8_t v[32][16];
};

static sigjmp_buf env;
static void on_signal(int s) { siglongjmp(env, s); }

/* x28 = state throughout. */
__asm__(
  ".text\n.global enter\nenter:\n"
  "stp x29, x30, [sp, #-176]!\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
  "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
  "mov x28, x0\n mov x9, sp\n str x9, [x28, #376]\n mov x10, x1\n"
  "ldr x9, [x28, #256]\n msr nzcv, x9\n ldr x9, [x28, #264]\n msr fpcr, x9\n ldr x9, [x28, #272]\n msr fpsr, x9\n"
  "add x9, x28, #392\n"
  "ldp q0, q1, [x9]\n ldp q2, q3, [x9, #32]\n ldp q4, q5, [x9, #64]\n ldp q6, q7, [x9, #96]\n ldp q8, q9, [x9, #128]\n ldp q10, q11, [x9, #160]\n ldp q12, q13, [x9, #192]\n ldp q14, q15, [x9, #224]\n"
  "ldp q16, q17, [x9, #256]\n ldp q18, q19, [x9, #288]\n ldp q20, q21, [x9, #320]\n ldp q22, q23, [x9, #352]\n ldp q24, q25, [x9, #384]\n ldp q26, q27, [x9, #416]\n ldp q28, q29, [x9, #448]\n ldp q30, q31, [x9, #480]\n"
  "ldr x9, [x28, #248]\n mov sp, x9\n str x10, [x28, #384]\n"
  "ldp x0, x1, [x28]\n ldp x2, x3, [x28, #16]\n ldp x4, x5, [x28, #32]\n ldp x6, x7, [x28, #48]\n ldp x8, x9, [x28, #64]\n ldp x10, x11, [x28, #80]\n ldp x12, x13, [x28, #96]\n ldp x14, x15, [x28, #112]\n"
  "ldp x16, x17, [x28, #128]\n ldp x18, x19, [x28, #144]\n ldp x20, x21, [x28, #160]\n ldp x22, x23, [x28, #176]\n ldp x24, x25, [x28, #192]\n ldp x26, x27, [x28, #208]\n ldr x29, [x28, #232]\n"
  "ldr x30, [x28, #384]\n str x30, [x28, #384]\n"
  /* The jump needs a register: x30 is set by the first instruction of the area. */
  "br x30\n"
  ".global leave\nleave:\n"
  "stp x0, x1, [x28]\n stp x2, x3, [x28, #16]\n stp x4, x5, [x28, #32]\n stp x6, x7, [x28, #48]\n stp x8, x9, [x28, #64]\n stp x10, x11, [x28, #80]\n stp x12, x13, [x28, #96]\n stp x14, x15, [x28, #112]\n"
  "stp x16, x17, [x28, #128]\n stp x18, x19, [x28, #144]\n stp x20, x21, [x28, #160]\n stp x22, x23, [x28, #176]\n stp x24, x25, [x28, #192]\n stp x26, x27, [x28, #208]\n stp x29, x30, [x28, #232]\n"
  "mov x9, sp\n str x9, [x28, #248]\n mrs x9, nzcv\n str x9, [x28, #256]\n mrs x9, fpsr\n str x9, [x28, #272]\n msr fpcr, xzr\n"
  "add x9, x28, #392\n"
  "stp q0, q1, [x9]\n stp q2, q3, [x9, #32]\n stp q4, q5, [x9, #64]\n stp q6, q7, [x9, #96]\n stp q8, q9, [x9, #128]\n stp q10, q11, [x9, #160]\n stp q12, q13, [x9, #192]\n stp q14, q15, [x9, #224]\n"
  "stp q16, q17, [x9, #256]\n stp q18, q19, [x9, #288]\n stp q20, q21, [x9, #320]\n stp q22, q23, [x9, #352]\n stp q24, q25, [x9, #384]\n stp q26, q27, [x9, #416]\n stp q28, q29, [x9, #448]\n stp q30, q31, [x9, #480]\n"
  "ldr x9, [x28, #376]\n mov sp, x9\n"
  "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
  "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n ldp x29, x30, [sp], #176\n ret\n");
extern void enter(struct state *, void *);
extern char leave[];

static int read_all(void *p, size_t n) {
  for (size_t k = 0; k < n;) {
    ssize_t r = read(0, (char *)p + k, n - k);
    if (r <= 0) return 0;
    k += r;
  }
  return 1;
}

static uint64_t next(uint64_t s) { return s * 6364136223846793005ull + 1442695040888963407ull; }

int main(void) {
  mmap((void *)CODE, 0x10000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  mmap((void *)DATA, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  mmap((void *)STATE, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  static char alt[65536];
  stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
  sigaltstack(&ss, 0);
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_signal;
  sa.sa_flags = SA_ONSTACK | SA_NODEFER;
  sigaction(SIGILL, &sa, 0);
  sigaction(SIGSEGV, &sa, 0);
  sigaction(SIGBUS, &sa, 0);
  sigaction(SIGTRAP, &sa, 0);
  struct state *s = (struct state *)STATE;
  static char out[1 << 20];
  size_t fill = 0;
  while (read_all(s, sizeof *s)) {
    uint64_t *data = (uint64_t *)DATA;
    if (s->memory) {
      uint64_t v = s->memory;
      for (int i = 0; i < DATA_BYTES / 8; i++) data[i] = v = next(v);
    }
    uint32_t *code = (uint32_t *)(CODE + s->offset);
    /* code[-1] is where enter() arrives: it gives x30 its value. */
    code[-1] = 0xf940781e | (28 << 5); /* ldr x30, [x28, #240] */
    memcpy(code, s->code, s->count * 4);
    uint32_t *end = code + s->count;
    end[0] = 0xf9000000 | ((384 / 8) << 10) | (28 << 5) | 30; /* str x30, [x28, #384] */
    end[1] = 0xf9000000 | ((240 / 8) << 10) | (28 << 5) | 30; /* str x30, [x28, #240] */
    end[2] = 0x58000000 | (2 << 5) | 30; /* ldr x30, .+8 */
    end[3] = 0xd61f03c0; /* br x30 */
    *(void **)(end + 4) = leave;
    __builtin___clear_cache((char *)(code - 1), (char *)(end + 6));
    int sig = sigsetjmp(env, 1);
    if (sig == 0) {
      enter(s, code - 1);
      /* leave() has overwritten x30 with the address of itself. */
      s->x[30] = s->host_ret;
    }
    s->signal = sig;
    uint64_t sum = 0;
    if (s->memory) {
      for (int i = 0; i < DATA_BYTES / 8; i++) sum = (sum ^ data[i]) * 1099511628211ull + (sum >> 29);
      s->memory = sum;
    }
    if (fill + sizeof *s > sizeof out) {
      for (size_t k = 0; k < fill;) k += write(1, out + k, fill - k);
      fill = 0;
    }
    memcpy(out + fill, s, sizeof *s);
    fill += sizeof *s;
  }
  for (size_t k = 0; k < fill;) k += write(1, out + k, fill - k);
  return 0;
}
