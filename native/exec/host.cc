#include "exec/host.h"

#include <chrono>
#include <cstdio>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define VMX_X86 1
#elif defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#define VMX_X86 1
#endif
#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#else
#include <time.h>
#include <unistd.h>
#endif
#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace vmx {

uint64_t MonotonicNs() {
#if defined(_WIN32)
  auto t = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(t).count());
#else
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
#endif
}

#if VMX_X86

bool Cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
#if defined(_M_X64)
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  for (int i = 0; i < 4; i++) out[i] = static_cast<uint32_t>(r[i]);
#else
  __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
#endif
  return true;
}

namespace {

enum Reg : uint8_t { EAX, EBX, ECX, EDX };
/** What XCR0 must enable before the instructions may be used. */
enum Need : uint8_t { NONE = 0, YMM = 0x06, ZMM = 0xe6, TILE = 0xff };

struct Feature {
  uint32_t leaf;
  uint8_t subleaf;
  Reg reg;
  uint8_t bit;
  Need need;
  const char* name;
};

constexpr Feature kFeatures[] = {
    {1, 0, EDX, 0, NONE, "fpu"},          {1, 0, EDX, 4, NONE, "tsc"},
    {1, 0, EDX, 8, NONE, "cx8"},          {1, 0, EDX, 15, NONE, "cmov"},
    {1, 0, EDX, 19, NONE, "clflush"},     {1, 0, EDX, 23, NONE, "mmx"},
    {1, 0, EDX, 24, NONE, "fxsr"},        {1, 0, EDX, 25, NONE, "sse"},
    {1, 0, EDX, 26, NONE, "sse2"},        {1, 0, EDX, 28, NONE, "ht"},
    {1, 0, ECX, 0, NONE, "pni"},          {1, 0, ECX, 1, NONE, "pclmulqdq"},
    {1, 0, ECX, 9, NONE, "ssse3"},        {1, 0, ECX, 12, YMM, "fma"},
    {1, 0, ECX, 13, NONE, "cx16"},        {1, 0, ECX, 19, NONE, "sse4_1"},
    {1, 0, ECX, 20, NONE, "sse4_2"},      {1, 0, ECX, 22, NONE, "movbe"},
    {1, 0, ECX, 23, NONE, "popcnt"},      {1, 0, ECX, 25, NONE, "aes"},
    {1, 0, ECX, 26, NONE, "xsave"},       {1, 0, ECX, 28, YMM, "avx"},
    {1, 0, ECX, 29, YMM, "f16c"},         {1, 0, ECX, 30, NONE, "rdrand"},
    {1, 0, ECX, 31, NONE, "hypervisor"},  {7, 0, EBX, 0, NONE, "fsgsbase"},
    {7, 0, EBX, 3, NONE, "bmi1"},         {7, 0, EBX, 5, YMM, "avx2"},
    {7, 0, EBX, 8, NONE, "bmi2"},         {7, 0, EBX, 9, NONE, "erms"},
    {7, 0, EBX, 16, ZMM, "avx512f"},      {7, 0, EBX, 17, ZMM, "avx512dq"},
    {7, 0, EBX, 18, NONE, "rdseed"},      {7, 0, EBX, 19, NONE, "adx"},
    {7, 0, EBX, 21, ZMM, "avx512ifma"},   {7, 0, EBX, 23, NONE, "clflushopt"},
    {7, 0, EBX, 24, NONE, "clwb"},        {7, 0, EBX, 28, ZMM, "avx512cd"},
    {7, 0, EBX, 29, NONE, "sha_ni"},      {7, 0, EBX, 30, ZMM, "avx512bw"},
    {7, 0, EBX, 31, ZMM, "avx512vl"},     {7, 0, ECX, 1, ZMM, "avx512vbmi"},
    {7, 0, ECX, 6, ZMM, "avx512_vbmi2"},  {7, 0, ECX, 8, NONE, "gfni"},
    {7, 0, ECX, 9, YMM, "vaes"},          {7, 0, ECX, 10, YMM, "vpclmulqdq"},
    {7, 0, ECX, 11, ZMM, "avx512_vnni"},  {7, 0, ECX, 12, ZMM, "avx512_bitalg"},
    {7, 0, ECX, 14, ZMM, "avx512_vpopcntdq"}, {7, 0, ECX, 22, NONE, "rdpid"},
    {7, 0, EDX, 4, NONE, "fsrm"},         {7, 0, EDX, 14, NONE, "serialize"},
    {7, 0, EDX, 22, TILE, "amx_bf16"},    {7, 0, EDX, 24, TILE, "amx_tile"},
    {7, 0, EDX, 25, TILE, "amx_int8"},    {7, 1, EAX, 4, YMM, "avx_vnni"},
    {7, 1, EAX, 5, ZMM, "avx512_bf16"},   {0xd, 1, EAX, 0, NONE, "xsaveopt"},
    {0xd, 1, EAX, 1, NONE, "xsavec"},     {0xd, 1, EAX, 2, NONE, "xgetbv1"},
    {0x80000001u, 0, EDX, 11, NONE, "syscall"},   {0x80000001u, 0, EDX, 20, NONE, "nx"},
    {0x80000001u, 0, EDX, 26, NONE, "pdpe1gb"},   {0x80000001u, 0, EDX, 27, NONE, "rdtscp"},
    {0x80000001u, 0, EDX, 29, NONE, "lm"},        {0x80000001u, 0, ECX, 0, NONE, "lahf_lm"},
    {0x80000001u, 0, ECX, 5, NONE, "abm"},        {0x80000001u, 0, ECX, 6, NONE, "sse4a"},
    {0x80000001u, 0, ECX, 7, NONE, "misalignsse"}, {0x80000001u, 0, ECX, 8, NONE, "3dnowprefetch"},
};

uint64_t Xcr0() {
  uint32_t r[4];
  Cpuid(1, 0, r);
  if (!(r[ECX] & (1u << 27))) return 0;  // OSXSAVE: without it XGETBV is an invalid opcode
#if defined(_M_X64)
  return _xgetbv(0);
#else
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (static_cast<uint64_t>(hi) << 32) | lo;
#endif
}

}  // namespace

std::vector<std::string> CpuFeatures() {
  std::vector<std::string> names;
  uint32_t basic[4], extended[4], seven[4] = {};
  Cpuid(0, 0, basic);
  Cpuid(0x80000000u, 0, extended);
  if (basic[EAX] >= 7) Cpuid(7, 0, seven);
  uint64_t xcr0 = Xcr0();
  for (const Feature& f : kFeatures) {
    if (f.leaf > (f.leaf & 0x80000000u ? extended[EAX] : basic[EAX])) continue;
    if (f.leaf == 7 && f.subleaf > seven[EAX]) continue;
    uint64_t need = f.need == TILE ? 0x60000u : static_cast<uint64_t>(f.need);
    if ((xcr0 & need) != need) continue;
    uint32_t r[4];
    Cpuid(f.leaf, f.subleaf, r);
    if (r[f.reg] & (1u << f.bit)) names.emplace_back(f.name);
  }
  return names;
}

#else

bool Cpuid(uint32_t, uint32_t, uint32_t[4]) { return false; }

std::vector<std::string> CpuFeatures() {
  std::vector<std::string> names;
#if defined(__linux__) && defined(__aarch64__)
  // Bit positions of AT_HWCAP are part of the kernel's user interface.
  static const struct { int bit; const char* name; } kCaps[] = {
      {0, "fp"},       {1, "asimd"},   {3, "aes"},      {4, "pmull"},  {5, "sha1"},     {6, "sha2"},
      {7, "crc32"},    {8, "atomics"}, {9, "fphp"},     {10, "asimdhp"}, {12, "asimdrdm"}, {13, "jscvt"},
      {14, "fcma"},    {15, "lrcpc"},  {17, "sha3"},    {20, "asimddp"}, {21, "sha512"}, {22, "sve"},
      {26, "ilrcpc"},  {27, "flagm"},
  };
  unsigned long caps = getauxval(AT_HWCAP);
  for (const auto& c : kCaps) {
    if (caps & (1ul << c.bit)) names.emplace_back(c.name);
  }
#endif
  return names;
}

#endif

bool HostMemory(double* total, double* available) {
#if defined(_WIN32)
  MEMORYSTATUSEX m;
  m.dwLength = sizeof m;
  if (!GlobalMemoryStatusEx(&m)) return false;
  *total = static_cast<double>(m.ullTotalPhys);
  *available = static_cast<double>(m.ullAvailPhys);
  return true;
#else
  double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  *total = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * page;
  *available = *total;
#if defined(__linux__)
  FILE* f = fopen("/proc/meminfo", "re");
  if (!f) return true;
  char line[128];
  unsigned long long kib;
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, "MemTotal: %llu kB", &kib) == 1) *total = static_cast<double>(kib) * 1024;
    if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) *available = static_cast<double>(kib) * 1024;
  }
  fclose(f);
#endif
  return true;
#endif
}

}  // namespace vmx
