// What image files need of the host beyond reading and writing: locks, holes.
#pragma once
#include <cstdint>

namespace vmx {

enum class LockResult { kUnsupported = -1, kDone = 0, kConflict = 1 };

/** Takes (or gives back) a shared lock on one byte. The lock belongs to the open file: closing it gives it back. */
LockResult LockByte(int fd, int64_t offset, bool lock);
/** Whether another open file holds any lock on the byte (kConflict). */
LockResult TestByte(int fd, int64_t offset);
/** Makes a range read as zeros without writing them. punch: give the space back. False if the file system cannot. */
bool ZeroRange(int fd, int64_t offset, int64_t length, bool punch);
/** First byte of data (or hole) at or after offset; the file's size if there is none; -1 if the host cannot tell. */
int64_t SeekExtent(int fd, int64_t offset, bool hole);

}  // namespace vmx
