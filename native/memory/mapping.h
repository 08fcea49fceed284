// Raw mappings: the only file pair that talks to the operating system's memory interface.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vmx {

enum class MapStatus { Ok, NoMemory, NoExec, Unsupported };

/** Page size of the host. */
size_t PageSize();

/** Guest RAM: zero-filled on first touch, huge pages where the host allows, not inherited by fork. */
MapStatus MapRam(size_t bytes, uint8_t** base);

/** Small private zeroed memory, page aligned. */
MapStatus MapState(size_t bytes, uint8_t** base);

/**
 * Two aliases of one memory object: `rw` writable and never executable, `rx` executable and never writable. `nameless`: for
 * perf, no file behind it (Linux).
 */
MapStatus MapExec(size_t bytes, bool nameless, uint8_t** rw, uint8_t** rx);

/** Gives pages back to the host; they read as zero from then on. False if this host cannot. */
bool Discard(uint8_t* base, size_t bytes);

void Unmap(uint8_t* base, size_t bytes);

}  // namespace vmx
