// Facts about the host: time, processor, memory.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vmx {

/** Monotonic time in ns. */
uint64_t MonotonicNs();
/** False on hosts without the instruction. Registers in the order eax, ebx, ecx, edx. */
bool Cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/** Usable features by the names Linux gives them. */
std::vector<std::string> CpuFeatures();
bool HostMemory(double* total, double* available);

}  // namespace vmx
