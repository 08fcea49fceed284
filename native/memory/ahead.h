// Memory made ready by a thread before it is needed.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vmx {

/**
 * A thread backs [base, base + bytes) with pages, which the host's kernel has to clear. `alias`: a second mapping of the same
 * shared memory, or null; then huge pages are asked for. Only speed: does nothing where the host cannot, and harmless if the memory
 * is unmapped meanwhile.
 */
void BackAhead(uint8_t* base, uint8_t* alias, size_t bytes);

}  // namespace vmx
