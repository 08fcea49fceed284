/*
 * Executes single RV64GC test cases natively (or under qemu-user): reads cases from standard input, writes the state after each to
 * standard output. Layout of a case and of a result: struct state below. Build: riscv64-linux-gnu-gcc -O1 -static -Wl,--no-relax
 * With -DVLENB=16 (or 32) cases have vector registers of that many bytes.
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
  uint64_t x[32];
  uint64_t f[32];
  uint64_t fcsr;
  int64_t signal;
  uint64_t memory; /* in: seed of the data area, 0 = not used; out: checksum */
  uint64_t offset; /* of the code in its area */
  uint32_t count, pad; /* words of code */
  uint32_t code[16];
  uint64_t host_x30, leave, host_sp;
#ifdef VLENB
  uint64_t vcsr, vl, vtype, vstart;
  uint8_t v[32 * 32];
#endif
};

static sigjmp_buf env;
uint64_t host_gp, host_tp;
__attribute__((used)) void handle(int s) { siglongjmp(env, s); }
extern void on_signal(int);

/* x27 = state throughout. gp and tp are the test's too: the signal handler gets them back first. */
__asm__(
  ".text\n.option norelax\n"
  ".global on_signal\non_signal:\n lla t0, host_gp\n ld gp, 0(t0)\n lla t0, host_tp\n ld tp, 0(t0)\n j handle\n"
  ".global enter\nenter:\n"
  " addi sp, sp, -256\n"
  " sd x1, 8(sp)\n sd x3, 24(sp)\n sd x4, 32(sp)\n sd x8, 64(sp)\n sd x9, 72(sp)\n sd x18, 144(sp)\n sd x19, 152(sp)\n sd x20, 160(sp)\n sd x21, 168(sp)\n sd x22, 176(sp)\n sd x23, 184(sp)\n"
  " sd x24, 192(sp)\n sd x25, 200(sp)\n sd x26, 208(sp)\n sd x27, 216(sp)\n"
  " mv x27, a0\n mv x30, a1\n sd sp, 632(x27)\n ld t0, 512(x27)\n fscsr t0\n"
  " fld f0, 256(x27)\n fld f1, 264(x27)\n fld f2, 272(x27)\n fld f3, 280(x27)\n fld f4, 288(x27)\n fld f5, 296(x27)\n fld f6, 304(x27)\n fld f7, 312(x27)\n"
  " fld f8, 320(x27)\n fld f9, 328(x27)\n fld f10, 336(x27)\n fld f11, 344(x27)\n fld f12, 352(x27)\n fld f13, 360(x27)\n fld f14, 368(x27)\n fld f15, 376(x27)\n"
  " fld f16, 384(x27)\n fld f17, 392(x27)\n fld f18, 400(x27)\n fld f19, 408(x27)\n fld f20, 416(x27)\n fld f21, 424(x27)\n fld f22, 432(x27)\n fld f23, 440(x27)\n"
  " fld f24, 448(x27)\n fld f25, 456(x27)\n fld f26, 464(x27)\n fld f27, 472(x27)\n fld f28, 480(x27)\n fld f29, 488(x27)\n fld f30, 496(x27)\n fld f31, 504(x27)\n"
  " ld x1, 8(x27)\n ld x2, 16(x27)\n ld x3, 24(x27)\n ld x4, 32(x27)\n ld x5, 40(x27)\n ld x6, 48(x27)\n ld x7, 56(x27)\n ld x8, 64(x27)\n ld x9, 72(x27)\n ld x10, 80(x27)\n"
  " ld x11, 88(x27)\n ld x12, 96(x27)\n ld x13, 104(x27)\n ld x14, 112(x27)\n ld x15, 120(x27)\n ld x16, 128(x27)\n ld x17, 136(x27)\n ld x18, 144(x27)\n ld x19, 152(x27)\n ld x20, 160(x27)\n"
  " ld x21, 168(x27)\n ld x22, 176(x27)\n ld x23, 184(x27)\n ld x24, 192(x27)\n ld x25, 200(x27)\n ld x26, 208(x27)\n ld x28, 224(x27)\n ld x29, 232(x27)\n ld x31, 248(x27)\n"
  " jr x30\n"
  ".global leave\nleave:\n"
  " sd x1, 8(x27)\n sd x2, 16(x27)\n sd x3, 24(x27)\n sd x4, 32(x27)\n sd x5, 40(x27)\n sd x6, 48(x27)\n sd x7, 56(x27)\n sd x8, 64(x27)\n sd x9, 72(x27)\n sd x10, 80(x27)\n"
  " sd x11, 88(x27)\n sd x12, 96(x27)\n sd x13, 104(x27)\n sd x14, 112(x27)\n sd x15, 120(x27)\n sd x16, 128(x27)\n sd x17, 136(x27)\n sd x18, 144(x27)\n sd x19, 152(x27)\n sd x20, 160(x27)\n"
  " sd x21, 168(x27)\n sd x22, 176(x27)\n sd x23, 184(x27)\n sd x24, 192(x27)\n sd x25, 200(x27)\n sd x26, 208(x27)\n sd x28, 224(x27)\n sd x29, 232(x27)\n sd x31, 248(x27)\n"
  " ld x5, 616(x27)\n sd x5, 240(x27)\n frcsr x5\n sd x5, 512(x27)\n"
  " fsd f0, 256(x27)\n fsd f1, 264(x27)\n fsd f2, 272(x27)\n fsd f3, 280(x27)\n fsd f4, 288(x27)\n fsd f5, 296(x27)\n fsd f6, 304(x27)\n fsd f7, 312(x27)\n"
  " fsd f8, 320(x27)\n fsd f9, 328(x27)\n fsd f10, 336(x27)\n fsd f11, 344(x27)\n fsd f12, 352(x27)\n fsd f13, 360(x27)\n fsd f14, 368(x27)\n fsd f15, 376(x27)\n"
  " fsd f16, 384(x27)\n fsd f17, 392(x27)\n fsd f18, 400(x27)\n fsd f19, 408(x27)\n fsd f20, 416(x27)\n fsd f21, 424(x27)\n fsd f22, 432(x27)\n fsd f23, 440(x27)\n"
  " fsd f24, 448(x27)\n fsd f25, 456(x27)\n fsd f26, 464(x27)\n fsd f27, 472(x27)\n fsd f28, 480(x27)\n fsd f29, 488(x27)\n fsd f30, 496(x27)\n fsd f31, 504(x27)\n"
  " fscsr x0\n ld sp, 632(x27)\n"
  " ld x1, 8(sp)\n ld x3, 24(sp)\n ld x4, 32(sp)\n ld x8, 64(sp)\n ld x9, 72(sp)\n ld x18, 144(sp)\n ld x19, 152(sp)\n ld x20, 160(sp)\n ld x21, 168(sp)\n ld x22, 176(sp)\n ld x23, 184(sp)\n"
  " ld x24, 192(sp)\n ld x25, 200(sp)\n ld x26, 208(sp)\n ld x27, 216(sp)\n addi sp, sp, 256\n ret\n");
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

#ifdef VLENB
/* Nothing but the test touches vector registers: this file is compiled without them. */
static void load_vectors(struct state *s) {
  uint8_t *v = s->v;
  __asm__ volatile(
    ".option push\n.option arch, +v\n"
    " csrw vstart, x0\n vl8re8.v v0, (%0)\n add %0, %0, %1\n vl8re8.v v8, (%0)\n add %0, %0, %1\n vl8re8.v v16, (%0)\n add %0, %0, %1\n vl8re8.v v24, (%0)\n"
    " csrw vcsr, %2\n vsetvl x0, %3, %4\n csrw vstart, %5\n.option pop\n"
    : "+r"(v) : "r"(8ul * VLENB), "r"(s->vcsr), "r"(s->vl), "r"(s->vtype), "r"(s->vstart) : "memory");
}

static void store_vectors(struct state *s) {
  uint8_t *v = s->v;
  __asm__ volatile(
    ".option push\n.option arch, +v\n"
    " csrr t0, vcsr\n sd t0, 640(%2)\n csrr t0, vl\n sd t0, 648(%2)\n csrr t0, vtype\n sd t0, 656(%2)\n csrr t0, vstart\n sd t0, 664(%2)\n csrw vstart, x0\n"
    " vs8r.v v0, (%0)\n add %0, %0, %1\n vs8r.v v8, (%0)\n add %0, %0, %1\n vs8r.v v16, (%0)\n add %0, %0, %1\n vs8r.v v24, (%0)\n.option pop\n"
    : "+r"(v) : "r"(8ul * VLENB), "r"(s) : "t0", "memory");
}
#else
static void load_vectors(struct state *s) { (void)s; }
static void store_vectors(struct state *s) { (void)s; }
#endif

static uint64_t next(uint64_t s) { return s * 6364136223846793005ull + 1442695040888963407ull; }

int main(void) {
  mmap((void *)CODE, 0x10000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  mmap((void *)DATA, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  mmap((void *)STATE, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  __asm__ volatile("lla t0, host_gp\n sd gp, 0(t0)\n lla t0, host_tp\n sd tp, 0(t0)\n" ::: "t0", "memory");
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
    code[-1] = (240u << 20) | (27 << 15) | (3 << 12) | (30 << 7) | 0x03; /* ld x30, 240(x27) */
    memcpy(code, s->code, s->count * 4);
    uint32_t *end = code + s->count;
    end[0] = ((616u >> 5) << 25) | (30 << 20) | (27 << 15) | (3 << 12) | ((616 & 31) << 7) | 0x23; /* sd x30, 616(x27) */
    end[1] = (624u << 20) | (27 << 15) | (3 << 12) | (30 << 7) | 0x03; /* ld x30, 624(x27) */
    end[2] = (30 << 15) | 0x67; /* jr x30 */
    s->leave = (uint64_t)leave;
    __builtin___clear_cache((char *)(code - 1), (char *)(end + 3));
    int sig = sigsetjmp(env, 1);
    if (sig == 0) {
      load_vectors(s);
      enter(s, code - 1);
      store_vectors(s);
    } else __asm__ volatile("fscsr x0");
    s->signal = sig;
    if (s->memory) {
      uint64_t sum = 0;
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
