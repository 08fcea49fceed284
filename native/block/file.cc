#include "block/file.h"

#if defined(__linux__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace vmx {

#if defined(F_OFD_SETLK)

static LockResult Lock(int fd, int command, short type, int64_t offset, short* holder) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = offset;
  lock.l_len = 1;
  while (fcntl(fd, command, &lock) != 0) {
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EACCES ? LockResult::kConflict : LockResult::kUnsupported;
  }
  if (holder) *holder = lock.l_type;
  return LockResult::kDone;
}

LockResult LockByte(int fd, int64_t offset, bool lock) {
  return Lock(fd, F_OFD_SETLK, lock ? F_RDLCK : F_UNLCK, offset, nullptr);
}

LockResult TestByte(int fd, int64_t offset) {
  short holder = F_UNLCK;
  LockResult result = Lock(fd, F_OFD_GETLK, F_WRLCK, offset, &holder);
  if (result != LockResult::kDone) return result;
  return holder == F_UNLCK ? LockResult::kDone : LockResult::kConflict;
}

#else

LockResult LockByte(int, int64_t, bool) { return LockResult::kUnsupported; }
LockResult TestByte(int, int64_t) { return LockResult::kUnsupported; }

#endif

bool ZeroRange(int fd, int64_t offset, int64_t length, bool punch) {
#if defined(__linux__)
  const int mode = punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  int result;
  do {
    result = fallocate(fd, mode, offset, length);
  } while (result != 0 && errno == EINTR);
  return result == 0;
#elif defined(F_PUNCHHOLE)
  if (!punch) return false;
  fpunchhole_t hole = {};
  hole.fp_offset = offset;
  hole.fp_length = length;
  return fcntl(fd, F_PUNCHHOLE, &hole) == 0;
#else
  (void)fd, (void)offset, (void)length, (void)punch;
  return false;
#endif
}

int64_t SeekExtent(int fd, int64_t offset, bool hole) {
#if defined(SEEK_HOLE)
  off_t at = lseek(fd, offset, hole ? SEEK_HOLE : SEEK_DATA);
  if (at >= 0) return at;
  struct stat st;
  if (errno == ENXIO && fstat(fd, &st) == 0) return st.st_size;
#else
  (void)fd, (void)offset, (void)hole;
#endif
  return -1;
}

}  // namespace vmx
