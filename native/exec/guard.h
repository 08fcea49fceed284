// Fault guard: a fault in generated code becomes a yield to TypeScript instead of the end of the process.
#pragma once
#include <cstdint>

namespace vmx {

/** What the signal handler needs to know about the code a thread is running. */
struct RunFrame {
  uint8_t* state;
  uintptr_t exec_start;
  uintptr_t exec_bytes;
};

// The handler reads this, and a thread-local that the dynamic linker allocates on first use would call malloc there. glibc
// keeps spare static TLS for such variables of loaded libraries; musl does not.
#if defined(__linux__) && defined(__GLIBC__)
#define VMX_TLS __attribute__((tls_model("initial-exec"))) thread_local
#else
#define VMX_TLS thread_local
#endif

/** The frame this thread runs, or null outside run(). */
extern VMX_TLS const RunFrame* current_frame;

/** Installs the handlers (once per process) and gives this thread a signal stack. False where there is no guard. */
bool PrepareGuard();

}  // namespace vmx
