#include "memory/mapping.h"

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#if defined(__APPLE__)
#include <mach/mach.h>
#include <mach/mach_vm.h>
#endif

namespace vmx {

#if defined(_WIN32)

size_t PageSize() {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

// Windows commits what it hands out; there is no overcommit to lean on.
MapStatus MapRam(size_t bytes, uint8_t** base) {
  *base = static_cast<uint8_t*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  return *base ? MapStatus::Ok : MapStatus::NoMemory;
}

MapStatus MapState(size_t bytes, uint8_t** base) { return MapRam(bytes, base); }

// Not written: it needs a pagefile section with PAGE_EXECUTE_READWRITE and two views, and nobody has run it.
MapStatus MapExec(size_t, bool, uint8_t**, uint8_t**) { return MapStatus::Unsupported; }

bool Discard(uint8_t*, size_t) { return false; }

void Unmap(uint8_t* base, size_t) { VirtualFree(base, 0, MEM_RELEASE); }

#else

namespace {

constexpr size_t kHuge = size_t{2} << 20;

/**
 * mmap whose result is aligned to a huge page when the mapping is big enough to hold one: the kernel backs only
 * aligned 2 MiB ranges with huge pages (for files, ranges whose address and offset agree), and its own choice of address
 * is aligned only on recent versions.
 */
uint8_t* MapAligned(size_t bytes, int prot, int flags, int fd) {
  if (bytes < kHuge) {
    void* p = mmap(nullptr, bytes, prot, flags, fd, 0);
    return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
  }
  int reserve_flags = MAP_PRIVATE | MAP_ANON | MAP_NORESERVE;
  void* r = mmap(nullptr, bytes + kHuge, PROT_NONE, reserve_flags, -1, 0);
  if (r == MAP_FAILED) return nullptr;
  uint8_t* reserved = static_cast<uint8_t*>(r);
  uintptr_t aligned_addr = (reinterpret_cast<uintptr_t>(reserved) + kHuge - 1) & ~static_cast<uintptr_t>(kHuge - 1);
  uint8_t* aligned = reinterpret_cast<uint8_t*>(aligned_addr);
  void* p = mmap(aligned, bytes, prot, flags | MAP_FIXED, fd, 0);
  if (p == MAP_FAILED) {
    int saved = errno;
    munmap(reserved, bytes + kHuge);
    errno = saved;
    return nullptr;
  }
  size_t head = static_cast<size_t>(aligned - reserved);
  if (head != 0) munmap(reserved, head);
  if (head != kHuge) munmap(aligned + bytes, kHuge - head);
  return aligned;
}

/** A child process that Node spawns must neither copy the page tables of guest memory nor make it copy-on-write. */
void Advise(uint8_t* base, size_t bytes, bool huge) {
#if defined(__linux__)
  madvise(base, bytes, MADV_DONTFORK);
  if (huge) madvise(base, bytes, MADV_HUGEPAGE);
#else
  (void)base;
  (void)bytes;
  (void)huge;
#endif
}

}  // namespace

size_t PageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// Anonymous and private, not a memfd: first touch of a 256 MiB region on a host with THP=madvise and shmem_enabled=never (the
// usual defaults) costs 0.4-0.8 us per 4 KiB page with huge pages against 2.4 us for a memfd (1.6 us anonymous without
// the advice). Everything that shares guest memory lives in this process, so nothing needs the descriptor.
MapStatus MapRam(size_t bytes, uint8_t** base) {
  *base = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1);
  if (!*base) return MapStatus::NoMemory;
  Advise(*base, bytes, true);
  return MapStatus::Ok;
}

MapStatus MapState(size_t bytes, uint8_t** base) {
  *base = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1);
  if (!*base) return MapStatus::NoMemory;
  Advise(*base, bytes, true);
  return MapStatus::Ok;
}

#if defined(__linux__)

namespace {

int CodeMemfd() {
  // Newer kernels want executability asked for (vm.memfd_noexec); older ones refuse the unknown flag.
  constexpr unsigned kCloexec = 1, kExec = 0x10;
  long fd = syscall(SYS_memfd_create, "vmx-accel-code", kCloexec | kExec);
  if (fd < 0 && errno == EINVAL) fd = syscall(SYS_memfd_create, "vmx-accel-code", kCloexec);
  return static_cast<int>(fd);
}

// The same without a file: mremap of no bytes makes a second mapping of shared pages. perf reads /tmp/perf-PID.map for
// memory that has no file behind it, and /dev/zero, as the kernel names this, counts as such; a memfd does not.
MapStatus MapExecNameless(size_t bytes, uint8_t** rw, uint8_t** rx) {
  *rw = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1);
  if (!*rw) return MapStatus::NoMemory;
  *rx = MapAligned(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1);
  if (*rx) {
    if (mremap(*rw, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, *rx) == *rx && mprotect(*rx, bytes, PROT_READ | PROT_EXEC) == 0) {
      Advise(*rw, bytes, true);
      Advise(*rx, bytes, true);
      return MapStatus::Ok;
    }
    munmap(*rx, bytes);
  }
  munmap(*rw, bytes);
  return MapStatus::NoExec;
}

}  // namespace

MapStatus MapExec(size_t bytes, bool nameless, uint8_t** rw, uint8_t** rx) {
  if (nameless) return MapExecNameless(bytes, rw, rx);
  int fd = CodeMemfd();
  if (fd < 0) return errno == ENOMEM || errno == EMFILE || errno == ENFILE ? MapStatus::NoMemory : MapStatus::NoExec;
  MapStatus status = MapStatus::NoMemory;
  if (ftruncate(fd, static_cast<off_t>(bytes)) == 0) {
    *rw = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    if (*rw) {
      *rx = MapAligned(bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
      if (*rx) {
        status = MapStatus::Ok;
        Advise(*rw, bytes, true);
        Advise(*rx, bytes, true);
      } else {
        status = errno == ENOMEM ? MapStatus::NoMemory : MapStatus::NoExec;
        munmap(*rw, bytes);
      }
    }
  }
  close(fd);  // the mappings keep the memory alive
  return status;
}

#elif defined(__APPLE__)

// Dual mapping. Written from the documentation and never run: the process needs the allow-unsigned-executable-memory
// entitlement (release builds of Node have it).
MapStatus MapExec(size_t bytes, bool, uint8_t** rw, uint8_t** rx) {
  *rw = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1);
  if (!*rw) return MapStatus::NoMemory;
  mach_vm_address_t alias = 0;
  vm_prot_t current = 0, maximum = 0;
  kern_return_t kr = mach_vm_remap(mach_task_self(), &alias, bytes, 0, VM_FLAGS_ANYWHERE, mach_task_self(),
                                   reinterpret_cast<mach_vm_address_t>(*rw), FALSE, &current, &maximum, VM_INHERIT_NONE);
  if (kr != KERN_SUCCESS) {
    munmap(*rw, bytes);
    return MapStatus::NoMemory;
  }
  *rx = reinterpret_cast<uint8_t*>(alias);
  if (mprotect(*rx, bytes, PROT_READ | PROT_EXEC) != 0) {
    munmap(*rw, bytes);
    munmap(*rx, bytes);
    return MapStatus::NoExec;
  }
  return MapStatus::Ok;
}

#else

MapStatus MapExec(size_t, bool, uint8_t**, uint8_t**) { return MapStatus::Unsupported; }

#endif

bool Discard(uint8_t* base, size_t bytes) {
#if defined(__linux__)
  return madvise(base, bytes, MADV_DONTNEED) == 0;
#else
  // Elsewhere the advice does not promise zeros.
  (void)base;
  (void)bytes;
  return false;
#endif
}

void Unmap(uint8_t* base, size_t bytes) { munmap(base, bytes); }

#endif

}  // namespace vmx
